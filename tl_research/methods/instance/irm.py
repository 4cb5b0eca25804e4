"""Invariant risk minimisation over source domains."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tl_research.config import MethodConfig, at_least, share
from tl_research.methods.base import AdaptationModule, Step
from tl_research.registry import register_method


@dataclass
class IRMConfig(MethodConfig):
    """Options of `irm`: the weight of the penalty, and when it begins."""

    name: str = "irm"
    weight: float = at_least(0, default=100.0)
    warm_up: float = share(default=0.1)  # of the training, without the penalty


@register_method(
    "irm",
    config=IRMConfig,
    family="instance",
    settings=("unsupervised", "few_shot"),
    paper="Arjovsky et al. 2019, arXiv:1907.02893, section 3.1 (IRMv1)",
    no_null="it compares source domains; the target is not read",
    no_gain="a reference row of domain generalisation; its gain was not measured",
)
class IRM(AdaptationModule):
    """A head that is the best one in all source domains at once: task loss + weight * mean_e g_e².

    g_e is the slope of the mean loss of domain e's rows in a factor w on the outputs, at w = 1: 0 where the head is of
    the right scale in that domain. In a batch of few rows of a domain g_e² is above that of all rows by its variance.
    The paper's appendix has the product of the slopes of two halves instead, which has no such bias; networks learn to
    make it negative without end. With one source domain the penalty only calibrates.
    """

    reads = frozenset(("source",))

    def terms(self, step: Step) -> dict[str, Tensor]:
        source = step.source
        factor = source.logits.new_ones((), requires_grad=True)
        losses = self.outcome.row_losses(source.logits * factor, source.label)
        squares = []
        for domain in source.domain.unique():
            risk = losses[source.domain == domain].mean()
            squares.append(torch.autograd.grad(risk, factor, create_graph=True)[0].square())
        weight = self.config.weight if step.progress >= self.config.warm_up else 0.0
        return {"irm": weight * torch.stack(squares).mean()}
