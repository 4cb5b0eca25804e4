"""One class of several."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tl_research.metrics.classes import ClassRows, classification_metrics
from tl_research.metrics.intervals import class_interval
from tl_research.metrics.left_out import auroc_left_out
from tl_research.outcomes.base import Outcome


@dataclass(frozen=True)
class ClassOutcome(Outcome):
    """Labels (n,) are class indices, outputs (n, classes) are logits, and the loss is the cross-entropy.

    Fields:
        classes: their names, in the order of the logits; of two, the second is the positive one.
        has_unknown: whether the last one is `unknown`: rows of none of the other classes, which training has no label
            of (`data.label_sets=open`).
    """

    classes: tuple[str, ...]
    has_unknown: bool = False

    kind: ClassVar[str] = "class"
    main: ClassVar[str] = "accuracy"
    second: ClassVar[str] = "log_loss"
    plural: ClassVar[str] = "classes"
    shots: ClassVar[str] = "per class"

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", tuple(self.classes))

    @property
    def width(self) -> int:
        return len(self.classes)

    @property
    def known_width(self) -> int:
        """Number of classes but for `unknown`."""
        return self.width - self.has_unknown

    @property
    def names(self) -> tuple[str, ...]:
        return self.classes

    @property
    def compared(self) -> str:
        """AUROC of two classes, which no threshold and no class share decides; accuracy of more."""
        return "auroc" if self.width == 2 else self.main

    def row_losses(self, outputs: Tensor, label: Tensor) -> Tensor:
        return F.cross_entropy(outputs, label, reduction="none")

    def loss(self, outputs: Tensor, label: Tensor, weight: Tensor | None = None) -> Tensor:
        # The fused mean rounds otherwise than the mean of the rows.
        return F.cross_entropy(outputs, label) if weight is None else super().loss(outputs, label, weight)

    def row_gradients(self, outputs: Tensor, label: Tensor) -> Tensor:
        """p - y, with y one-hot."""
        return outputs.softmax(dim=1) - F.one_hot(label, self.width)

    def class_places(self, label: Tensor) -> Tensor | None:
        return label

    def metrics(self, outputs: Tensor, label: Tensor) -> dict[str, float]:
        return classification_metrics(outputs, label, has_unknown=self.has_unknown)

    def _left_out(self, metric: str, outputs: Tensor, label: Tensor, part: np.ndarray) -> list[float]:
        if metric == "auroc" and self.width == 2:
            rows = ClassRows.of(outputs, label)
            return auroc_left_out(rows.logits[:, 1] - rows.logits[:, 0], rows.label == 1, part)
        return super()._left_out(metric, outputs, label, part)

    def rows_of(self, outputs: Tensor, label: Tensor, group: np.ndarray | None = None) -> ClassRows:
        return ClassRows.of(outputs, label, group, has_unknown=self.has_unknown)

    def interval(self, metric: str, value: float, outputs: Tensor, label: Tensor) -> tuple[float, float] | None:
        return class_interval(metric, value, torch.bincount(label, minlength=self.width).tolist())

    def probabilities(self, outputs: Tensor) -> Tensor:
        """Return class probabilities (n, classes), float64."""
        return torch.softmax(outputs.double(), dim=1)

    def columns(self, outputs: Tensor) -> dict[str, np.ndarray]:
        probabilities = self.probabilities(outputs).numpy()
        predicted = np.array([self.classes[code] for code in probabilities.argmax(1)], dtype=object)
        shares = {f"p_{name}": probabilities[:, code] for code, name in enumerate(self.classes)}
        return {"prediction": predicted} | shares

    def state_dict(self) -> dict[str, Any]:
        state = {"kind": self.kind, "classes": list(self.classes)}
        return state | ({"has_unknown": True} if self.has_unknown else {})

    def fits_head_of(self, state: dict[str, Any]) -> bool:
        return super().fits_head_of(state) and (tuple(state["classes"]), state.get("has_unknown", False)) == (
            self.classes,
            self.has_unknown,
        )
