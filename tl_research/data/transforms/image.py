"""Images to a uint8 tensor. They stay bytes in memory; the encoder makes floats of them on its device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tl_research.data.transforms.spec import InputSpec
from tl_research.errors import DataError


class ImageTransform:
    """Images (n, height, width, channels) uint8, unchanged. Only their common shape is fitted."""

    def __init__(self, shape: tuple[int, int, int]):
        self.shape = shape

    @classmethod
    def fit(cls, parts: Sequence[np.ndarray], scale: str = "none") -> ImageTransform:
        """Take the shape of the images in `parts`, one array per domain; pixels are not scaled, whatever `scale` says.

        Raises:
            DataError: images of several shapes.
        """
        fitted = cls(tuple(int(size) for size in parts[0].shape[1:]))
        for part in parts:
            fitted._check(part)
        return fitted

    @property
    def spec(self) -> InputSpec:
        """Height, width and channels of the images."""
        return InputSpec(numeric=0, image=self.shape)

    @property
    def info(self) -> dict[str, Any]:
        """Facts for the result record."""
        return {"image": list(self.shape)}

    @property
    def remarks(self) -> list[str]:
        """Nothing is left out of images."""
        return []

    def transform(self, raw: np.ndarray) -> Tensor:
        """Return (n, height, width, channels) uint8."""
        self._check(raw)
        return torch.from_numpy(np.array(raw, order="C"))

    def unseen_counts(self, raw: np.ndarray) -> dict[str, int]:
        """An image has no categories: nothing is unseen."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """The shape of the images."""
        return {"kind": "image", "shape": list(self.shape)}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> ImageTransform:
        """Make the transform of what `state_dict` gave."""
        return cls(tuple(state["shape"]))

    def _check(self, raw) -> None:
        if not isinstance(raw, np.ndarray) or raw.ndim != 4:
            raise DataError(f"images of shape (rows, height, width, channels) are wanted, got {_kind(raw)}")
        if raw.dtype != np.uint8:
            raise DataError(f"images of type uint8 (0 to 255) are wanted, got {raw.dtype}")
        if raw.shape[1:] != self.shape:
            raise DataError(f"images of shape {raw.shape[1:]}, but training had {self.shape}")


def _kind(raw) -> str:
    return f"an array of shape {raw.shape}" if isinstance(raw, np.ndarray) else f"a {type(raw).__name__}"
