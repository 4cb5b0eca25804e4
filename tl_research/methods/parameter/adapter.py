"""The residual bottleneck adapter."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from tl_research.adapters.bottleneck import Bottleneck
from tl_research.config import at_least
from tl_research.methods.adapted import AdapterMethod, AdapterMethodConfig
from tl_research.registry import register_method


@dataclass
class AdapterConfig(AdapterMethodConfig):
    """Options of `adapter`: those of every adapter, and the size of the bottleneck."""

    name: str = "adapter"
    width: int = at_least(0, default=8)  # of the bottleneck
    scale: float = at_least(0, default=1.0)  # factor on the change


@register_method(
    "adapter",
    config=AdapterConfig,
    family="parameter",
    settings=("few_shot", "supervised"),
    paper="Houlsby et al. 2019, ICML, section 2.1 (adapters)",
    gain=0.04,
)
class BottleneckMethod(AdapterMethod):
    """Train a residual bottleneck behind each layer, h + scale * (U gelu(D h + d) + u), and the head.

    The encoder itself is frozen, its norms too, which the paper trains; and there is one adapter behind each layer,
    where the paper has one behind each of a block's two sub-layers. With width 0 or scale 0 it is `linear_probe` with
    `new_head=false`. On the problem of the contract tests it gains over `target_only` by its source stage, as much as
    `fine_tune` does.
    """

    def make_adapter(self, layer: nn.Module) -> Bottleneck:
        return Bottleneck(layer, width=self.config.width, scale=self.config.scale)
