"""Fine-tuning: the source first, then the shown target labels."""

from __future__ import annotations

from dataclasses import dataclass

from tl_research.config import MethodConfig, check
from tl_research.methods.base import AdaptationModule, Phase
from tl_research.registry import register_method


@dataclass
class FineTuneConfig(MethodConfig):
    name: str = "fine_tune"
    source_share: float = 0.5  # of the epochs, rounded, spent on the source
    lr_scale: float = 1.0  # factor on optimizer.lr once the target begins

    def __post_init__(self):
        check(0 < self.source_share < 1, "method.source_share", self.source_share, "a share between 0 and 1")
        check(self.lr_scale > 0, "method.lr_scale", self.lr_scale, "a number above 0")


@register_method(
    "fine_tune",
    config=FineTuneConfig,
    family="parameter",
    settings=("few_shot", "supervised"),
    paper="Yosinski et al. 2014, NeurIPS (fine-tuning all layers)",
    gain=0.01,
)
class FineTune(AdaptationModule):
    """Train all parameters on the source, then all of them on the target labels that the setting shows.

    CE(source) for the first `source_share` of the epochs, then CE(target_labeled) at `lr_scale` times the
    learning rate.
    """

    reads = frozenset(("source", "target_labeled"))

    def phase(self, epoch: int) -> Phase:
        source_epochs = min(self.epochs - 1, max(1, round(self.config.source_share * self.epochs)))
        if epoch < source_epochs:
            return Phase("source", target_labeled=False)
        return Phase("target", source=False, lr_scale=self.config.lr_scale)
