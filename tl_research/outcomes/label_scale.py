"""The scale of a regression target: networks train on standardised labels and are measured in the label's own unit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from tl_research.errors import DataError
from tl_research.nn.rounding import relative_rounding


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
            DataError: there is none, they are all equal up to rounding, or their squares leave float64.
        """
        label = torch.cat([part.double() for part in labels])
        if label.numel() == 0:
            raise DataError("data.label: every label that training may see is missing; there is nothing to regress on")
        low, high = label.aminmax()
        peak = torch.maximum(low.abs(), high.abs())
        exact = bool((label == label.round()).all()) and float(peak) < 2**53
        rounding = 0.0 if exact else max(relative_rounding(part.dtype) for part in labels) * float(peak)
        if float(high - low) <= rounding:
            said = f"is {label[0].item():g}"
            raise DataError(f"data.label: every label that training may see {said}; there is nothing to regress on")
        mean, std = label.mean().item(), label.std(correction=0).item()
        if not (std > 0 and math.isfinite(std) and math.isfinite(mean)):
            said = f"labels from {low.item():g} to {high.item():g} leave float64 when they are squared"
            raise DataError(f"data.label: {said}; give them in another unit")
        return cls(mean, std)

    def standardised(self, label: Tensor) -> Tensor:
        """Labels (n,) in their own unit -> float64 (n,) of mean 0 and variance 1; nan stays nan."""
        return (label.double() - self.mean) / self.std

    def restored(self, standardised: Tensor) -> Tensor:
        """The inverse of `standardised`, float64."""
        return standardised.double() * self.std + self.mean

    def state_dict(self) -> dict[str, float]:
        return asdict(self)
