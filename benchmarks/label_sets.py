"""Label sets that differ: closed-set alignment where the target has fewer classes, and rows of unknown classes.

    python benchmarks/label_sets.py run                # into benchmarks/results/label_sets.csv; continued if stopped
    python benchmarks/label_sets.py page               # writes the tables into docs/label_sets.md

`clusters` has other centres for every seed, `digits` other splits and weights. Methods have their defaults.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import mean, stdev

from cells import ROOT, append_lines, read_lines, write_between

from tl_research.config import compose
from tl_research.runs.experiment import run

OUT = ROOT / "benchmarks" / "results" / "label_sets.csv"
PAGE = ROOT / "docs" / "label_sets.md"
FIGURES = ("accuracy", "known_accuracy", "unknown_accuracy", "h_score")
FIELDS = ("problem", "task", "method", "seed", *FIGURES)
SEEDS, EPOCHS = range(5), 20
BASE = {
    "optimizer": {"lr": 3e-3},
    "trainer": {"accelerator": "cpu", "checkpoint_every_seconds": None},
    "selection": {"rule": "last", "every": 1000},
    "wandb": {"mode": "disabled"},
}
PROBLEMS = {
    "clusters": ["data.name=simulated_classes", "data.shift=4", "encoder.hidden=[32]"],
    "digits": ["data.name=digits", "data.sources=[upright]", "data.target=noisy", "encoder.hidden=[64]"],
}
#: Names of the first classes of a problem.
CLASSES = {"clusters": [f"c{number}" for number in range(10)], "digits": [str(number) for number in range(10)]}
#: `data.label_sets`, and how many of the ten classes the source and the target have.
TASKS = {
    "equal 3->3": ("equal", 3, 3),
    "partial 10->3": ("partial", 10, 3),
    "partial 10->2": ("partial", 10, 2),
    "open 5->10": ("open", 5, 10),
}
METHODS = {
    "equal": ("source_only", "dann"),
    "partial": ("source_only", "dann", "pada", "dance"),
    "open": ("source_threshold", "osbp", "dance"),
}


def words_of(problem: str, task: str, seed: int) -> list[str]:
    """Overrides of a task."""
    label_sets, *sizes = TASKS[task]
    sides = zip(("source", "target"), sizes, strict=True)
    classes = [f"data.{side}_classes={CLASSES[problem][:size]}" for side, size in sides]
    drawn = [f"data.data_seed={seed}"] if problem == "clusters" else []
    return [*PROBLEMS[problem], *classes, *drawn, f"data.label_sets={label_sets}", f"seed={seed}"]


def figures(problem: str, task: str, method: str, seed: int, epochs: int) -> dict[str, float | str]:
    """Metrics on the target's test rows after the last epoch; empty where a metric has no value."""
    with tempfile.TemporaryDirectory() as folder:
        words = [f"method.name={method}", f"trainer.max_epochs={epochs}", f"output={folder}"]
        found = run(compose(BASE, [*words_of(problem, task, seed), *words])).metrics["last"]
    return {name: found.get(f"target_test/{name}", "") for name in FIGURES}


def table(lines: list[dict[str, str]]) -> str:
    """Mean and standard deviation over seeds, in percent, and how many seeds lose to the source alone."""
    rows = [
        "| problem | task | method | seeds | accuracy | seeds below `source_only` | known | unknown | H-score |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    found = {tuple(line[key] for key in FIELDS[:4]): line for line in lines}
    order = {name: place for place, name in enumerate((*PROBLEMS, *TASKS))}
    cells = sorted(dict.fromkeys(cell[:3] for cell in found), key=lambda cell: (order[cell[0]], order[cell[1]]))
    for problem, task, method in cells:
        own = {cell[3]: line for cell, line in found.items() if cell[:3] == (problem, task, method)}
        accuracy, *opened = (
            _shown([100 * float(line[name]) for line in own.values() if line[name]]) for name in FIGURES
        )
        pairs = [(line, found.get((problem, task, "source_only", seed))) for seed, line in own.items()]
        below = [float(line["accuracy"]) < float(alone["accuracy"]) for line, alone in pairs if alone is not None]
        lost = f"{sum(below)} of {len(below)}" if below and method != "source_only" else ""
        rows.append(f"| {' | '.join((problem, task, f'`{method}`', str(len(own)), accuracy, lost, *opened))} |")
    return "\n".join(rows) + "\n"


def _shown(values: list[float]) -> str:
    if not values:
        return ""
    return f"{mean(values):.1f} ± {stdev(values):.1f}" if len(values) > 1 else f"{values[0]:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "page"))
    parser.add_argument("--problems", nargs="+", default=[*PROBLEMS])
    parser.add_argument("--tasks", nargs="+", default=[*TASKS])
    parser.add_argument("--seeds", type=int, nargs="+", default=[*SEEDS])
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--csv", type=Path, default=OUT)
    parser.add_argument("--page", type=Path, default=PAGE)
    arguments = parser.parse_args()
    lines = read_lines(arguments.csv)
    if arguments.what == "page":
        write_between(arguments.page, table(lines))
        return
    done = {tuple(line[name] for name in FIELDS[:4]) for line in lines}
    for problem in arguments.problems:
        for task in arguments.tasks:
            for method in METHODS[TASKS[task][0]]:
                for seed in arguments.seeds:
                    cell = (problem, task, method, str(seed))
                    if cell not in done:
                        found = figures(problem, task, method, seed, arguments.epochs)
                        append_lines(arguments.csv, FIELDS, [dict(zip(FIELDS, cell)) | found])
                        print(*cell, found, flush=True)


if __name__ == "__main__":
    sys.exit(main())
