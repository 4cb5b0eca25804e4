"""What the tables and the plot read out of the long frame: scores by row, task and seed, and how they are written."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from tl_research.metrics.registered import higher_is_better
from tl_research.registry import METRICS
from tl_research.report.statistics import Difference, Evidence, paired_difference

MISSING = "—"
MARKS = {"helps": "▲", "hurts": "▼", "": ""}


@dataclass(frozen=True)
class Scores:
    """target_test values of one metric under one rule: label -> task -> seed -> value.

    `rule` None means each run's own selection rule. `evidence` is what stands behind the values, likewise, and
    `targets` names each task's target.
    """

    metric: str
    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    values: dict[str, dict[str, dict[int, float]]]
    evidence: dict[str, dict[str, dict[int, Evidence]]] = field(default_factory=dict)
    targets: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, frame: pd.DataFrame, suite, metric: str, rule: str | None = None) -> Scores:
        """Take one metric's values on target_test out of the long frame.

        Args:
            frame: from `collect`.
            suite: gives labels, tasks and seeds, and their order.
            metric: name of the metric.
            rule: selection rule; None: each run's own.
        """
        chosen = frame[(frame["split"] == "target_test") & (frame["metric"] == metric)]
        chosen = chosen[chosen["selected"].astype(bool)] if rule is None else chosen[chosen["rule"] == rule]
        values: dict[str, dict[str, dict[int, float]]] = {row.label: {} for row in suite.methods}
        for label, task, seed, value in chosen[["label", "task", "seed", "value"]].itertuples(index=False):
            values[label].setdefault(task, {})[int(seed)] = float(value)
        evidence: dict[str, dict[str, dict[int, Evidence]]] = {row.label: {} for row in suite.methods}
        for label, task, seed, found in chosen[["label", "task", "seed", "evidence"]].itertuples(index=False):
            evidence[label].setdefault(task, {})[int(seed)] = found
        # Of one data set, as its domains may have the names of another's.
        targets = {task: f"{data}/{target}" for task, data, target in
                   chosen[["task", "dataset", "target"]].itertuples(index=False)}  # fmt: skip
        tasks = tuple(task.name for task in suite.tasks)
        return cls(metric, tasks, tuple(suite.seeds), values, evidence, targets)

    def at(self, suite, shots: float | str) -> Scores:
        """The same of the tasks at one number of target labels."""
        tasks = tuple(task.name for task in suite.tasks if task.shots == shots)
        values = {label: {t: row[t] for t in tasks if t in row} for label, row in self.values.items()}
        return replace(self, tasks=tasks, values=values)

    def empty(self) -> bool:
        """Whether no run has a value."""
        return not any(self.values.values())

    def task_mean(self, label: str, task: str) -> float | None:
        """Mean over the seeds there are; None where there is none."""
        scores = self.values[label].get(task)
        return float(np.mean(list(scores.values()))) if scores else None

    def mean(self, label: str) -> float | None:
        """Mean over the tasks that have a value, each counting alike."""
        means = [mean for task in self.tasks if (mean := self.task_mean(label, task)) is not None]
        return float(np.mean(means)) if means else None

    def seed_values(self, label: str, task: str | None) -> list[float]:
        """Values over seeds: of one task, or (None) of the mean over the row's tasks, of seeds that have them all."""
        by_task = self.values[label]
        if task is not None:
            return list(by_task.get(task, {}).values())
        if not by_task:
            return []
        complete = set.intersection(*(set(scores) for scores in by_task.values()))
        return [float(np.mean([scores[seed] for scores in by_task.values()])) for seed in sorted(complete)]

    def difference(self, label: str, baseline: str, task: str | None) -> Difference | None:
        """Paired difference to the baseline on one task, or (None) on the mean over tasks."""
        row, other = self.values[label], self.values[baseline]
        if task is not None:
            row = {task: row.get(task, {})}
        return paired_difference(
            row,
            other,
            evidence=self.evidence.get(label),
            baseline_evidence=self.evidence.get(baseline),
            targets=self.targets,
        )

    def verdict(self, difference: Difference | None) -> str:
        """`helps`, `hurts`, or nothing where the interval holds 0 or there is none."""
        return "" if difference is None else difference.verdict(higher_is_better(self.metric))

    def shown(self, value: float | None) -> str:
        """A value as a table shows it: in percent to a tenth, or in its own unit to a thousandth."""
        if value is None:
            return MISSING
        return f"{100 * value:.1f}" if METRICS[self.metric].percent else f"{value:.3f}"

    def shown_difference(self, value: float) -> str:
        """A difference as a table shows it: with its sign, unless it rounds to 0."""
        text = f"{100 * value:+.1f}" if METRICS[self.metric].percent else f"{value:+.3f}"
        # No sign on a zero, and a minus that does not break at the end of a line.
        return text.lstrip("+-") if not text.strip("+-0.") else text.replace("-", "−")

    @property
    def unit(self) -> str:
        """What differences are counted in, for captions."""
        return "points" if METRICS[self.metric].percent else "the metric's own unit"

    def tasks_note(self, count: int) -> str:
        """Say so where a mean over tasks is not over all of them."""
        return "" if count == len(self.tasks) else f" ({count}/{len(self.tasks)} tasks)"

    def cell(self, label: str, task: str | None, *, spread: bool = True) -> str:
        """`78.4 ± 0.5 (n=3/5)`: n where there are fewer seeds than planned."""
        mean = self.mean(label) if task is None else self.task_mean(label, task)
        if mean is None:
            return MISSING
        text = self.shown(mean)
        if spread:
            text += self.spread(label, task)
        return text + self.count_note(label, task)

    def spread(self, label: str, task: str | None) -> str:
        """` ± 0.5`, the standard deviation over seeds (n - 1 in the divisor); nothing for a single seed."""
        values = self.seed_values(label, task)
        return f" ± {self.shown(float(np.std(values, ddof=1)))}" if len(values) > 1 else ""

    def count_note(self, label: str, task: str | None) -> str:
        """` (n=3/5)` where seeds are missing, and of a mean over tasks how many of them it covers."""
        count = len(self.seed_values(label, task))
        note = "" if count == len(self.seeds) else f" (n={count}/{len(self.seeds)})"
        return note + (self.tasks_note(len(self.values[label])) if task is None else "")

    def difference_cell(self, label: str, baseline: str, task: str | None, *, words: bool) -> str:
        """`−1.2 [−2.0, −0.4] ▼ hurts`."""
        difference = self.difference(label, baseline, task)
        if difference is None:
            return MISSING
        text = self.shown_difference(difference.mean)
        if difference.low is not None:
            text += f" [{self.shown_difference(difference.low)}, {self.shown_difference(difference.high)}]"
        planned = len(self.seeds) * difference.tasks
        if difference.pairs < planned:
            text += f" (n={difference.pairs}/{planned})"
        if task is None:
            text += self.tasks_note(difference.tasks)
        verdict = self.verdict(difference)
        return text + (f" {MARKS[verdict]}{' ' + verdict if words else ''}" if verdict else "")
