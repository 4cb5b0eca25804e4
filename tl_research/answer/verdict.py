"""Did the old data help? The answer in one sentence, from paired figures of resamples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tl_research.answer.figures import better as side_of
from tl_research.answer.figures import decimals, gained, name_of, rounded, shown
from tl_research.answer.interval import gain_interval
from tl_research.answer.measured import ALWAYS, WITH, WITHOUT, Measured

HELPED, HURT, WOULD_HURT, UNDECIDED = "helped", "hurt", "would have hurt", "undecided"
#: Labelled rows, of both sides of a split, below which a gain has no interval and no verdict: of a test side of three
#: rows the metric has a handful of values, which say nothing of its spread.
FEWEST_ROWS = 20
#: Times the labels that there are: more would not be said.
SILLY = 100


@dataclass(frozen=True)
class Gain:
    """The mean of a metric in two rows of the table, and of their difference with its interval.

    Fields:
        row, base: means over the resamples that have both.
        mean, low, high: by how much the row is better than the base, in the metric's own unit: row minus base, and
            of an error base minus row. Infinite ends where one resample has both, or of fewer than `FEWEST_ROWS` rows.
        resamples: that have both; `lacking` have a test side on which the metric has no value.
    """

    row: float
    base: float
    mean: float
    low: float
    high: float
    resamples: int
    lacking: int

    @property
    def side(self) -> int:
        """1 where the whole interval is on the better side of 0, -1 on the worse, 0 where it holds 0."""
        return 1 if self.low > 0 else -1 if self.high < 0 else 0


def gain_of(found: Sequence[Measured], metric: str, row: str, base: str = WITHOUT) -> Gain | None:
    """Return the paired gain of a row over `base`; None where no resample has the metric for both."""
    both = [each for each in found if all(metric in each.figures.get(name, {}) for name in (row, base))]
    if not both:
        return None
    ours, theirs = (np.array([each.figures[name][metric] for each in both]) for name in (row, base))
    test, pool, shown_rows = (
        round(float(np.mean([getattr(each, name) for each in both]))) for name in ("test", "pool", "train")
    )
    better_by = side_of(metric) * (ours - theirs)
    low, high = -math.inf, math.inf
    if pool + test >= FEWEST_ROWS:
        low, high = gain_interval(
            better_by,
            test_rows=test,
            train_rows=pool,
            shown_rows=shown_rows,
            without=_without_parts(both, metric, row, base),
            held_back=_without_parts(both, metric, ALWAYS, base) if row == WITH else None,
        )
    means = float(ours.mean()), float(theirs.mean())
    return Gain(*means, float(better_by.mean()), low, high, len(both), len(found) - len(both))


def _without_parts(found: Sequence[Measured], metric: str, row: str, base: str) -> np.ndarray:
    """(J, G) gains without each part of the test rows, nan where there is none."""
    ours, theirs = (np.array([each.left_out[name] for each in found], dtype=np.float64) for name in (row, base))
    return side_of(metric) * (ours - theirs)


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
        return self.gain.mean < 0

    def sentence(self, use: str) -> str:
        """Return the answer; `use` says what to use."""
        gain = self.gain
        places = decimals(self.metric, gain.base)
        better_by = gained(gain.mean, gain.low, gain.high, metric=self.metric, base=gain.base)
        figures = (
            f"{name_of(self.metric)} {shown(gain.row, places)} against {shown(gain.base, places)} "
            f"from the new data alone, better by {better_by}"
        )
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
    if gated.side:
        return Verdict(HELPED if gated.side > 0 else HURT, metric, gated, labels)
    always = gain_of(found, metric, ALWAYS)
    if always is not None and always.side < 0:
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
