"""What becomes of twins in a run: their held-out rows are kept or dropped, or the two items become one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tl_research.interactions.log import Log
from tl_research.interactions.task import HeldOut, Task
from tl_research.interactions.twins import merged

TREATMENTS = ("drop", "keep", "merge")


def treat_twins(task: Task, how: str) -> tuple[Task, dict[str, Any]]:
    """Return the task after its twins were treated, and the counts for the record.

    Args:
        task: with its twins, or without any where domains share their items by id.
        how: `keep`: both ids stay, and a held-out row whose twin the user has bought elsewhere counts. `drop`: such
            held-out rows are left out. `merge`: twins are one item under one id; a held-out row of an item that the
            user has bought elsewhere is no recommendation, and is left out too. Held-out rows of a source likewise.

    Returns:
        The task, and `pairs`, `given_away` (held-out rows whose twin the user has in another domain) and `treated`.
    """
    if task.twins is None:
        return task, {}
    held_out = [task] if task.of_source is None else [task, task.of_source]
    given_away = {
        "target_val": sum(int(part.val_leaked.sum()) for part in held_out),
        "target_test": sum(int(part.test_leaked.sum()) for part in held_out),
    }
    facts = {"pairs": len(task.twins), "given_away": given_away, "treated": how}
    return {"keep": lambda known: known, "drop": _dropped, "merge": _merged}[how](task), facts


def _dropped(task: Task) -> Task:
    of_source = task.of_source and _without_leaks(task.of_source)
    return replace(_without_leaks(task), of_source=of_source)


def _without_leaks(part: Any) -> Any:
    val, test = part.val.take(~part.val_leaked), part.test.take(~part.test_leaked)
    return replace(part, val=val, test=test, val_leaked=_none(val), test_leaked=_none(test))


def _merged(task: Task) -> Task:
    others = () if task.of_source is None else (task.of_source.val, task.of_source.test)
    logs = merged([task.train, task.val, task.test, *others, *task.sources], task.twins)
    train, sources = logs[0], logs[3 + len(others) :]
    val, test = (_unbought(held_out, sources) for held_out in logs[1:3])
    of_source = None
    if others:
        pair = [_unbought(held_out, [train]) for held_out in logs[3:5]]
        of_source = HeldOut(*pair, *map(_none, pair))
    parts = {"train": train, "val": val, "test": test, "sources": tuple(sources), "of_source": of_source}
    return replace(task, **parts, val_leaked=_none(val), test_leaked=_none(test))


def _unbought(held_out: Log, sources: list[Log]) -> Log:
    bought = np.concatenate([log.user * log.items + log.item for log in sources])
    return held_out.take(~np.isin(held_out.user * held_out.items + held_out.item, bought))


def _none(log: Log) -> np.ndarray:
    return np.zeros(len(log), bool)
