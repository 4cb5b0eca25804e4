"""Low-rank adaptation."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from tl_research.adapters.lora import LoRA
from tl_research.config import at_least
from tl_research.methods.adapted import AdapterMethod, AdapterMethodConfig
from tl_research.registry import register_method


@dataclass
class LoRAConfig(AdapterMethodConfig):
    """Options of `lora`: those of every adapter, and the rank and scale of the change."""

    name: str = "lora"
    rank: int = at_least(0, default=8)
    alpha: float = at_least(0, default=8.0)  # the change of a weight is alpha / rank * B A


@register_method(
    "lora",
    config=LoRAConfig,
    family="parameter",
    settings=("few_shot", "supervised"),
    paper="Hu et al. 2021, arXiv:2106.09685, eq. 3 (LoRA)",
    gain=0.02,
)
class LoRAMethod(AdapterMethod):
    """Train a low-rank change of each layer, W + (alpha / rank) B A, and the head; the encoder itself is frozen.

    With rank 0 or alpha 0 it is `linear_probe` with `new_head=false`. On the problem of the contract tests it gains
    over `target_only` by its source stage; `fine_tune` gains more there.
    """

    def make_adapter(self, layer: nn.Module) -> LoRA:
        return LoRA(layer, rank=self.config.rank, alpha=self.config.alpha)
