"""Methods of several sources: accuracy on the target, and the weight of each source, beside the concatenation.

    python benchmarks/several_sources.py run     # into benchmarks/results/several_sources.csv; continued if stopped
    python benchmarks/several_sources.py page    # writes the tables into docs/several_sources.md

All methods have their defaults. No option was chosen by these figures.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import median

from cells import ROOT, append_lines, read_lines, write_between

from tl_research.config import compose
from tl_research.runs.experiment import run

OUT = ROOT / "benchmarks" / "results" / "several_sources.csv"
PAGE = ROOT / "docs" / "several_sources.md"
FIELDS = ("problem", "method", "options", "seed", "accuracy", "weights")
SEEDS = (0, 1, 2)
#: What is compared: the name of a row, and its overrides.
ROWS = {
    "source_only": ("method.name=source_only",),
    "source_only, the best source alone": ("method.name=source_only", "data.sources=[{best}]"),
    "dann": ("method.name=dann",),
    "dan": ("method.name=dan",),
    "m3sda": ("method.name=m3sda",),
    "mfsan": ("method.name=mfsan",),
    "mdan": ("method.name=mdan",),
    "mdan, hard": ("method.name=mdan", "method.hard=true"),
    "dctn": ("method.name=dctn",),
}
TRAINING = {
    "encoder": {"name": "mlp", "hidden": [32]},
    "optimizer": {"lr": 3e-3},
    "trainer": {"accelerator": "cpu", "checkpoint_every_seconds": None, "threads": 1},
    "selection": {"rule": "last", "every": 1000},
    "wandb": {"mode": "disabled"},
}
#: problem -> its data, and the source that is closest to the target.
PROBLEMS = {
    "planted_sources": ({"name": "planted_sources", "n_target": 2000, "batch_size": 66}, "close_market"),
    "simulated_market": (
        {
            "name": "simulated_market", "sources": ["old_market", "third_market"], "measurement_shift": 0.6,
            "n_source": 1500, "n_target": 1500, "batch_size": 64,
        },
        "third_market",
    ),
}  # fmt: skip


def figures(problem: str, row: str, seed: int, epochs: int) -> tuple[float, str]:
    """Accuracy on the target's test rows after the last epoch, and the weights of the sources as text."""
    data, best = PROBLEMS[problem]
    words = [word.format(best=best) for word in ROWS[row]]
    with tempfile.TemporaryDirectory() as folder:
        words += [f"seed={seed}", f"data.data_seed={seed}", f"trainer.max_epochs={epochs}", f"output={folder}"]
        record = run(compose(TRAINING | {"data": data}, words))
    weights = record.data.get("method", {}).get("source_weights", {})
    text = " ".join(f"{name}={weight:.3f}" for name, weight in weights.items())
    return record.metrics["last"]["target_test/accuracy"], text


def table(lines: list[dict[str, str]], problem: str) -> str:
    """Median accuracy and gain over `source_only` in points, of every row that has all of its seeds."""
    found = {(line["method"], int(line["seed"])): line for line in lines if line["problem"] == problem}
    shown = [f"`{problem}`", "", "| | accuracy | gain, median | gain, worst seed | mean weight of each source |"]
    shown.append("|---|---:|---:|---:|---|")
    for row in ROWS:
        if any((name, seed) not in found for name in (row, "source_only") for seed in SEEDS):
            continue
        own = [100 * float(found[row, seed]["accuracy"]) for seed in SEEDS]
        gains = [a - 100 * float(found["source_only", seed]["accuracy"]) for a, seed in zip(own, SEEDS)]
        gain = ("", "") if row == "source_only" else (f"{median(gains):+.1f}", f"{min(gains):+.1f}")
        weights = _mean_weights([found[row, seed]["weights"] for seed in SEEDS])
        shown.append(f"| `{row}` | {median(own):.1f} | {gain[0]} | {gain[1]} | {weights} |")
    return "\n".join(shown) + "\n"


def _mean_weights(texts: list[str]) -> str:
    seeds = [dict(word.split("=") for word in text.split()) for text in texts]
    means = {name: sum(float(seed[name]) for seed in seeds) / len(seeds) for name in seeds[0]}
    return ", ".join(f"{name} {mean:.2f}" for name, mean in means.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "page"))
    parser.add_argument("--problems", nargs="+", default=[*PROBLEMS], choices=[*PROBLEMS])
    parser.add_argument("--rows", nargs="+", default=[*ROWS], choices=[*ROWS])
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--csv", type=Path, default=OUT)
    parser.add_argument("--page", type=Path, default=PAGE)
    arguments = parser.parse_args()
    lines = read_lines(arguments.csv)
    if arguments.what == "page":
        measured = [problem for problem in PROBLEMS if any(line["problem"] == problem for line in lines)]
        write_between(arguments.page, "\n".join(table(lines, problem) for problem in measured))
        return
    done = {(line["problem"], line["method"], int(line["seed"])) for line in lines}
    for problem in arguments.problems:
        for seed in arguments.seeds:
            for row in arguments.rows:
                if (problem, row, seed) not in done:
                    accuracy, weights = figures(problem, row, seed, arguments.epochs)
                    found = (problem, row, f"epochs={arguments.epochs}", seed, accuracy, weights)
                    append_lines(arguments.csv, FIELDS, [dict(zip(FIELDS, found))])
                    print(problem, row, seed, f"{accuracy:.3f}", weights, flush=True)


if __name__ == "__main__":
    sys.exit(main())
