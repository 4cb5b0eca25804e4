"""Logistic regression of the target, held to that of the source."""

from __future__ import annotations

from dataclasses import dataclass

from tl_research.alignment.base import Alignment
from tl_research.alignment.none import NoAlignment
from tl_research.config import MethodConfig
from tl_research.data.batch import Samples
from tl_research.errors import DataError
from tl_research.heads.warm_start import WarmStartLogistic
from tl_research.methods.closed_form import ClosedForm
from tl_research.registry import register_method


@dataclass
class WarmStartLogisticConfig(MethodConfig):
    name: str = "warm_start_logistic"
    prior: str = "proximal"  # or the source's posterior by Laplace's approximation: diagonal, full
    strength: float = 1.0  # factor on the prior's precision
    penalty: float = 1.0  # of the source's model, as of the head `logistic`
    free_intercept: bool = False  # leave the intercept out of the prior

    def __post_init__(self):
        head_of(self)  # refuses what is out of range


def head_of(config: WarmStartLogisticConfig) -> WarmStartLogistic:
    """Return the unfitted head."""
    own = set(WarmStartLogisticConfig.__dataclass_fields__) - set(MethodConfig.__dataclass_fields__)
    return WarmStartLogistic(**{name: getattr(config, name) for name in own})


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
class WarmStartLogisticMethod(ClosedForm):
    """Fit logistic regression to the source, then to the labelled target rows with a Gaussian prior around it.

    min_w Σ_target CE(w) + (strength / 2) (w - w_S)' P (w - w_S), P = I or the precision of the source's posterior; see
    `tl_research.heads.warm_start.WarmStartLogistic`. With `method.weighting` the source's rows are weighted.
    """

    trains = False

    def make_alignment(self) -> Alignment:
        return NoAlignment()

    def build(self) -> None:
        self.alignment, self.head = self.make_alignment(), head_of(self.config)

    def _fit(self, source: Samples, target: Samples, target_labeled: Samples | None) -> None:
        if target_labeled is None or target_labeled.size == 0:
            raise DataError("warm_start_logistic: there is no target row with a label")
        weight = None if self.row_weights is None else self.row_weights.source
        sides = (self.encoder(source.inputs), source.label, weight, self.encoder(target_labeled.inputs))
        self.head.fit_transfer(*sides, target_labeled.label, classes=self.classes, seed=self.seed)
