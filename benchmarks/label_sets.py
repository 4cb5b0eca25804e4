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
FIELDS = ("problem", "label_sets", "method", "seed", *FIGURES)
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
#: How many of the ten classes the source and the target have.
SIZES = {"equal": (3, 3), "partial": (10, 3), "open": (5, 10)}
METHODS = {
    "equal": ("source_only", "dann"),
    "partial": ("source_only", "dann", "pada", "dance"),
    "open": ("source_threshold", "osbp", "dance"),
}


def words_of(problem: str, label_sets: str, seed: int) -> list[str]:
    """Overrides of a task."""
    sides = zip(("source", "target"), SIZES[label_sets], strict=True)
    classes = [f"data.{side}_classes={CLASSES[problem][:size]}" for side, size in sides]
    drawn = [f"data.data_seed={seed}"] if problem == "clusters" else []
    return [*PROBLEMS[problem], *classes, *drawn, f"data.label_sets={label_sets}", f"seed={seed}"]


def figures(problem: str, label_sets: str, method: str, seed: int, epochs: int) -> dict[str, float | str]:
    """Metrics on the target's test rows after the last epoch; empty where a metric has no value."""
    with tempfile.TemporaryDirectory() as folder:
        words = [f"method.name={method}", f"trainer.max_epochs={epochs}", f"output={folder}"]
        found = run(compose(BASE, [*words_of(problem, label_sets, seed), *words])).metrics["last"]
    return {name: found.get(f"target_test/{name}", "") for name in FIGURES}


def table(lines: list[dict[str, str]]) -> str:
    """Mean and standard deviation over seeds, in percent."""
    rows = [
        "| problem | label sets | method | seeds | accuracy | known | unknown | H-score |",
        "|---|---|---|---:|---:|---:|---:|---:|",
    ]
    keys = FIELDS[:3]
    for cell in dict.fromkeys(tuple(line[key] for key in keys) for line in lines):
        own = [line for line in lines if tuple(line[key] for key in keys) == cell]
        problem, label_sets, method = cell
        shown = [_shown([100 * float(line[name]) for line in own if line[name]]) for name in FIGURES]
        rows.append(f"| {problem} | {label_sets} | `{method}` | {len(own)} | {' | '.join(shown)} |")
    return "\n".join(rows) + "\n"


def _shown(values: list[float]) -> str:
    if not values:
        return ""
    return f"{mean(values):.1f} ± {stdev(values):.1f}" if len(values) > 1 else f"{values[0]:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "page"))
    parser.add_argument("--problems", nargs="+", default=[*PROBLEMS])
    parser.add_argument("--label-sets", nargs="+", default=[*METHODS])
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
        for label_sets in arguments.label_sets:
            for method in METHODS[label_sets]:
                for seed in arguments.seeds:
                    cell = (problem, label_sets, method, str(seed))
                    if cell not in done:
                        found = figures(problem, label_sets, method, seed, arguments.epochs)
                        append_lines(arguments.csv, FIELDS, [dict(zip(FIELDS, cell)) | found])
                        print(*cell, found, flush=True)


if __name__ == "__main__":
    sys.exit(main())
