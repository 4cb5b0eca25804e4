"""Fine-tuning that is pulled back to where it started."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tl_research.config import at_least
from tl_research.data.batch import Samples
from tl_research.methods.base import Step
from tl_research.methods.staged import ParameterConfig, ParameterMethod
from tl_research.nn.fitted import Fitted
from tl_research.nn.frozen import FrozenCopy
from tl_research.registry import register_method


@dataclass
class L2SPConfig(ParameterConfig):
    """Options of `l2_sp`: the weights α and β of its two penalties."""

    name: str = "l2_sp"
    alpha: float = at_least(0, default=0.3)  # of the squared distance of the encoder from the source's
    beta: float = at_least(0, default=0.03)  # of the squared norm of the head
    per_label: bool = True  # divide both by the number of labels; False: by 1, as the paper does


@register_method(
    "l2_sp",
    config=L2SPConfig,
    family="parameter",
    settings=("few_shot", "supervised"),
    paper="Li et al. 2018, ICML, eq. 2 (L2-SP)",
    gain=0.06,
    gain_in="log_loss",
)
class L2SP(ParameterMethod):
    """Fine-tune with  mean CE + (α/2n) ||w - w_s||² + (β/2n) ||v||²  over the n labelled target rows that train.

    w are the encoder's parameters, w_s the source's, v the head's. Times n it is a negative log posterior: the sum of
    CE over the labels, a Gaussian prior of precision α around w_s and one of precision β around 0. So one α serves few
    labels and many: as n grows it becomes `fine_tune` without weight decay, as α grows the encoder stays and it
    becomes `linear_probe`. The batch size has no part in it. The paper and public code have no n (`per_label=false`):
    there one α pulls 2,000 labels as hard as 20. It takes the place of weight decay: `optimizer.weight_decay` acts in
    the source stage only.
    """

    def build(self) -> None:
        self.labels = Fitted()

    def enter_target_stage(self, labeled: Samples) -> None:
        self.labels.keep(count=torch.tensor(float(labeled.size), device=self.device))

    def make_target_parts(self) -> None:
        super().make_target_parts()
        self.source = FrozenCopy(self.encoder)

    def target_groups(self) -> list[dict[str, Any]]:
        return [{**group, "weight_decay": 0.0} for group in super().target_groups()]

    def terms(self, step: Step) -> dict[str, Tensor]:
        start, config = self.source.values(), self.config
        share = 1 / self.labels.count if config.per_label else 1.0
        moved = sum((value - start[name]).square().sum() for name, value in self.encoder.named_parameters())
        size = sum(value.square().sum() for value in self.head.parameters())
        return {"to_source": 0.5 * config.alpha * share * moved, "head_size": 0.5 * config.beta * share * size}
