"""Logistic regression of the target, held to that of the source."""

from __future__ import annotations

from dataclasses import dataclass

from tl_research.alignment.base import Rows
from tl_research.config import MethodConfig
from tl_research.errors import DataError, keys_of
from tl_research.heads.warm_start import WarmStartConfig, WarmStartLogistic
from tl_research.methods.fitted import FittedMethod
from tl_research.registry import register_method


@dataclass
class WarmStartLogisticConfig(WarmStartConfig, MethodConfig):
    """Options of `warm_start_logistic`: the prior that the source's model gives, and its strength."""

    name: str = "warm_start_logistic"

    def __post_init__(self):
        with keys_of("method"):
            super().__post_init__()


@register_method(
    "warm_start_logistic",
    config=WarmStartLogisticConfig,
    family="parameter",
    settings=("few_shot", "supervised"),
    paper="Chelba & Acero 2006, Computer Speech & Language 20(4), eq. 6",
    gain=0.02,
    encoder="identity",
    targets=("class",),
)
class WarmStartLogisticMethod(FittedMethod):
    """Fit logistic regression to the source, then to the labelled target rows with a Gaussian prior around it.

    min_w Σ_target CE(w) + (strength / 2) (w - w_S)' P (w - w_S), P = I or the precision of the source's posterior; see
    `tl_research.heads.warm_start.WarmStartLogistic`. With `method.weighting` the source's rows are weighted.
    """

    def build(self) -> None:
        self.head = WarmStartLogistic(self.config)

    def fit_rows(self, source: Rows, target: Rows, labeled: Rows | None) -> None:
        if labeled is None or len(labeled.x) == 0:
            raise DataError("warm_start_logistic: there is no target row with a label")
        self.head.fit_transfer(*source, *labeled[:2], classes=self.classes, seed=self.seed)
