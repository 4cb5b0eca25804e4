"""Joint PCA: the row that every alignment must be read beside."""

from __future__ import annotations

from dataclasses import dataclass

from tl_research.alignment.base import Alignment
from tl_research.alignment.pca import PCA
from tl_research.methods.closed_form import ClosedForm, ClosedFormConfig
from tl_research.registry import register_method


@dataclass
class JointPCAConfig(ClosedFormConfig):
    name: str = "joint_pca"
    components: int | None = None  # null: 20, or the rank where that is smaller
    balanced: bool = False  # each domain weighs a half instead of each row the same

    def __post_init__(self):
        super().__post_init__()
        PCA(components=self.components, balanced=self.balanced)  # refuses what is out of range


@register_method(
    "joint_pca",
    config=JointPCAConfig,
    family="baseline",
    settings=("unsupervised", "few_shot", "supervised"),
    paper="Pearson 1901; as baseline: Long et al. 2013, ICCV, section 5.2",
    encoder="identity",
)
class JointPCA(ClosedForm):
    """Principal components of the rows of both domains, x -> (x - mean) P, then a head; it knows no domains."""

    def make_alignment(self) -> Alignment:
        config = self.config
        return PCA(components=config.components, balanced=config.balanced)
