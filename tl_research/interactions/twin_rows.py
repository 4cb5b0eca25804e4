"""What becomes of twins in a run: their held-out rows are kept or dropped, or the two items become one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tl_research.interactions.log import Log
from tl_research.interactions.task import Task
from tl_research.interactions.twins import merged

TREATMENTS = ("drop", "keep", "merge")


def treat_twins(task: Task, how: str) -> tuple[Task, dict[str, Any]]:
    """Return the task after its twins were treated, and the counts for the record.

    Args:
        task: with its twins, or without any where domains share their items by id.
        how: `keep`: both ids stay, and a held-out row whose twin the user has bought elsewhere counts. `drop`: such
            held-out rows are left out. `merge`: twins are one item under one id; a held-out row of an item that the
            user has bought elsewhere is no recommendation, and is left out too.

    Returns:
        The task, and `pairs`, `given_away` (held-out rows whose twin the user has in a source) and `treated`.
    """
    if task.twins is None:
        return task, {}
    given_away = {"target_val": int(task.val_leaked.sum()), "target_test": int(task.test_leaked.sum())}
    facts = {"pairs": len(task.twins), "given_away": given_away, "treated": how}
    return {"keep": lambda known: known, "drop": _dropped, "merge": _merged}[how](task), facts


def _dropped(task: Task) -> Task:
    val, test = task.val.take(~task.val_leaked), task.test.take(~task.test_leaked)
    return replace(task, val=val, test=test, val_leaked=_none(val), test_leaked=_none(test))


def _merged(task: Task) -> Task:
    train, val, test, *sources = merged([task.train, task.val, task.test, *task.sources], task.twins)
    val, test = (_unbought(held_out, sources) for held_out in (val, test))
    return replace(
        task, train=train, val=val, test=test, sources=tuple(sources), val_leaked=_none(val), test_leaked=_none(test)
    )


def _unbought(held_out: Log, sources: list[Log]) -> Log:
    bought = np.concatenate([log.user * log.items + log.item for log in sources])
    return held_out.take(~np.isin(held_out.user * held_out.items + held_out.item, bought))


def _none(log: Log) -> np.ndarray:
    return np.zeros(len(log), bool)
