"""Handwritten digits of scikit-learn, changed in stated ways; needs no download."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.datasets import load_digits

from tl_research.config import DataConfig
from tl_research.data.domain import Domain
from tl_research.registry import register_dataset

DOMAINS = ("upright", "inverted", "shifted", "noisy")
CLASSES = tuple(str(digit) for digit in range(10))
NOISE = 4.0  # standard deviation, of grey values 0 to 16
_SEED = 0


@dataclass
class DigitsConfig(DataConfig):
    """Group `data` of `digits`."""

    name: str = "digits"


@register_dataset(
    "digits",
    config=DigitsConfig,
    domains=DOMAINS,
    default=("upright", "noisy"),
    metric="accuracy",
    encoder="mlp",
    paper="Alpaydin, Kaynak 1998, UCI Optical Recognition of Handwritten Digits, as in scikit-learn",
    licence="CC BY 4.0",
)
def load(config: DigitsConfig, names: list[str]) -> dict[str, Domain]:
    """Handwritten digits, 8x8 grey values 0 to 16 as 64 features, in four stated variants.

    `upright` as they are; `inverted` 16 - x; `shifted` one pixel down and one to the right, the edge filled with
    0; `noisy` x + N(0, 4^2), clipped to 0..16. The 1,797 images are dealt to the four domains by a fixed
    permutation, so that no image is in two of them (449 or 450 each).
    """
    images, digits = load_digits(return_X_y=True)
    return {name: _domain(name, images, digits) for name in names}


load.files = []


def rows_of(name: str, count: int = 1797) -> np.ndarray:
    """Rows of scikit-learn's digits that belong to a domain."""
    return np.random.default_rng(_SEED).permutation(count)[DOMAINS.index(name) :: len(DOMAINS)]


def _domain(name: str, images: np.ndarray, digits: np.ndarray) -> Domain:
    rows = rows_of(name, len(images))
    x = _CHANGES[name](images[rows].reshape(-1, 8, 8)).reshape(len(rows), 64).astype(np.float32)
    return Domain(name, x, digits[rows].astype(np.int64), CLASSES, origin=f"digits/{name}", info={"rows": len(rows)})


def _shifted(images: np.ndarray) -> np.ndarray:
    moved = np.zeros_like(images)
    moved[:, 1:, 1:] = images[:, :-1, :-1]
    return moved


def _noisy(images: np.ndarray) -> np.ndarray:
    return np.clip(images + np.random.default_rng(_SEED + 1).normal(0.0, NOISE, images.shape), 0.0, 16.0)


_CHANGES = {"upright": lambda x: x, "inverted": lambda x: 16.0 - x, "shifted": _shifted, "noisy": _noisy}
