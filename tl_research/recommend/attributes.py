"""Did the items' attributes help? The best candidate that reads them against the best that does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tl_research.interactions.task import Task
from tl_research.recommend.measure import CHOOSES, K, Measured
from tl_research.recommend.verdict import Gain, counted_rows, paired


@dataclass(frozen=True)
class OfAttributes:
    """What attributes are worth on the test rows.

    Fields:
        without, best: the candidates that validation chose of those that read no attributes, and of those that do.
        gain: NDCG@10 of `best` over `without`.
    """

    without: Measured
    best: Measured
    gain: Gain

    @property
    def hurt(self) -> bool:
        """Whether the whole interval is below zero: no candidate that reads attributes is used then."""
        return self.gain.high < 0

    @property
    def said(self) -> str:
        """The sentence."""
        gain = self.gain
        found = "No gain or loss from the items' attributes could be shown"
        if gain.low > 0:
            found = "The items' attributes helped"
        elif self.hurt:
            found = "The items' attributes hurt, and what reads them is not used"
        ends = f" [{100 * gain.low:+.2f}, {100 * gain.high:+.2f}]" if gain.users > 1 else ", of one test user"
        return (
            f"{found}: NDCG@{K} {100 * gain.old:.2f} (`{self.best.candidate.name}`) against {100 * gain.new:.2f} "
            f"without them (`{self.without.candidate.name}`), {100 * gain.mean:+.2f}{ends}."
        )


def of_attributes(task: Task, measured: Sequence[Measured], *, drop: bool) -> OfAttributes | None:
    """Compare the candidates that validation chose with and without attributes; None where none reads any.

    Args:
        task: that was tested.
        measured: tested candidates.
        drop: whether test rows with a twin in a source are left out.
    """
    sides = [[each for each in measured if each.candidate.reads_items is reads] for reads in (False, True)]
    if not sides[1]:
        return None
    without, best = (max(side, key=lambda each: each.validation) for side in sides)
    rows = counted_rows(task, drop=drop)
    values = [each.per_user(CHOOSES, rows)[1] for each in (best, without)]
    return OfAttributes(without, best, paired(*values))
