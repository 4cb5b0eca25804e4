"""The protocol of the closed-form papers: all source rows with labels, all target rows without, measured on them."""

from __future__ import annotations

from dataclasses import dataclass

from tl_research.config import DataConfig, check


@dataclass
class TransductiveConfig(DataConfig):
    """Group `data` of a set whose published numbers are transductive."""

    transductive: bool = True  # target test rows are the unlabelled training rows, and no row is held out
    scale: str = "none"

    def __post_init__(self):
        super().__post_init__()
        if self.transductive:
            wants = "unsupervised, because data.transductive=true measures on the very target rows"
            check(self.setting == "unsupervised", "data.setting", self.setting, wants)
