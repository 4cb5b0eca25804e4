"""Dynamic adversarial adaptation network."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tl_research.losses.adversarial import domain_bce, reverse_gradient
from tl_research.losses.dynamic_factor import domain_error, dynamic_factor
from tl_research.methods.base import AdaptationModule, Encoded, Step
from tl_research.methods.reversal import ReversalConfig, make_discriminator
from tl_research.registry import register_method


@dataclass
class DAANConfig(ReversalConfig):
    """Options of `daan`: the reversed gradient, and the shape of all discriminators."""

    name: str = "daan"


@register_method(
    "daan",
    config=DAANConfig,
    family="adversarial",
    settings=("unsupervised", "few_shot"),
    targets=("class",),
    paper="Yu et al. 2019, ICDM",
    null=math.log(2.0),
    no_gain="4.0 points over source_only on two moons, below the 5 that are wanted (docs/games.md)",
)
class DAAN(AdaptationModule):
    """A discriminator of the domains and one per class, weighed by how well each tells apart.

    min over encoder and head, max over D and all D_c of
    CE(source) - lambda * [(1 - ω) BCE(D(f), domain) + ω mean_c BCE(D_c(p_c f), domain)], p the class probabilities,
    held constant. The paper has the sum over the classes in the place of the mean.

    ω = d_c / (d_g + d_c) of the A-distances 2 (1 - 2 ε), 0 at least, of the domains and, in the mean, of the classes.
    ε is the balanced share of rows that a discriminator puts on the wrong side, over the last epoch; in that of a class
    a row counts by its probability of the class. ω is ½ in the first epoch. Public code measures no error: it takes
    the loss's value for ε. `train/omega` in the history is ω. Each class has a discriminator of its own: with two
    classes a step takes three times as long as that of `source_only`, with more classes longer.
    """

    def build(self) -> None:
        features, hidden = self.encoder.out_features, self.config.hidden
        self.discriminator = make_discriminator(features, hidden)
        self.of_class = nn.ModuleList(make_discriminator(features, hidden) for _ in range(self.classes))
        self.register_buffer("omega", torch.tensor(0.5))
        self.register_buffer(
            "errors", torch.zeros(1 + self.classes)
        )  # of the domains and the classes, this epoch's sum
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        self.register_buffer("epoch", torch.zeros((), dtype=torch.long))

    def terms(self, step: Step) -> dict[str, Tensor]:
        scale = self.config.scale(step.progress)
        sides = step.source, step.target
        whole = [self.discriminator(reverse_gradient(rows.features, scale)).squeeze(1) for rows in sides]
        share = [rows.logits.detach().softmax(dim=1) for rows in sides]
        classes = [self._class_logits(rows, p, scale) for rows, p in zip(sides, share)]
        of_whole = domain_error(*(logit.detach() for logit in whole), *(torch.ones_like(logit) for logit in whole))
        of_classes = domain_error(*(logit.detach() for logit in classes), *share)
        step.keep(errors=torch.cat([of_whole[None], of_classes])[None])
        step.report(omega=self.omega)
        return {
            "domain": (1 - self.omega) * domain_bce(*whole),
            "classes": self.omega * domain_bce(*(logit.flatten() for logit in classes)),
        }

    def _class_logits(self, rows: Encoded, share: Tensor, scale: float) -> Tensor:
        """Logits (n, classes) of every class's discriminator, of features times the class's probability."""
        features = reverse_gradient(rows.features, scale)
        return torch.cat([of_class(share[:, [c]] * features) for c, of_class in enumerate(self.of_class)], dim=1)

    def after_step(self, step: Step) -> None:
        if self.current_epoch > int(self.epoch):
            mean = self.errors / self.steps.clamp_min(1)
            self.omega.copy_(dynamic_factor(mean[0], mean[1:]))
            self.errors.zero_()
            self.steps.zero_()
            self.epoch.fill_(self.current_epoch)
        self.errors += step.kept("errors").mean(dim=0).to(self.errors.dtype)
        self.steps += 1
