"""What raw labels are, before anything is fitted or hidden: class indices or numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np


class LabelKind(ABC):
    """What a domain's labels (n,) are. Readers, splits and audits ask it, as methods ask the `Outcome`."""

    #: Its name, as `Outcome.kind`.
    name: ClassVar[str]
    #: What labels are that do not fit it.
    otherwise: ClassVar[str]

    @abstractmethod
    def fits(self, label: np.ndarray) -> bool:
        """Whether the array holds labels of this kind."""

    @abstractmethod
    def known(self, label: np.ndarray) -> np.ndarray:
        """Return (n,) bool: whether the row has a label."""

    @abstractmethod
    def sizes(self, label: np.ndarray) -> np.ndarray:
        """Return (classes,): how many rows have each class; empty where labels are not countable."""

    @abstractmethod
    def wide(self, label: np.ndarray) -> np.ndarray:
        """Return (n, k): known labels as columns that can be correlated with a feature."""

    @abstractmethod
    def groups(self, label: np.ndarray) -> dict[str, np.ndarray]:
        """Return the groups that shots are drawn from: words for a message -> (n,) bool."""


@dataclass(frozen=True)
class ClassLabels(LabelKind):
    """Indices into the names of the classes, -1 where there is none."""

    classes: tuple[str, ...]

    name: ClassVar[str] = "class"
    otherwise: ClassVar[str] = "numbers and classes"

    def fits(self, label: np.ndarray) -> bool:
        return label.dtype.kind != "f"

    def known(self, label: np.ndarray) -> np.ndarray:
        return label >= 0

    def sizes(self, label: np.ndarray) -> np.ndarray:
        return np.bincount(label[self.known(label)], minlength=len(self.classes))

    def wide(self, label: np.ndarray) -> np.ndarray:
        return np.eye(len(self.classes))[label]

    def groups(self, label: np.ndarray) -> dict[str, np.ndarray]:
        return {f" of class {name!r}": label == code for code, name in enumerate(self.classes)}


@dataclass(frozen=True)
class NumberLabels(LabelKind):
    """Numbers to be predicted, nan where there is none."""

    name: ClassVar[str] = "regression"
    otherwise: ClassVar[str] = "class indices and no classes"

    def fits(self, label: np.ndarray) -> bool:
        return label.dtype.kind == "f"

    def known(self, label: np.ndarray) -> np.ndarray:
        return ~np.isnan(label)

    def sizes(self, label: np.ndarray) -> np.ndarray:
        return np.zeros(0, dtype=np.int64)

    def wide(self, label: np.ndarray) -> np.ndarray:
        return label[:, None]

    def groups(self, label: np.ndarray) -> dict[str, np.ndarray]:
        return {"": self.known(label)}


def kind_of(classes: Sequence[str]) -> LabelKind:
    """Return the kind of labels with these class names; without any they are numbers."""
    return ClassLabels(tuple(classes)) if classes else NumberLabels()
