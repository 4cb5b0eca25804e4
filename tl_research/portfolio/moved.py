"""`Moved`: target rows are given the source's mean and scale, and then shown to the source's learner."""

from __future__ import annotations

import torch
from torch import Tensor

from tl_research.alignment.base import Rows
from tl_research.nn.fitted import Fitted
from tl_research.portfolio.part import Part, Scores

#: Rows by which the target's mean and scale are held to the source's.
SHRINK_ROWS = 20.0
#: Least deviation of a column of the target, in deviations of the source.
LEAST_SCALE = 0.1


class Shift(Fitted):
    """x · scale + shift, (d,) each: from the target's mean and scale to the source's."""

    def fit(self, source: Tensor, target: Tensor) -> None:
        """Fit to source rows (n, d) and target rows (k, d).

        m_S + (x - m) (s_S / s)^λ with λ = k / (k + `SHRINK_ROWS`), m_S and s_S mean and deviation of the source, s that
        of the target (at least `LEAST_SCALE` s_S), and m = λ m_T + (1 - λ) m_S.
        """
        share = len(target) / (len(target) + SHRINK_ROWS)
        of_source, of_target = source.double(), target.double()
        mean_s, mean_t = of_source.mean(dim=0), of_target.mean(dim=0)
        scale_s = of_source.std(dim=0, correction=0).clamp_min(1e-6)
        scale_t = torch.maximum(of_target.std(dim=0, correction=0), LEAST_SCALE * scale_s)
        scale = (scale_s / scale_t) ** share
        mean = share * mean_t + (1 - share) * mean_s
        self.keep(scale=scale.to(source.dtype), shift=(mean_s - mean * scale).to(source.dtype))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.shift


class Moved(Part):
    """What the source's learner says of rows after `Shift`; of the shown rows it reads no label."""

    def build(self, rows: int, quick: bool = False) -> None:
        self.head = Shift()  # the learner is shared with the parts `source`

    def wanted_scores(self, learners: tuple[str, ...]) -> tuple[str, ...]:
        return (self.learner,)

    def fit(self, source: Rows, shown: Rows, scores: Tensor, *, classes: int, seed: int, quick: bool = False) -> None:
        self.build(len(shown.x))
        self.head.fit(source.x, shown.x)

    def forward(self, x: Tensor, scores: Scores) -> Tensor:
        return scores.learners[self.learner](self.head(x))
