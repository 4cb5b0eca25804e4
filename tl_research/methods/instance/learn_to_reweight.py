"""Weights of source rows from what their gradients do to the labelled target rows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tl_research.config import MethodConfig, one_of
from tl_research.errors import ConfigError
from tl_research.methods.base import AdaptationModule, Encoded, Phase, Step
from tl_research.parallel import ranks
from tl_research.registry import register_method


@dataclass
class LearnToReweightConfig(MethodConfig):
    """Options of `learn_to_reweight`: which gradients are compared, and whether the target rows train too."""

    name: str = "learn_to_reweight"
    # Whose gradients are compared: those of encoder and head, or of the last layer alone.
    layers: str = one_of(("all", "last"), default="all")
    train_on_target: bool = True  # add the task loss of the labelled target rows; the paper's algorithm does not


@register_method(
    "learn_to_reweight",
    config=LearnToReweightConfig,
    family="instance",
    settings=("few_shot", "supervised"),
    paper="Ren et al. 2018, ICML, algorithm 1",
    # A source whose labels mean something else: half of what pooling learns there is wrong.
    problem=("data.measurement_shift=0", "data.concept_shift=1.57"),
    gain=0.07,
    over=("union",),
)
class LearnToReweight(AdaptationModule):
    """Learning to reweight: source rows count as far as a step on them lowers the labelled target rows' loss.

    With θ'(ε) = θ - α ∇ Σ_i ε_i C_i(θ) the virtual step of the source batch from ε = 0, and L_T the mean loss of the
    batch's labelled target rows,

        u_i = max(0, -∂L_T(θ'(ε)) / ∂ε_i at 0) = α max(0, <∇C_i(θ), ∇L_T(θ)>),   w_i = u_i / Σ_j u_j,

    0 where all are 0, and the step is taken on Σ_i w_i C_i. As ε = 0 leaves θ' = θ the inner product is exact, α
    cancels, and neither a step nor a second copy of the weights is made: the products come from a backward pass through
    the gradient (`layers=all`), or, for the last linear layer, in closed form from features z and residuals r = p - y,
    Σ_j (z_i·z_j + 1) (r_i·r_j) / m (`layers=last`, cheaper). With `method.weighting`, w_i takes its row's weight as
    factor.

    The weights are as noisy as the labelled rows are few: where the source's labels are right and its inputs moved it
    beats `target_only` and not `union`; where the source's labels mean something else, as on the problem of the
    contract tests, it beats `union`.
    """

    reads = frozenset(("source", "target_labeled"))

    @classmethod
    def needs_whole_weights(cls) -> str:
        return "differentiates by the weights within a step"

    def phase(self, epoch: int) -> Phase:
        return Phase(target_labeled=self.config.train_on_target)

    def source_weights(self, step: Step) -> Tensor:
        # Encoded apart from the task loss: the graph of this pass is used up by its gradient.
        source, labeled = step.local("source"), self.encode(step.batch.target_labeled)
        product = (
            self._last_layer(source, labeled) if self.config.layers == "last" else self._all_layers(source, labeled)
        )
        useful = product.clamp_min(0)
        row = super().source_weights(step)
        if row is not None:
            useful = useful * row
        total = ranks.sum_across_ranks(useful.sum())
        # The mean over the rank's rows, averaged over ranks, is then Σ_i w_i C_i.
        rows = len(useful) * ranks.world_size()
        return torch.where(total > 0, useful * (rows / total.clamp_min(torch.finfo(total.dtype).tiny)), 0.0)

    def _all_layers(self, source: Encoded, labeled: Encoded) -> Tensor:
        """<∇C_i, ∇L_T> (n,) over the parameters of encoder and head."""
        if self.encoder._compiled_call_impl is not None:
            raise ConfigError("method.layers: all differentiates a gradient, which trainer.compile rules out; use last")
        parameters = [p for part in (self.encoder, self.head) for p in part.parameters() if p.requires_grad]
        goal = self._goal(labeled)
        towards = torch.autograd.grad(self.row_losses(labeled).sum(), parameters, allow_unused=True)
        towards = [None if g is None else ranks.sum_across_ranks(g) / goal for g in towards]
        epsilon = torch.zeros_like(source.logits[:, 0], requires_grad=True)
        step = torch.autograd.grad(
            (epsilon * self.row_losses(source)).sum(), parameters, create_graph=True, allow_unused=True
        )
        product = sum((g * v).sum() for g, v in zip(step, towards) if g is not None and v is not None)
        (product,) = torch.autograd.grad(product, epsilon, retain_graph=True)
        return product.detach()

    def _last_layer(self, source: Encoded, labeled: Encoded) -> Tensor:
        """<∇C_i, ∇L_T> (n,) over weight and bias of the head."""
        with torch.no_grad():
            (r_s, z_s), (r_t, z_t) = ((self._gradients(rows), _with_one(rows.features)) for rows in (source, labeled))
            towards = ranks.sum_across_ranks(r_t.T @ z_t) / self._goal(labeled)
            return ((r_s @ towards) * z_s).sum(dim=1)

    def _gradients(self, rows: Encoded) -> Tensor:
        return self.outcome.row_gradients(rows.logits, rows.label)

    def _goal(self, labeled: Encoded) -> Tensor:
        return ranks.sum_across_ranks(labeled.logits.new_tensor(float(len(labeled.label))))


def _with_one(features: Tensor) -> Tensor:
    return torch.cat([features, features.new_ones(len(features), 1)], dim=1)
