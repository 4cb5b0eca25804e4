"""What the answer is with the columns that it leaves out because they may be leaks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from omegaconf import DictConfig

from tl_research.answer.figures import decimals, name_of, shown
from tl_research.answer.leaks import Suspect
from tl_research.answer.measured import WITH, WITHOUT, Item, Measured
from tl_research.answer.options import Options
from tl_research.answer.question import question_of, read_task
from tl_research.answer.rows import TaskRows
from tl_research.answer.workers import measured

#: Resamples on which the answer is measured with what may be a leak.
RESAMPLES = 5


def with_leaks(
    config: DictConfig,
    options: Options,
    rows: TaskRows,
    items: Sequence[Item],
    found: Mapping[tuple[int | None, int], Measured],
    metric: str,
    *,
    jobs: int,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Measure the answer with the suspect columns too, on its first `RESAMPLES` resamples of the most labels.

    Args:
        config, options: of the question.
        rows: without the suspects.
        items: resamples of the question.
        found: their figures without the suspects.
        metric: that is compared.
        jobs: processes.
        say: called with a line of progress.

    Returns:
        The key `leaks` of `answer.json`: the columns, and the mean figures without and with them on the same
        resamples; {} where nothing was suspect.
    """
    if not rows.suspects:
        return {}
    names = [each.column for each in rows.suspects]
    say(f"once more with {', '.join(map(repr, names))}, which the answer leaves out")
    vouched = read_task(config, options, also=[str(name) for name in names])
    some = [item for item in items if item.size == items[-1].size][:RESAMPLES]
    question = question_of(config, vouched, metric)
    own = [found[item.size, item.number] for item in some]
    return {
        "columns": [each._asdict() for each in rows.suspects],
        "resamples": len(some),
        "without": figures_of(own, metric)._asdict(),
        "with": figures_of(list(measured(question, some, jobs=jobs)), metric)._asdict(),
    }


class Figures(NamedTuple):
    """The metric with the old data, and of the new data alone; None where it has no value."""

    with_old: float | None
    new_alone: float | None


def figures_of(found: Sequence[Measured], metric: str) -> Figures:
    """Return the means of a metric over resamples."""
    return Figures(*(_mean([each.figures[row].get(metric) for each in found]) for row in (WITH, WITHOUT)))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def with_and_without(suspected: Sequence[Suspect], metric: str, without: Figures, kept: Figures) -> list[str]:
    """Return what the answer is without the suspects, and what it is with them, as lines for the screen.

    Args:
        suspected: the columns that the answer leaves out; at least one.
        metric: its registered name.
        without: figures of the answer.
        kept: figures with the columns.
    """
    names = " and ".join(each.said for each in suspected)
    flags = " ".join(f"--keep-column {each.column}" for each in suspected)
    them = "it" if len(suspected) == 1 else "them"
    places = decimals(metric, without.new_alone or 0.0)
    own, theirs = ([shown(value, places) for value in each] for each in (without, kept))
    return [
        f"Left out: {names}.",
        f"Without {them}: {name_of(metric)} {own[0]} with the old data against {own[1]} from the new data alone; "
        f"with {them}: {theirs[0]} against {theirs[1]}.",
        f"Known before the outcome? Then keep {them}: {flags}",
    ]


def lines_of(leaks: Mapping[str, Any], metric: str) -> list[str]:
    """Return `with_and_without` for the key `leaks` of `answer.json`; none where nothing was suspect."""
    if not leaks:
        return []
    suspected = [Suspect(**each) for each in leaks["columns"]]
    return with_and_without(suspected, metric, Figures(**leaks["without"]), Figures(**leaks["with"]))
