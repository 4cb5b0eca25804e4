"""What a fitted head is."""

from __future__ import annotations

from torch import Tensor

from tl_research.nn.fitted import Fitted

#: Smallest probability of a head that gives hard votes, so that its log is finite.
SMALLEST = 1e-6


class Head(Fitted):
    """Features (n, d) -> logits (n, classes); fitted once, kept in buffers."""

    #: Whether `fit` uses weights; a head that does not refuses them.
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
        raise NotImplementedError
