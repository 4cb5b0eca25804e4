"""The tables of differences: rows against the reference of their block, with intervals, marks and what hurt."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from tl_research.metrics.registered import higher_is_better
from tl_research.registry import METHODS
from tl_research.report.blocks import WITHOUT_LABELS, Comparison, comparisons
from tl_research.report.layout import Block, Grid, Heading, fitting, paragraph
from tl_research.report.scores import Scores
from tl_research.report.statistics import BOUND, LEVEL, PAIRED, RESAMPLED, SEEDS

MEAN = "mean"


def columns_of(scores: Scores) -> tuple[str | None, ...]:
    """Return the tasks, and None for the mean over them where there are several."""
    return (*scores.tasks, None) if len(scores.tasks) > 1 else tuple(scores.tasks)


def counted(number: int, noun: str) -> str:
    """Return `1 seed`, `3 seeds`."""
    return f"{number} {noun}{'s' * (number != 1)}"


def differences(frame: pd.DataFrame, scores: Scores, suite) -> list[Block]:
    """Return the blocks of the page that compare rows; none where nothing can be compared.

    Args:
        frame: from `collect`.
        scores: of the suite's metric, each run's own rule.
        suite: names the baseline.
    """
    found = comparisons(frame, suite, scores)
    blocks: list[Block] = []
    for number, each in enumerate(found):
        if each.reference is None or not each.labels:
            blocks += [Heading("Rows that train on no target label"), paragraph(_nothing_to_compare(each))]
            continue
        title = each.title if len(found) > 1 else f"Difference to {each.reference}"
        blocks += [Heading(title), *_compared(scores, suite, each, title, said_before=number > 0)]
    return blocks


def _nothing_to_compare(each: Comparison) -> str:
    if not each.labels:
        return (
            f"Of these there is {each.reference} alone: no difference is taken, as a row that trains on target labels "
            "is no match for it."
        )
    return (
        f"The suite has no `{WITHOUT_LABELS}` to compare these with, and a row that trains on target labels is no "
        f"match for them: no difference is taken. They are {', '.join(each.labels)}."
    )


def _compared(scores: Scores, suite, each: Comparison, title: str, *, said_before: bool) -> list[Block]:
    """One block of differences: what its intervals are, the table, how many marks chance makes, what hurt."""

    def grid(**options) -> Grid:
        cells = tuple(
            tuple(scores.difference_cell(label, each.reference, task, **options) for task in columns_of(scores))
            for label in each.labels
        )
        columns = tuple(MEAN if task is None else task for task in columns_of(scores))
        return Grid("row", "task", columns, each.labels, cells, f"{scores.metric}: {title[0].lower()}{title[1:]}")

    found = [scores.difference(label, each.reference, task) for label in each.labels for task in columns_of(scores)]
    kinds = [difference.kind for difference in found if difference is not None and difference.kind]
    better = "higher" if higher_is_better(scores.metric) else "lower"
    sentences = [
        f"Row minus {each.reference} in {scores.unit} ({better} is better), paired by task and seed, with the 95 % "
        "interval for new test rows and new seeds (none for one seed)."
    ]
    sentences += ["Intervals and marks are as above."] if said_before else [*_said_of_intervals(set(kinds)), MARKED]
    if kinds:
        sentences.append(_chance(len(kinds)))
    tables = fitting([grid(words=True)], [grid(words=False)])
    transfer = [row.label for row in suite.methods if row.label in each.labels and _reads_source(row.method)]
    said = [paragraph(_negative_transfer(scores, each.reference, transfer))] if transfer else []
    return [paragraph(" ".join(sentences)), *tables, *said]


MARKED = (
    "▲: helps, the whole interval is on the better side of 0; ▼: hurts, the whole interval is on the worse side "
    "(decided before rounding)."
)
#: Kind of an interval (`statistics`) -> what the caption says of it.
INTERVALS = {
    PAIRED: (
        "Its variance is that over seeds and that which the test rows give the paired difference (a jackknife over "
        "40 parts of them). In simulations it covers the truth in 93 to 98 % of the cases."
    ),
    RESAMPLED: (
        "Seeds draw their test rows from the same rows and so are not independent: the corrected resampled t interval "
        "takes all variance over seeds for that of test rows. In simulations it covers the truth in 95 to 99 % of the "
        "cases."
    ),
    BOUND: (
        "Its variance is that over seeds and that of the test rows, as if the two rows of the table erred on them "
        "independently. In simulations it covers the truth in 97 to 100 % of the cases."
    ),
    SEEDS: "It is Student's over the seeds: what the choice of test rows does is not known, and not in it.",
}


def _said_of_intervals(kinds: set[str]) -> list[str]:
    """Return what is to be said of the kinds of interval of a table."""
    if {RESAMPLED, BOUND} <= kinds:
        return [
            "The records do not say what the test rows do to a paired difference. So it is the narrower of two that "
            "are wide enough: the corrected resampled t, which takes all variance over seeds for that of test rows, "
            "and one as if the two rows of the table erred on them independently. In simulations it covers the truth "
            "in 94 to 100 % of the cases: a mark is earned, and an interval without one may be too wide."
        ]
    return [text for kind, text in INTERVALS.items() if kind in kinds]


def _chance(intervals: int) -> str:
    """Say how many marks chance makes: intervals are not corrected for their number."""
    expected = (1 - LEVEL) * intervals
    count = f"about {expected:.0f}" if expected >= 0.95 else "fewer than one"
    return f"If no row differed, {count} of the {counted(intervals, 'interval')} would be marked by chance."


def _reads_source(method: str) -> bool:
    """Whether a row is transfer at all: training on the target alone cannot be negative transfer."""
    return method not in METHODS.names() or "source" in METHODS.get(method).target.reads


def _negative_transfer(scores: Scores, baseline: str, labels: Sequence[str]) -> str:
    hurt, unjudged, judged = {}, 0, 0
    for label in labels:
        for task in columns_of(scores):
            difference = scores.difference(label, baseline, task)
            if difference is None:
                continue
            if difference.low is None:
                unjudged += 1
                continue
            judged += 1
            if scores.verdict(difference) == "hurts":
                hurt.setdefault(label, []).append("the mean over tasks" if task is None else task)
    if hurt:
        text = "; ".join(f"{label} on {', '.join(tasks)}" for label, tasks in hurt.items())
        count = sum(map(len, hurt.values()))
        text = f"**Negative transfer** in {count} of {judged} comparisons (▼): {text}."
    elif judged:
        text = (
            f"Negative transfer: none of {judged} comparisons has its whole interval on the worse side of {baseline}."
        )
    else:
        text = "Negative transfer cannot be judged: no comparison has an interval."
    return text + (f" {counted(unjudged, 'comparison')} of a single seed, without interval." if unjudged else "")
