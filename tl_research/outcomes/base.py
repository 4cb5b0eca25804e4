"""`Outcome`: what is predicted, and everything that depends on it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from tl_research.metrics.hidden import HIDDEN
from tl_research.metrics.left_out import left_out
from tl_research.metrics.requested import find_metric
from tl_research.registry import METRICS


class Outcome(ABC):
    """What the rows' labels are and how outputs are trained, measured and shown.

    A method, a data module and an evaluator ask it instead of asking what kind of label there is. A new kind of
    outcome is one subclass: its width, `row_losses`, `metrics`, `columns` and `state_dict`; the rest has a default.
    """

    #: Name of the kind: what a metric is registered for (`of`), and what a method takes (`targets`).
    kind: ClassVar[str]
    #: Metric that is shown where the data set's own is of another kind.
    main: ClassVar[str]
    #: Metric that a table shows beside it.
    second: ClassVar[str]
    #: What messages call several of them.
    plural: ClassVar[str]
    #: Of what a number of `data.shots` is the count.
    shots: ClassVar[str]

    @property
    @abstractmethod
    def width(self) -> int:
        """Number of outputs per row."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the values that a label can take; empty where they are not countable."""
        return ()

    @property
    def facts(self) -> dict[str, Any]:
        """What a record says of the label, beside `names`."""
        return {}

    # Labels

    def known(self, label: Tensor) -> Tensor:
        """Return (n,) bool: whether the row has a label, or a part of one."""
        is_known = ~label.isnan() if label.is_floating_point() else label != HIDDEN
        return is_known if label.ndim == 1 else is_known.flatten(1).any(1)

    def hide(self, label: Tensor) -> Tensor:
        """Return labels (n, ...) of the same shape that say nothing, so that nothing downstream can read them."""
        return torch.full_like(label, float("nan") if label.is_floating_point() else HIDDEN)

    def scaled(self, label: Tensor) -> Tensor:
        """Return labels as training has them, for labels as the data have them."""
        return label

    # Training

    def head(self, features: int) -> nn.Module:
        """Make the untrained map from features (n, `features`) to outputs (n, width)."""
        return nn.Linear(features, self.width)

    @abstractmethod
    def row_losses(self, outputs: Tensor, label: Tensor) -> Tensor:
        """Return the task loss (n,) of outputs (n, width) and `scaled` labels."""

    def loss(self, outputs: Tensor, label: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the mean of `row_losses`, or with weights (n,) Σ_i w_i l_i / n."""
        losses = self.row_losses(outputs, label)
        return (losses if weight is None else weight * losses).mean()

    def row_gradients(self, outputs: Tensor, label: Tensor) -> Tensor:
        """Return the gradient (n, width) of each row's loss by its outputs (n, width), without a graph."""
        with torch.enable_grad():
            outputs = outputs.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self.row_losses(outputs, label).sum(), outputs)
        return gradient

    def class_places(self, label: Tensor) -> Tensor | None:
        """Return labels (n,) as class indices, for what knows classes only; None where they are none."""
        return None

    # Measuring

    @abstractmethod
    def metrics(self, outputs: Tensor, label: Tensor) -> dict[str, float]:
        """Return metric -> value for outputs (n, width) and labels as the data have them; no value, no key."""

    def figure(self, metric: str, outputs: Tensor, label: Tensor) -> float | None:
        """Return one metric of these rows, also one on request; None where it has no value on them."""
        return find_metric(metric, classes=self.names).function(self.rows_of(outputs, label))

    def left_out(self, metric: str, outputs: Tensor, label: Tensor, part: np.ndarray) -> list[float | None]:
        """Return one metric without each part (n,) of these rows, to 7 digits; None where it has no value.

        A row is to be of the same part wherever it is measured: the differences of two models by such lists say how
        unsure they are by the choice of rows (`metrics.left_out.noise_of`).
        """
        values = self._left_out(metric, outputs, label, part)
        return [float(f"{value:.7g}") if math.isfinite(value) else None for value in values]

    def _left_out(self, metric: str, outputs: Tensor, label: Tensor, part: np.ndarray) -> list[float]:
        def figure(kept: np.ndarray) -> float | None:
            rows = torch.from_numpy(kept)
            return self.figure(metric, outputs[rows], label[rows])

        return left_out(figure, part)

    def rows_of(self, outputs: Tensor, label: Tensor, group: np.ndarray | None = None) -> Any:
        """Return the rows that a metric of this kind takes (`Metric.function`), for what is measured on request.

        Args:
            outputs: (n, width).
            label: (n,) as the data have them.
            group: (n,) what group a row is of, for metrics within groups.
        """
        raise NotImplementedError(f"{type(self).__name__}: nothing is measured on request")

    def interval(self, metric: str, value: float, outputs: Tensor, label: Tensor) -> tuple[float, float] | None:
        """Return the ends of the 95 % interval of a metric that has `value` on these rows; None where none is known."""
        return None

    def shown_metric(self, own: str) -> str:
        """Return the metric that a record gives an interval: `own`, the data set's, where it is of this kind."""
        return own if METRICS.find(own).of == self.kind else self.main

    @property
    def compared(self) -> str:
        """Metric by which `compare` judges where the user names none."""
        return self.main

    def selection_metric(self, own: str) -> str:
        """Return the metric that selection rules read; `own` is the data set's."""
        return self.shown_metric(own)

    # Predictions

    @abstractmethod
    def columns(self, outputs: Tensor) -> dict[str, np.ndarray]:
        """Return the columns of a file of predictions, each (n,), for outputs (n, width)."""

    # Files

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Return `kind` and what makes an equal outcome, of numbers, texts and lists only."""

    def fits_head_of(self, state: dict[str, Any]) -> bool:
        """Whether a head that was trained for the outcome of `state` predicts what this outcome is of."""
        return state["kind"] == self.kind
