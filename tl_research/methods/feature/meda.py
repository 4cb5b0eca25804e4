"""Manifold embedded distribution alignment."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from tl_research.alignment.base import Alignment
from tl_research.alignment.meda import MEDA
from tl_research.config import MethodConfig
from tl_research.heads.outputs import Outputs
from tl_research.methods.closed_form import ClosedForm
from tl_research.registry import register_method


@dataclass
class MEDAConfig(MethodConfig):
    name: str = "meda"
    kernel: str = "rbf"
    bandwidth: float | str = "median"  # sigma, or the heuristic: median or mean
    ridge: float = 0.1  # η
    alignment: float = 10.0  # λ
    smoothness: float = 1.0  # ρ
    neighbours: int = 10  # of a row in the graph
    balance: float | str = 0.5  # μ, or dynamic
    unit_length: bool = True
    iterations: int = 10
    exact_rows: int = 5000
    landmarks: int = 1000
    reference_rows: int = 20_000

    def __post_init__(self):
        MEDA(classes=2, **self.options())  # refuses what is out of range

    def options(self) -> dict[str, Any]:
        common = {field.name for field in dataclasses.fields(MethodConfig)}
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name not in common}


@register_method(
    "meda",
    config=MEDAConfig,
    family="feature",
    settings=("unsupervised", "few_shot", "supervised"),
    paper="Wang et al. 2018, ACM Multimedia, eq. 11 to 15 and algorithm 1 without its first step (GFK features)",
    encoder="identity",
    targets=("class",),
    gain=0.015,
    over=("meda", "method.alignment=0"),  # which gains over `shallow` too
)
class MEDAMethod(ClosedForm):
    """Kernel ridge classifier with equal outputs on both domains and their classes, smooth on the rows' graph.

    It reads the rows themselves: the paper's first step, which maps them to the GFK manifold, is left out. With
    `balance=dynamic` the distances of the classes are summed, as the paper prints it; the authors' code takes their
    mean and multiplies M_0 by the number of classes.
    """

    trains = False
    unit_length = False  # it is its own classifier, on rows as they are mapped

    def build(self) -> None:
        self.alignment = self.make_alignment()
        self.head = Outputs()

    def make_alignment(self) -> Alignment:
        return MEDA(classes=self.classes, **self.config.options())
