"""For few target labels: linear models and networks on top of them, which are heard as far as unseen rows say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import softmax
from torch import Tensor, nn

from tl_research.config import MethodConfig
from tl_research.data.batch import Inputs, Samples
from tl_research.data.matrix import as_matrix, matrix_width
from tl_research.data.transforms.spec import InputSpec
from tl_research.errors import ConfigError
from tl_research.methods.base import AdaptationModule
from tl_research.methods.fitted import whole_precision
from tl_research.methods.step import Encoded, Step
from tl_research.nn.fitted import Fitted
from tl_research.portfolio.crossfit import FOLDS, folds_of
from tl_research.portfolio.learners import LINEAR
from tl_research.portfolio.mixtures import MIXTURES
from tl_research.registry import register_method

#: Penalties of the linear models, which are mixed by their likelihood on unseen rows to the power of 1 / `TEMPER`.
PENALTIES, TEMPER = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0), 4.0
MOST_COLUMNS = 5_000
#: Shares of the networks, of which unseen rows choose one.
SHARES = tuple(step / 10 for step in range(11))
#: What a step's losses weigh in the next one: the share is chosen by about the last fifty steps.
MEMORY = 0.98


@dataclass
class TargetEnsembleConfig(MethodConfig):
    """Options of `target_ensemble`: none of its own."""

    name: str = "target_ensemble"


@register_method(
    "target_ensemble",
    config=TargetEnsembleConfig,
    family="baseline",
    settings=("few_shot", "supervised"),
    paper="Breiman 1996, Machine Learning 24(1), stacked regressions; networks on linear models: of its own",
)
class TargetEnsemble(AdaptationModule):
    """Mean over five folds k of the labels of  linear_k(x) + share · network_k(x); both are fitted without fold k.

    A network on 50 labels learns their noise, and no number of steps suits every market. Here it learns what a linear
    model leaves over (its last layer begins at 0), and `share`, one of 0, 0.1, ..., 1 for all folds, is the one of the
    lowest loss on the rows that a network and its linear model have not seen: 0 where the networks have learned nothing
    that holds, 1 where they have. linear_k is a mean of logistic regressions or ridges of seven penalties p, with
    weights ∝ exp(ℓ_p / 4), ℓ_p the log likelihood of the same rows: a single pick by few labels is often a wrong one.
    Outputs are added: log probabilities of classes, standardised numbers. No row of the source is read. Of token ids,
    and of more than `MOST_COLUMNS` columns, no linear model is made: linear_k is then a constant.
    """

    reads = frozenset(("target_labeled",))

    @classmethod
    def needs_whole_weights(cls) -> str:
        return "fits linear models before the first step"

    def build(self) -> None:
        self.reads_columns = _has_columns(self.encoder.spec)
        self.mixture = MIXTURES[self.outcome.kind]
        self.others = nn.ModuleList(self._another_network() for _ in range(FOLDS - 1))
        kind = LINEAR[self.outcome.kind]
        self.linear = nn.ModuleList(nn.ModuleList(kind(penalty=penalty) for penalty in PENALTIES) for _ in range(FOLDS))
        for head in (self.head, *(other["head"] for other in self.others)):
            for parameter in head.parameters():
                nn.init.zeros_(parameter)
        self.register_buffer("losses", torch.zeros(len(SHARES)))
        self.register_buffer("share", torch.zeros(()))
        self.register_buffer("penalty_weight", torch.full((len(PENALTIES),), 1 / len(PENALTIES)))
        #: `of_row`: the fold of a row, by its number.
        self.folds = Fitted()

    def _another_network(self) -> nn.ModuleDict:
        encoder = type(self.encoder)(self.encoder.config, self.encoder.spec)
        return nn.ModuleDict({"encoder": encoder, "head": self.outcome.head(encoder.out_features)})

    def prepare(self, source: Samples, target: Samples, target_labeled: Samples | None) -> None:
        super().prepare(source, target, target_labeled)
        x, label = self._columns(target_labeled.inputs, target_labeled.label), target_labeled.label
        fold = torch.from_numpy(folds_of(label, stratified=self.mixture.stratified, seed=self.seed)).to(label.device)
        of_row = fold.new_zeros(int(target_labeled.index.max()) + 1)
        of_row[target_labeled.index] = fold
        self.folds.keep(of_row=of_row)
        unseen = torch.empty(len(PENALTIES), len(label), dtype=torch.float64, device=label.device)
        for number, models in enumerate(self.linear):
            out, seen = fold == number, fold != number
            seen = seen if seen.any() else out  # a single label
            for place, model in enumerate(models):
                model.fit(x[seen], label[seen], None, classes=self.classes, seed=self.seed)
                unseen[place, out] = self.outcome.row_losses(self._floored(model(x[out])), label[out]).double()
        likelihood = self.mixture.log_likelihood(unseen.cpu().numpy(), np.ones(len(label)))
        self.penalty_weight.copy_(torch.from_numpy(softmax(likelihood / TEMPER)))
        self.facts["penalties"] = dict(zip(map(str, PENALTIES), self.penalty_weight.tolist(), strict=True))

    def _columns(self, inputs: Inputs, rows: Tensor) -> Tensor:
        if self.reads_columns:
            return whole_precision(as_matrix(inputs, self.encoder.spec))
        return torch.zeros(len(rows), 1, device=rows.device)

    def _floored(self, said: Tensor) -> Tensor:
        """Return what a linear model says; a class that it has not seen is improbable, and not impossible."""
        one, none = said.new_ones(()), said.new_zeros(())
        return self.mixture.from_sum(self.mixture.moved(said, one, none))

    def _mixed(self, models: nn.ModuleList, x: Tensor) -> Tensor:
        said = [weight * self._floored(model(x)) for weight, model in zip(self.penalty_weight, models, strict=True)]
        return torch.stack(said).sum(dim=0)

    def forward(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Return the first network's features, and outputs (n, width); in training (n, 2 · folds · width).

        In training the outputs of each linear model and of each network stand side by side; see `_split`.
        """
        features = self.encoder(inputs)
        networks = [self.head(features), *(other["head"](other["encoder"](inputs)) for other in self.others)]
        with torch.autocast(features.device.type, enabled=False):
            x = self._columns(inputs, features)
            linear = torch.stack([self._mixed(models, x) for models in self.linear], dim=1)
            network = torch.stack([whole_precision(said) for said in networks], dim=1)
            if self.training:
                return features, torch.stack([linear.detach(), network], dim=1).flatten(1)
            return features, (linear + self.share * network).mean(dim=1)

    def _split(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the linear models and the networks say, (n, folds, width) each."""
        return outputs.view(len(outputs), 2, FOLDS, self.classes).unbind(1)

    def row_losses(self, rows: Encoded) -> Tensor:
        """Sum over the folds' networks, but for the one that must not see the row."""
        linear, network = self._split(rows.logits)
        losses = torch.stack(
            [self.outcome.row_losses(linear[:, k] + network[:, k], rows.label) for k in range(FOLDS)], dim=1
        )
        seen = self.folds.of_row[rows.index][:, None] != torch.arange(FOLDS, device=losses.device)
        return (losses * seen).sum(dim=1)

    def task_loss(self, rows: Encoded, weight: Tensor | None = None) -> Tensor:
        losses = self.row_losses(rows)
        return (losses if weight is None else weight * losses).mean()

    def after_step(self, step: Step) -> None:
        rows = step.labeled
        linear, network = self._split(rows.logits)
        places, fold = torch.arange(len(rows.label), device=linear.device), self.folds.of_row[rows.index]
        linear, network = linear[places, fold], network[places, fold]
        losses = [self.outcome.row_losses(linear + share * network, rows.label).mean() for share in SHARES]
        self.losses.mul_(MEMORY).add_(torch.stack(losses).to(self.losses))
        self.share.fill_(SHARES[int(self.losses.argmin())])
        self.facts["share"] = float(self.share)


def _has_columns(spec: InputSpec) -> bool:
    try:
        return matrix_width(spec) <= MOST_COLUMNS
    except ConfigError:
        return False
