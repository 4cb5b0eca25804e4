"""The registries, one per kind of part, and the decorators that fill them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tl_research.registry.entries import DatasetEntry, EncoderEntry, MethodEntry, SamplerEntry, WeightingEntry
from tl_research.registry.methods import refuse_unfit
from tl_research.registry.parts import Parts
from tl_research.registry.registry import Registry, registers

if TYPE_CHECKING:
    from tl_research.evaluation.rules import Rule
    from tl_research.metrics.registered import Metric
    from tl_research.metrics.requested import Family

METHODS: Registry[MethodEntry] = Registry("method", "tl_research.methods", "method", check=refuse_unfit)
DATASETS: Registry[DatasetEntry] = Registry(
    "data set", ("tl_research.data.catalog", "tl_research.interactions.catalog"), "data"
)
ENCODERS: Registry[EncoderEntry] = Registry("encoder", "tl_research.encoders", "encoder")
WEIGHTINGS: Registry[WeightingEntry] = Registry("weighting", "tl_research.weighting", "method.weighting")
SAMPLERS: Registry[SamplerEntry] = Registry("sampler", "tl_research.data.sampling", "data.sampler")
METRICS: Parts[Metric] = Parts(
    "metric",
    "tl_research.metrics.classes",
    "tl_research.metrics.numbers",
    "tl_research.metrics.preferences",
    "tl_research.metrics.open_sets",
)
_ON_REQUEST = tuple(f"tl_research.metrics.{name}" for name in ("groups", "ordinal", "probabilities", "top", "value"))
#: Metrics that are measured where somebody asks for them, and those with a parameter in their name.
REQUESTED_METRICS: Parts[Metric] = Parts("metric", *_ON_REQUEST)
METRIC_FAMILIES: Parts[Family] = Parts("metric", *_ON_REQUEST)
RULES: Parts[Rule] = Parts(
    "rule",
    "tl_research.evaluation.rules",
    "tl_research.evaluation.validators",
    # Those that are scored on request come late, those that read the most of the target's labels last.
    order=lambda rule: (rule.needs_target_labels, rule.offline, rule.is_oracle),
)

register_method = registers(METHODS, MethodEntry)
register_dataset = registers(DATASETS, DatasetEntry)
register_encoder = registers(ENCODERS, EncoderEntry)
register_weighting = registers(WEIGHTINGS, WeightingEntry)
register_sampler = registers(SAMPLERS, SamplerEntry)
