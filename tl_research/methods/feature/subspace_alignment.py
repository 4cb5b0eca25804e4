"""Alignment of two principal subspaces."""

from __future__ import annotations

from dataclasses import dataclass

from tl_research.alignment.base import Alignment
from tl_research.alignment.subspace_alignment import SubspaceAlignment
from tl_research.methods.closed_form import ClosedForm, ClosedFormConfig
from tl_research.registry import register_method


@dataclass
class AlignedSubspacesConfig(ClosedFormConfig):
    name: str = "subspace_alignment"
    components: int | None = None  # null: 20, or the rank where that is smaller

    def __post_init__(self):
        super().__post_init__()
        SubspaceAlignment(components=self.components)  # refuses what is out of range


@register_method(
    "subspace_alignment",
    config=AlignedSubspacesConfig,
    family="feature",
    settings=("unsupervised", "few_shot", "supervised"),
    paper="Fernando et al. 2013, ICCV, algorithm 1",
    encoder="identity",
    gain=0.06,
)
class AlignedSubspaces(ClosedForm):
    """Turn the source's principal axes into the target's, x_s -> x_s P_s P_s' P_t and x_t -> x_t P_t, then a head."""

    def make_alignment(self) -> Alignment:
        config = self.config
        return SubspaceAlignment(components=config.components)
