"""Objectives: losses that pull different parts of the model in different directions, each with steps of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tl_research.methods.step import Step
from tl_research.parallel import ranks

Gradients = list[Tensor | None]


@dataclass(frozen=True)
class Objective:
    """A loss and the parts of the model that it trains.

    Fields:
        name: comes before the names of its terms in the history, as in `critic.distance`.
        parts: submodules (`encoder`, `head`, `critic`, ...) whose parameters it trains; the others have no gradient of
            it, and its graph is built without theirs. A part may be in several objectives.
        terms: `Step` -> named terms, weighted, each a scalar; their sum is minimised.
            `AdaptationModule.loss_terms` and `AdaptationModule.task_losses` are such functions.
        every: optimiser steps that it takes per turn. A turn is one batch, or the batches of one accumulated gradient;
            all steps of a turn are taken on its rows.
        combine: gradients by term -> the gradient that the step is taken on (gradient surgery); None: their sum. A
            gradient is a list with one entry for each parameter, None where the term does not depend on it. It sees
            the gradients of all ranks together.
    """

    name: str
    parts: tuple[str, ...]
    terms: Callable[[Step], dict[str, Tensor]]
    every: int = 1
    combine: Callable[[dict[str, Gradients]], Gradients] | None = None

    def __post_init__(self):
        if self.every < 1:
            raise ValueError(f"every: got {self.every}, wants 1 or more")

    def parameters(self, model: nn.Module) -> list[nn.Parameter]:
        """Return the parameters of its parts that the phase trains, each once."""
        found = {id(p): p for part in self.parts for p in model.get_submodule(part).parameters() if p.requires_grad}
        return list(found.values())


def check_objectives(objectives: list[Objective], model: nn.Module) -> None:
    """Raise `ValueError` where two objectives have one name, or one names a part that the model has not."""
    names = [objective.name for objective in objectives]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"objectives: got the names {', '.join(names) or 'nothing'}, wants every name once")
    known = {name for name, _ in model.named_modules() if name}
    for objective in objectives:
        unknown = [part for part in objective.parts if part not in known]
        if unknown or not objective.parts:
            found = ", ".join(unknown) or "nothing"
            raise ValueError(f"objectives: {objective.name!r} trains {found}, wants submodules of the method")


@contextmanager
def training_only(model: nn.Module, parameters: list[nn.Parameter]) -> Iterator[None]:
    """Let no other parameter ask for a gradient while the context lasts."""
    wanted = {id(parameter) for parameter in parameters}
    others = [p for p in model.parameters() if p.requires_grad and id(p) not in wanted]
    for parameter in others:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in others:
            parameter.requires_grad_(True)


class GradientSum:
    """The gradient of an objective, summed over the batches of a turn, then averaged over the ranks.

    Args:
        parameters: those that the objective trains.
        combine: of the objective; with one, the gradient of each term is kept apart.
    """

    def __init__(self, parameters: list[nn.Parameter], combine: Callable[[dict[str, Gradients]], Gradients] | None):
        self.parameters, self.combine = parameters, combine
        self.sums: dict[str, Gradients] = {}

    def add(self, terms: dict[str, Tensor]) -> None:
        """Add the gradients of one batch's terms, whose graph is then used up."""
        losses = terms if self.combine else {"": torch.stack(list(terms.values())).sum()}
        for number, (name, loss) in enumerate(losses.items(), start=1):
            found: Gradients = [None] * len(self.parameters)
            if loss.requires_grad:
                is_last = number == len(losses)
                found = list(torch.autograd.grad(loss, self.parameters, allow_unused=True, retain_graph=not is_last))
            self.sums[name] = _sum(self.sums[name], found) if name in self.sums else found

    def give(self) -> None:
        """Write the gradient to the parameters."""
        means = {name: mean_of_ranks(gradient) for name, gradient in self.sums.items()}
        gradients = self.combine(means) if self.combine else means[""]
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient


def _sum(one: Gradients, other: Gradients) -> Gradients:
    return [a if b is None else b if a is None else a + b for a, b in zip(one, other, strict=True)]


def mean_of_ranks(gradients: Gradients) -> Gradients:
    """Average a gradient over the ranks, which must agree on what it depends on, by one exchange per dtype."""
    if not ranks.is_distributed():
        return gradients
    present = [gradient for gradient in gradients if gradient is not None]
    means: dict[int, Tensor] = {}
    for dtype in dict.fromkeys(gradient.dtype for gradient in present):
        same = [gradient for gradient in present if gradient.dtype == dtype]
        flat = ranks.sum_across_ranks(torch.cat([gradient.flatten() for gradient in same])) / ranks.world_size()
        for gradient, mean in zip(same, flat.split([gradient.numel() for gradient in same]), strict=True):
            means[id(gradient)] = mean.view_as(gradient)
    return [None if gradient is None else means[id(gradient)] for gradient in gradients]
