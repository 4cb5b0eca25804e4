"""Weight-decomposed low-rank adaptation."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from tl_research.adapters.dora import DoRA
from tl_research.config import at_least
from tl_research.methods.adapted import AdapterMethod, AdapterMethodConfig
from tl_research.registry import register_method


@dataclass
class DoRAConfig(AdapterMethodConfig):
    """Options of `dora`: those of every adapter, and the rank and scale of the change."""

    name: str = "dora"
    rank: int = at_least(0, default=8)
    alpha: float = at_least(0, default=8.0)  # the change of a direction is alpha / rank * B A


@register_method(
    "dora",
    config=DoRAConfig,
    family="parameter",
    settings=("few_shot", "supervised"),
    paper="Liu et al. 2024, arXiv:2402.09353, eq. 5 and 11 (DoRA)",
    gain=0.02,
)
class DoRAMethod(AdapterMethod):
    """Train magnitudes and low-rank changes of direction of each layer, m V / ||V||, and the head.

    The encoder itself is frozen. With rank 0 or alpha 0 the magnitudes alone are trained. On the problem of the
    contract tests it gains over `target_only` by its source stage; `fine_tune` gains more there.
    """

    def make_adapter(self, layer: nn.Module) -> DoRA:
        return DoRA(layer, rank=self.config.rank, alpha=self.config.alpha)
