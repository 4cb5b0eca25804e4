"""Columns that both domains share beside columns of each domain's own."""

from __future__ import annotations

import torch
from torch import Tensor

from tl_research.alignment.base import Alignment, Rows, register_alignment


@register_alignment(
    "feature_augmentation",
    settings=("few_shot", "supervised"),
    paper="Daumé III 2007, ACL, eq. 1",
    gain=0.1,
    # It undoes another P(y|x), not another recording of x.
    problem=("data.measurement_shift=0", "data.concept_shift=1.57"),
)
class FeatureAugmentation(Alignment):
    """Feature augmentation (EasyAdapt): source x -> [x, x, 0], target x -> [x, 0, x].

    A linear head then has weights for both domains and weights for each; in kernel form, 2 x·x' within a domain
    and x·x' across. It needs labelled target rows to tell the two apart: without them a linear head gives the
    target's own columns nothing, and this is the source model under a smaller penalty.

    Reference:
        Daumé III 2007, ACL, eq. 1 and section 3.3.
    """

    estimates = False

    def fit(self, source: Rows, target: Rows, *, labeled: Rows | None = None, classes: int, seed: int) -> None:
        # Nothing is estimated; the buffer says that the part was fitted, and to which width.
        self.keep(columns=torch.tensor(source.x.shape[1], device=source.x.device))

    def source(self, x: Tensor) -> Tensor:
        return torch.cat((x, x, torch.zeros_like(x)), dim=1)

    def target(self, x: Tensor) -> Tensor:
        return torch.cat((x, torch.zeros_like(x), x), dim=1)

    def width(self, features: int) -> int:
        return 3 * features

    def facts(self) -> dict[str, float | int | str]:
        return {"columns": int(self.columns)} if self.is_fitted else {}
