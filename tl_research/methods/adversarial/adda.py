"""Adversarial discriminative domain adaptation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from omegaconf import DictConfig
from torch import Tensor

from tl_research.config import MethodConfig, above, all_at_least, at_least, check, share
from tl_research.losses.adversarial import domain_bce
from tl_research.methods.base import AdaptationModule, Phase, Step
from tl_research.methods.objectives import Objective
from tl_research.methods.reversal import make_discriminator
from tl_research.methods.staged import source_epochs
from tl_research.nn.frozen import FrozenCopy, values_of
from tl_research.parallel.ranks import gather_rows
from tl_research.registry import register_method


@dataclass
class ADDAConfig(MethodConfig):
    """Options of `adda`: the length of its source stage, the game of its target stage, and the discriminator."""

    name: str = "adda"
    source_share: float = share(zero=False, one=False, default=0.5)  # of trainer.max_epochs, that the source stage has
    weight: float = at_least(0, default=1.0)  # of the encoder's loss in the target stage
    lr_scale: float = above(0, default=1.0)  # factor on optimizer.lr in the target stage
    hidden: list[int] = all_at_least(1, fewest=0, default=[256])  # discriminator widths


@register_method(
    "adda",
    config=ADDAConfig,
    family="adversarial",
    settings=("unsupervised", "few_shot"),
    paper="Tzeng et al. 2017, CVPR, section 4",
    no_gain="held against source_only on two moons (tests/methods/test_games.py)",
)
class ADDA(AdaptationModule):
    """An encoder of the target's own, which a discriminator D cannot tell from the source's frozen one.

    First, for `source_share` of the epochs, encoder and head learn the source. Then head and source encoder are frozen,
    the encoder is the target's, and per batch

        D:        BCE(D(f_S), source; D(f_T), target), f_S of the frozen encoder
        encoder:  weight * mean_T BCE(D(f_T), source)

    The target's encoder measures every split, those of the source too. With labelled target rows their loss is added to
    the encoder's. Nothing but the game holds the encoder in the target stage: it may move rows to the wrong class.
    """

    def build(self) -> None:
        self.source_encoder = FrozenCopy(self.encoder)
        self.discriminator = make_discriminator(self.encoder.out_features, self.config.hidden)

    @classmethod
    def check_config(cls, config: DictConfig) -> None:
        trainer = config.trainer
        check(trainer.max_steps == -1, "trainer.max_steps", trainer.max_steps, "-1: stages are counted in epochs")
        check(trainer.max_epochs >= 2, "trainer.max_epochs", trainer.max_epochs, "2 or more: one for each stage")

    def phase(self, epoch: int) -> Phase:
        if epoch < source_epochs(self.config.source_share, self.epochs):
            return Phase("source", selectable=False)
        return Phase("target", source=False, frozen=("head",), lr_scale=self.config.lr_scale)

    def objectives(self) -> list[Objective]:
        if self._current_phase.source:
            return [Objective("source", ("encoder", "head"), self.task_losses)]
        return [
            Objective("discriminator", ("discriminator",), self._tell_apart),
            Objective("target", ("encoder",), self._fool),
        ]

    def after_step(self, step: Step) -> None:
        if step.phase.source:
            self.source_encoder.fill(values_of(self.encoder))

    def _tell_apart(self, step: Step) -> dict[str, Tensor]:
        with torch.no_grad():
            source = gather_rows(self.source_encoder(step.batch.source.inputs))
        return {"domain": domain_bce(self.discriminator(source), self.discriminator(step.target.features))}

    def _fool(self, step: Step) -> dict[str, Tensor]:
        fooled = torch.nn.functional.softplus(self.discriminator(step.target.features)).mean()
        return self.task_losses(step) | {"fooled": self.config.weight * fooled}
