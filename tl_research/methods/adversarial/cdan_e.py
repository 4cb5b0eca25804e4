"""Conditional domain-adversarial networks with entropy conditioning."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tl_research.methods.adversarial.cdan import CDAN, CDANConfig
from tl_research.registry import register_method


@dataclass
class CDANEConfig(CDANConfig):
    """Options of `cdan_e`: those of `cdan`."""

    name: str = "cdan_e"
    entropy: bool = True


@register_method(
    "cdan_e",
    config=CDANEConfig,
    family="adversarial",
    settings=("unsupervised", "few_shot"),
    targets=("class",),
    paper="Long et al. 2018, NeurIPS, section 3.2 (CDAN+E)",
    null=math.log(2.0),
    no_gain="held against source_only on two moons (tests/methods/test_games.py)",
)
class CDANE(CDAN):
    """Align features and predictions together, certain rows first: `cdan` with `entropy`."""
