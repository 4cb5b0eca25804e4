"""Fine-tuning that is pulled back to where it started."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from tl_research.config import check
from tl_research.data.batch import PairedBatch
from tl_research.methods.base import Encoded
from tl_research.methods.parameter.frozen import FrozenCopy
from tl_research.methods.parameter.stages import ParameterConfig, ParameterMethod
from tl_research.registry import register_method


@dataclass
class L2SPConfig(ParameterConfig):
    name: str = "l2_sp"
    alpha: float = 0.1  # of the squared distance of the encoder from the source's
    beta: float = 0.01  # of the squared norm of the head

    def __post_init__(self):
        super().__post_init__()
        check(self.alpha >= 0, "method.alpha", self.alpha, "0 or more")
        check(self.beta >= 0, "method.beta", self.beta, "0 or more")


@register_method(
    "l2_sp",
    config=L2SPConfig,
    family="parameter",
    settings=("few_shot", "supervised"),
    paper="Li et al. 2018, ICML, eq. 2 (L2-SP)",
    gain=0.06,
)
class L2SP(ParameterMethod):
    """Fine-tune with  (α/2) ||w - w_s||² + (β/2) ||v||²,  w the encoder's parameters, w_s the source's, v the head's.

    It takes the place of weight decay: `optimizer.weight_decay` acts in the source stage only. With α = β = 0 it is
    `fine_tune` without weight decay; as α grows, the encoder stays and it becomes `linear_probe`.
    """

    def make_target_parts(self) -> None:
        super().make_target_parts()
        self.source = FrozenCopy(self.encoder)

    def target_groups(self) -> list[dict[str, Any]]:
        return [{**group, "weight_decay": 0.0} for group in super().target_groups()]

    def target_loss(self, rows: Encoded, batch: PairedBatch) -> dict[str, Tensor]:
        start, config = self.source.values(), self.config
        moved = sum((value - start[name]).square().sum() for name, value in self.encoder.named_parameters())
        size = sum(value.square().sum() for value in self.head.parameters())
        return {"to_source": 0.5 * config.alpha * moved, "head_size": 0.5 * config.beta * size}
