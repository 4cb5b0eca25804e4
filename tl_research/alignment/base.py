"""What a closed-form alignment is."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from tl_research.nn.fitted import Fitted


class Rows(NamedTuple):
    """What training may see of one domain.

    Fields:
        x: (n, d) float features.
        label: (n,) class index, or None where they are hidden.
        weight: (n,) relative weights >= 0 of the rows, or None for equal ones.
    """

    x: Tensor
    label: Tensor | None = None
    weight: Tensor | None = None


class Alignment(Fitted):
    """Maps rows of the source and of the target into one space of `out_features` columns.

    Fitted on the device and, inside, in float64 where a decomposition needs it; the maps take and return the dtype
    of their rows, on new rows as well as on those it was fitted on. What is fitted lies in buffers (`keep`).
    """

    def fit(self, source: Rows, target: Rows, *, labeled: Rows | None = None, classes: int, seed: int) -> None:
        """Fit to the training rows.

        Args:
            source: (n, d) rows with labels.
            target: (m, d) rows without labels.
            labeled: target rows with labels, where the setting shows any.
            classes: number of classes.
            seed: of whatever is drawn (landmarks, random features); the same seed gives the same map.
        """
        raise NotImplementedError

    def source(self, x: Tensor) -> Tensor:
        """Map source rows (n, d) to (n, out_features)."""
        return self.target(x)

    def target(self, x: Tensor) -> Tensor:
        """Map target rows (m, d) to (m, out_features)."""
        raise NotImplementedError

    def width(self, features: int) -> int:
        """Number of columns of the mapped rows, known before the fit: a head that is trained needs it."""
        return features

    def facts(self) -> dict[str, float | int | str]:
        """What the result record keeps: components, the path taken (exact, Nyström with how many landmarks), ..."""
        return {}
