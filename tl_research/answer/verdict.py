"""Did the old data help? The answer in one sentence, from paired figures of resamples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tl_research.answer.figures import better as side_of
from tl_research.answer.figures import decimals, difference, interval, name_of, rounded, shown
from tl_research.answer.interval import gain_interval
from tl_research.answer.measured import ALWAYS, WITH, WITHOUT, Measured

HELPED, HURT, WOULD_HURT, UNDECIDED = "helped", "hurt", "would have hurt", "undecided"
#: Times the labels that there are: more would not be said.
SILLY = 100


@dataclass(frozen=True)
class Gain:
    """The mean of a metric in two rows of the table, and of their difference with its interval.

    Fields:
        row, base: means over the resamples that have both.
        mean, low, high: of row minus base, in the metric's own unit; infinite ends where one resample has both.
        resamples: that have both; `lacking` have a test side on which the metric has no value.
    """

    row: float
    base: float
    mean: float
    low: float
    high: float
    resamples: int
    lacking: int

    def side(self, metric: str) -> int:
        """Return 1 where the whole interval is on the better side of 0, -1 on the worse, 0 where it holds 0."""
        better = side_of(metric)
        if min(better * self.low, better * self.high) > 0:
            return 1
        return -1 if max(better * self.low, better * self.high) < 0 else 0


def gain_of(found: Sequence[Measured], metric: str, row: str, base: str = WITHOUT) -> Gain | None:
    """Return the paired gain of a row over `base`; None where no resample has the metric for both."""
    both = [each for each in found if all(metric in each.figures.get(name, {}) for name in (row, base))]
    if not both:
        return None
    ours, theirs = (np.array([each.figures[name][metric] for each in both]) for name in (row, base))
    test, pool, shown_rows = (
        round(float(np.mean([getattr(each, name) for each in both]))) for name in ("test", "pool", "train")
    )
    low, high = gain_interval(
        ours - theirs,
        test_rows=test,
        train_rows=pool,
        shown_rows=shown_rows,
        without=_without_parts(both, row, base),
        held_back=_without_parts(both, ALWAYS, base) if row == WITH else None,
    )
    means = float(ours.mean()), float(theirs.mean())
    return Gain(*means, float((ours - theirs).mean()), low, high, len(both), len(found) - len(both))


def _without_parts(found: Sequence[Measured], row: str, base: str) -> np.ndarray:
    """(J, G) differences without each part of the test rows, nan where there is none."""
    ours, theirs = (np.array([each.left_out[name] for each in found], dtype=np.float64) for name in (row, base))
    return ours - theirs


@dataclass(frozen=True)
class Verdict:
    """What was found.

    Fields:
        kind: `helped`, `hurt`, `would have hurt` (in any case; the gate has left the old data out), `undecided`.
        metric: that was compared.
        gain: of the row that the sentence is about, over the new data alone.
        labels: target labels that were learnt from, in the mean.
        more: labels with which an undecided gain of this size would be decided; None where that is silly.
    """

    kind: str
    metric: str
    gain: Gain
    labels: int
    more: int | None = None

    @property
    def is_loss(self) -> bool:
        """Whether the row has the worse mean, shown beyond chance or not."""
        return side_of(self.metric) * self.gain.mean < 0

    def sentence(self, use: str) -> str:
        """Return the answer; `use` says what to use."""
        gain = self.gain
        places = decimals(self.metric, gain.base)
        figures = (
            f"{name_of(self.metric)} {shown(gain.row, places)} against {shown(gain.base, places)} "
            f"from the new data alone, {difference(gain.mean, places)}"
        )
        if math.isfinite(gain.low):
            figures += f" {interval(gain.low, gain.high, places)}"
        if self.kind == HELPED:
            return f"The old data helped: {figures}; use {use}."
        if self.kind == HURT:
            return f"The old data hurt: {figures}; use {use}."
        if self.kind == WOULD_HURT:
            return f"The old data would have hurt: {figures}; they are left out, use {use}."
        hope = f"; with about {self.more:,} more labels this would be decided" if self.more else ""
        return f"No gain from the old data could be shown ({figures}); use {use}{hope}."

    def as_dict(self) -> dict[str, Any]:
        """Return kind, metric, labels, more, and the fields of the gain."""
        own = asdict(self)
        return {**{name: value for name, value in own.items() if name != "gain"}, **own["gain"]}


def judge(found: Sequence[Measured], metric: str) -> Verdict | None:
    """Return the verdict of the resamples at one number of labels; None where none has the metric.

    `helped` and `hurt` where the whole interval of the gated answer's gain is on that side of 0. Where it holds 0, the
    answer that always hears the old data is looked at: `would have hurt` where its whole interval is on the worse side.
    """
    gated = gain_of(found, metric, WITH)
    if gated is None:
        return None
    labels = round(float(np.mean([each.train for each in found])))
    side = gated.side(metric)
    if side:
        return Verdict(HELPED if side > 0 else HURT, metric, gated, labels)
    always = gain_of(found, metric, ALWAYS)
    if always is not None and always.side(metric) < 0:
        return Verdict(WOULD_HURT, metric, always, labels)
    return Verdict(UNDECIDED, metric, gated, labels, more_labels(gated, labels))


def more_labels(gain: Gain, labels: int) -> int | None:
    """Return how many further labels would decide a gain of this size, where its interval narrows as 1 / √labels.

    n' = n (reach / |gain|)², with reach half of the interval; None where n' - n is above `SILLY` · n.
    """
    reach = (gain.high - gain.low) / 2
    if not math.isfinite(reach) or gain.mean == 0:
        return None
    more = labels * ((reach / abs(gain.mean)) ** 2 - 1)
    return rounded(more) if 0 < more <= SILLY * labels else None
