"""The instance family's re-weighting methods: one for each registered weighting, under its name."""

from __future__ import annotations

from dataclasses import dataclass

from tl_research.config import MethodConfig
from tl_research.methods.base import AdaptationModule
from tl_research.registry import WEIGHTINGS, WeightingEntry, register_method


class Weighted(AdaptationModule):
    """Train on the source with weights fitted before the first step: sum_i w_i CE_i / n."""

    reads = frozenset(("source",))


def _register(weighting: WeightingEntry) -> None:
    @dataclass
    class Config(MethodConfig):
        name: str = weighting.name

    method = type(weighting.name, (Weighted,), {"__doc__": weighting.target.__doc__, "__module__": __name__})
    Config.__name__ = Config.__qualname__ = f"{weighting.name}Config"
    register_method(
        weighting.name,
        config=Config,
        family="instance",
        settings=("unsupervised", "few_shot", "supervised"),
        paper=weighting.paper,
        gain=weighting.gain,
        weighting=weighting.name,
        encoder=None,
        problem=COVARIATE_SHIFT,
    )(method)


#: The shift that weights undo: a region of visits that was rare and is common, under a model that cannot fit both.
COVARIATE_SHIFT = ("data.measurement_shift=0", "data.covariate_shift=1.5", "encoder={name: linear, dim: 8}")

for _weighting in WEIGHTINGS.entries():
    _register(_weighting)
