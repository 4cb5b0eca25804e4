"""What a fitted head is, and `register_head`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from tl_research.config import check
from tl_research.nn.fitted import FittedPart
from tl_research.registry import Entry, Registry

#: Heads by the kind of label that they predict; a name may stand in both.
HEADS: dict[str, Registry[Entry]] = {
    "class": Registry("head", "tl_research.heads", "method.head"),
    "regression": Registry("head of numbers", "tl_research.heads", "method.head"),
}

#: Smallest probability of a head that gives hard votes, so that its log is finite.
SMALLEST = 1e-6


@dataclass
class NoOptions:
    """The config of a head without options."""


@dataclass
class PenaltyConfig:
    """The option of every head with a penalty on the squared norm of its weights."""

    penalty: float = 1.0  # of the squared norm (scikit-learn's 1 / C, or alpha)

    def __post_init__(self):
        check(self.penalty > 0, "penalty", self.penalty, "a number above 0")


class Head(FittedPart):
    """Features (n, d) -> logits (n, classes); fitted once, kept in buffers."""

    Config = NoOptions
    #: True if `fit` uses row weights. A head with False raises an error when given any.
    takes_weights = True

    def fit(self, features: Tensor, label: Tensor, weight: Tensor | None, *, classes: int, seed: int) -> None:
        """Fit to rows (n, d) with class indices (n,) and relative weights (n,) >= 0, or None for equal ones.

        A class whose rows all weigh nothing counts as one without rows (`tl_research.heads.support`): it is never
        predicted.

        Raises:
            DataError (a ValueError): no row, or weights that are negative, not finite or all 0.
        """
        raise NotImplementedError

    def forward(self, features: Tensor) -> Tensor:
        """Map features (n, d) to logits (n, classes), of a regression to numbers (n, 1)."""
        raise NotImplementedError


def register_head(
    name: str, *, config: type = NoOptions, targets: tuple[str, ...] = ("class",)
) -> Callable[[type[Head]], type[Head]]:
    """Register a head, a value of `method.head`.

    Args:
        name: one name may have a head of classes and another of numbers.
        config: dataclass of its options. Those that the group `method` has too (`neighbours`, `penalty`) can be set.
        targets: kinds of label that it predicts, `class` or `regression`.
    """

    def add(head: type[Head]) -> type[Head]:
        head.Config = config
        for target in targets:
            HEADS[target].add(Entry(name, config=config, target=head))
        return head

    return add
