"""A suite and its records without any training."""

from dataclasses import dataclass, field

import numpy as np

from tl_research.runs.record import Record


@dataclass(frozen=True)
class Task:
    name: str
    overrides: dict = field(default_factory=dict)
    of: str = ""
    shots: object = None


@dataclass(frozen=True)
class Row:
    label: str
    method: str
    overrides: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Reference:
    paper: str
    label: str
    beside: str
    metric: str
    values: dict


@dataclass(frozen=True)
class Cell:
    label: str
    method: str
    task: str
    seed: int
    config: object
    run_id: str


@dataclass(frozen=True)
class Suite:
    tasks: tuple
    methods: tuple
    seeds: tuple = (0, 1, 2)
    name: str = "fake"
    metric: str = "accuracy"
    metrics: tuple = ("accuracy",)
    rules: tuple = ("last", "source_val", "oracle")
    baseline: str = "source_only"
    reference: tuple = ()
    notes: str = ""
    path: str = "benchmarks/suites/fake.yaml"
    shots: tuple = ()

    def cells(self, output="runs"):
        return [
            Cell(row.label, row.method, task.name, seed, None, f"{row.label}-{task.name}-{seed}")
            for row in self.methods
            for task in self.tasks
            for seed in self.seeds
        ]


def suite(tasks="a->b c->b", rows="source_only dann", **fields) -> Suite:
    methods = tuple(Row(label, label) for label in rows.split())
    return Suite(tuple(map(Task, tasks.split())), methods, **fields)


def record(cell, values, *, rule="source_val", **fields) -> Record:
    """`values`: rule -> metric -> value on target_test."""
    source, target = cell.task.split("->")
    metrics = {
        name: {"epoch": 3, "train/source_task": 0.5} | {f"target_test/{m}": v for m, v in numbers.items()}
        for name, numbers in values.items()
    }
    plain = dict(setting="unsupervised", family="adversarial", environment={"torch": "2.11", "commit": "abc"})
    task = {"suite": "fake", "dataset": "shop", "sources": [source], "target": target}
    return Record(
        cell.run_id, "ok", cell.method, task=task, seed=cell.seed, config={}, metrics=metrics, selection_rule=rule,
        **(plain | fields),
    )  # fmt: skip


def filled(suite, effects=None, seed=0, spread=0.01, metrics=("accuracy",)):
    """Records of every cell: 0.75 plus the row's effect plus noise."""
    generator = np.random.default_rng(seed)
    records = []
    for cell in suite.cells():
        base = 0.75 + (effects or {}).get(cell.label, 0.0) + spread * generator.normal()
        values = {rule: dict.fromkeys(metrics, base + bonus) for rule, bonus in
                  (("last", -0.01), ("source_val", 0.0), ("oracle", 0.02))}  # fmt: skip
        records.append(record(cell, values))
    return records
