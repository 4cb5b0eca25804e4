"""Batch nuclear-norm maximisation."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tl_research.config import at_least
from tl_research.losses.target_probabilities import fast_nuclear_norm, nuclear_norm
from tl_research.methods.target_probabilities import LateConfig, TargetProbabilities
from tl_research.registry import register_method


@dataclass
class BNMConfig(LateConfig):
    """Options of `bnm`: the weight of the norm and when it begins, and how it is computed."""

    name: str = "bnm"
    weight: float = at_least(0, default=1.0)
    fast: bool = False  # the norm by the lengths of the columns, without a decomposition (FBNM)


@register_method(
    "bnm",
    config=BNMConfig,
    family="self_training",
    settings=("unsupervised", "few_shot"),
    paper="Cui et al. 2020, CVPR, section 3; fast: Cui et al. 2021, arXiv:2107.06154",
    no_null="the norm of equal domains is that of the classes",
    no_gain="held against source_only on two moons (tests/methods/test_self_training.py)",
    targets=("class",),
)
class BNM(TargetProbabilities):
    """Certain and varied predictions of target rows: CE(source) - weight * ‖P‖_* / n, P their probabilities (n, C)."""

    def of_target(self, logits: Tensor) -> Tensor:
        return -(fast_nuclear_norm if self.config.fast else nuclear_norm)(logits)
