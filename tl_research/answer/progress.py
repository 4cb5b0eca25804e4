"""What is said while resamples are measured: the first figures after the first of them."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from tl_research.answer.figures import decimals, name_of, shown
from tl_research.answer.measured import WITH, WITHOUT, First, Measured


class Progress:
    """Counts resamples and says the means so far.

    Args:
        total: resamples, at all numbers of labels together.
        metric: that is compared.
        say: called with each line.
    """

    def __init__(self, total: int, metric: str, say: Callable[[str], None]):
        self.total, self.metric, self.say = total, metric, say
        self.done = self.computed = 0
        self._begun = time.monotonic()
        self._of_size: dict[int | None, list[Measured]] = {}

    def begin(self) -> None:
        """Count the time of resamples from here."""
        self._begun = time.monotonic()

    def first(self, found: First) -> None:
        """Say what linear models tell before any resample is done."""
        if found.old is None or found.new is None:
            return
        places = decimals(self.metric, found.new)
        self.say(
            f"first figures, of linear models on 1 of {self.total} resamples: {name_of(self.metric)} "
            f"{shown(found.old, places)} of the old data alone, {shown(found.new, places)} of the new labels alone"
        )

    def add(self, measured: Measured, *, computed: bool = True) -> Measured:
        """Take note of a resample; one that was kept from before is said of no time. Returns it."""
        self.done += 1
        self.computed += computed
        same = self._of_size.setdefault(measured.size, [])
        same.append(measured)
        if computed or self.done == self.total:
            at = "" if measured.size is None else f" ({measured.train:,} labels)"
            self.say(f"{self.done} of {self.total} resamples{at}: {self._figures(same)}{self._left()}")
        return measured

    def _figures(self, found: list[Measured]) -> str:
        means = []
        for row in (WITH, WITHOUT):
            values = [each.figures[row][self.metric] for each in found if self.metric in each.figures[row]]
            if not values:
                return f"no value of {name_of(self.metric)} yet"
            means.append(float(np.mean(values)))
        places = decimals(self.metric, means[1])
        return f"{name_of(self.metric)} {shown(means[0], places)} with the old data, {shown(means[1], places)} without"

    def _left(self) -> str:
        if not self.computed or self.done == self.total:
            return ""
        seconds = (time.monotonic() - self._begun) / self.computed * (self.total - self.done)
        return f"; about {seconds:.0f} s left" if seconds < 120 else f"; about {seconds / 60:.0f} min left"
