"""EATA: entropy of reliable and varied rows, with weights that matter held in place."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tl_research.config import at_least, bounded, share
from tl_research.data.batch import Samples
from tl_research.losses.target_probabilities import row_entropies
from tl_research.methods.base import Step
from tl_research.methods.finished_run import SourceFreeConfig
from tl_research.methods.norms import NormsAlone
from tl_research.nn.fitted import Fitted
from tl_research.registry import register_method

#: Rows per gradient of the Fisher information.
ROWS = 64


@dataclass
class EATAConfig(SourceFreeConfig):
    """Options of `eata`: which rows count, and how strongly weights are held."""

    name: str = "eata"
    reliable: float = share(zero=False, default=0.4)  # rows of an entropy below this share of ln C count
    # A row counts whose cosine with the mean prediction is below it: 0.05 on 1,000 classes, 0.4 on 10 in the paper.
    # None: every row, since of few classes all predictions are alike.
    redundant: float | None = bounded(
        lambda value: value is None or 0 < value <= 1, "above 0 and at most 1, or null", default=None
    )
    decay: float = share(one=False, default=0.9)  # of the mean prediction
    hold: float = at_least(0, default=2000.0)  # weight of the Fisher term
    fisher_rows: int = at_least(1, default=2000)


@register_method(
    "eata",
    config=EATAConfig,
    family="source_free",
    settings=("source_free",),
    problem=("encoder.batch_norm=true", "method.reliable=1"),
    paper="Niu et al. 2022, ICML, equations 2 to 9",
    no_null="on equal domains the model still grows more certain",
    no_gain="held against source_only on two moons (tests/methods/test_source_free.py)",
    targets=("class",),
)
class EATA(NormsAlone):
    """`tent` on rows that are worth it: (1/n) Σ_i w_i H(p_i) + hold * Σ_j ω_j (θ_j - θ_j⁰)².

    w_i = exp(E₀ - H(p_i)) where H(p_i) < E₀ = `reliable` * ln C and the row is not redundant, else 0. Redundant is a
    row whose cosine with the mean m of the predictions that counted is `redundant` or more; m <- decay * m + (1 -
    decay) * their mean. θ are scale and shift of the batch norms, θ⁰ those of the source model, ω_j the mean of squared
    gradients of CE(z, ŷ), ŷ the model's own label, on the first `fisher_rows` target rows in batches of 64 (the paper
    has rows of the old domain without labels, which are not here). The sum over i is divided by all n rows, that over
    j is the sum over single weights. `train/counted` in the history is the share of rows that count.
    """

    def build(self) -> None:
        super().build()
        self.held = Fitted()  # mean (C,), known (); start_* and fisher_* per trained parameter

    def prepare(self, source: Samples | None, target: Samples, target_labeled: Samples | None) -> None:
        super().prepare(source, target, target_labeled)
        trained = {name: value for name, value in self.named_parameters() if self.trainable(name)}
        fisher = {name: torch.zeros_like(value) for name, value in trained.items()}
        self.eval()
        rows = target.rows(torch.arange(min(target.size, self.config.fisher_rows), device=target.index.device))
        batches = math.ceil(rows.size / ROWS)
        for number in range(batches):
            places = torch.arange(number * ROWS, min(rows.size, (number + 1) * ROWS), device=rows.index.device)
            logits = self.encode(rows.rows(places)).logits
            loss = F.cross_entropy(logits, logits.detach().argmax(dim=1))
            for name, gradient in zip(trained, torch.autograd.grad(loss, list(trained.values())), strict=True):
                fisher[name] += gradient.square() / batches
        self.held.keep(mean=torch.zeros(self.classes, device=target.index.device))
        self.held.keep(known=torch.zeros((), dtype=torch.bool, device=target.index.device))
        self.held.keep(**{f"start_{_key(name)}": value.clone() for name, value in trained.items()})
        self.held.keep(**{f"fisher_{_key(name)}": value for name, value in fisher.items()})

    def terms(self, step: Step) -> dict[str, Tensor]:
        logits, config = step.target.logits, self.config
        entropy = row_entropies(logits)
        level = config.reliable * math.log(self.classes)
        counts = entropy.detach() < level
        probability = logits.detach().softmax(dim=1)
        if config.redundant is not None:
            alike = F.cosine_similarity(probability, self.held.mean[None].to(probability.dtype), dim=1)
            counts &= ~self.held.known | (alike < config.redundant)
        step.keep(probability=probability, counts=counts)
        step.report(counted=counts.float().mean())
        weight = counts * (level - entropy.detach()).exp()
        held = logits.new_zeros(())
        for name, value in self.named_parameters():
            if self.trainable(name):
                fisher, start = (getattr(self.held, f"{kind}_{_key(name)}") for kind in ("fisher", "start"))
                held = held + (fisher * (value - start).square()).sum()
        return {"entropy": (weight * entropy).mean(), "held": config.hold * held}

    def after_step(self, step: Step) -> None:
        counted = step.kept("probability")[step.kept("counts")]
        if len(counted):
            held, mean = self.held, counted.mean(dim=0).to(self.held.mean.dtype)
            decay = self.config.decay
            held.mean.copy_(torch.where(held.known, decay * held.mean + (1 - decay) * mean, mean))
            held.known.fill_(True)


def _key(name: str) -> str:
    return name.replace(".", "_")
