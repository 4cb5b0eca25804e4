"""Fine-tuning: the source first, then the shown target labels."""

from __future__ import annotations

from dataclasses import dataclass

from tl_research.methods.staged import ParameterConfig, ParameterMethod
from tl_research.registry import register_method


@dataclass
class FineTuneConfig(ParameterConfig):
    """Options of `fine_tune`: those of every method of stages."""

    name: str = "fine_tune"


@register_method(
    "fine_tune",
    config=FineTuneConfig,
    family="parameter",
    settings=("few_shot", "supervised"),
    paper="Yosinski et al. 2014, NeurIPS (fine-tuning all layers)",
    gain=0.04,
)
class FineTune(ParameterMethod):
    """Train all parameters on the source, then all of them on the target labels that the setting shows.

    CE(source) for the first `source_share` of the epochs, then CE(target_labeled) at `lr_scale` times the
    learning rate.
    """
