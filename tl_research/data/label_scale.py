"""The scale of a regression target: networks train on standardised labels and are measured in the label's own unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from tl_research.errors import DataError


@dataclass(frozen=True)
class LabelScale:
    """z = (y - mean) / std, with the mean and the standard deviation of labels that training may see.

    Fields:
        mean, std: in the label's unit; std > 0.
    """

    mean: float
    std: float

    @classmethod
    def fit(cls, labels: Sequence[Tensor]) -> LabelScale:
        """Fit to labels (n,) of every part; they must be known.

        Raises:
            DataError: there is none, or they are all equal.
        """
        label = torch.cat([part.double() for part in labels])
        if label.numel() == 0 or bool(label.min() == label.max()):
            said = f"is {label[0].item():g}" if label.numel() else "is missing"
            raise DataError(f"data.label: every label that training may see {said}; there is nothing to regress on")
        return cls(label.mean().item(), label.std(correction=0).item())

    def standardised(self, label: Tensor) -> Tensor:
        """Labels (n,) in their own unit -> float64 (n,) of mean 0 and variance 1; nan stays nan."""
        return (label.double() - self.mean) / self.std

    def restored(self, standardised: Tensor) -> Tensor:
        """The inverse of `standardised`, float64."""
        return standardised.double() * self.std + self.mean

    def state_dict(self) -> dict[str, float]:
        return asdict(self)
