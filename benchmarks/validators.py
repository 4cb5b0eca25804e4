"""How well selection rules that see no target label order the epochs of several methods.

    python benchmarks/validators.py run                # into benchmarks/results/validators.csv; continued if stopped
    python benchmarks/validators.py page               # writes the tables into docs/validators.md

Per problem, task and seed every method is trained once and saves what rules read. Each rule is then scored offline: the
rank correlation of its scores with the target's test metric over the epochs of all methods, and the metric of the epoch
that it chooses, of all and within each method. `rare` is the simulated market with 1 % of buyers kept, by AUROC.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import astuple
from itertools import permutations
from pathlib import Path
from statistics import mean

import numpy as np
from cells import ROOT, append_lines, read_lines, write_between

from tl_research.config import compose
from tl_research.data.catalog.simulated_market import SimulatedMarketConfig, load
from tl_research.report.validators import qualities
from tl_research.runs.experiment import run
from tl_research.training.trainer import quiet_lightning

OUT = ROOT / "benchmarks" / "results" / "validators.csv"
PAGE = ROOT / "docs" / "validators.md"
FIELDS = ("problem", "task", "seed", "method", "metric", "rule", "correlation", "chosen", "best", "epochs")
METHODS = ("source_only", "dan", "deep_coral", "dann", "mcc", "bnm", "pseudo_label", "mean_teacher")
#: Of all methods' epochs together.
ALL = "all"
MARKET = {"encoder": "mlp", "encoder.hidden": "[32]", "optimizer.lr": 3e-3}
#: Words and metric of each problem.
PROBLEMS: dict[str, tuple[dict[str, object], str]] = {
    "two_moons": ({"optimizer.lr": 0.01, "encoder": "mlp", "encoder.hidden": "[32,32]"}, "accuracy"),
    "simulated_market": ({**MARKET, "data.measurement_shift": 0.6}, "accuracy"),
    "rare": (MARKET, "auroc"),
    "office10_googlenet": ({"encoder": "mlp", "encoder.hidden": "[256]", "data.scale": "unit"}, "accuracy"),
    "amazon_reviews": ({"encoder": "mlp", "encoder.hidden": "[100]", "data.scale": "none"}, "accuracy"),
}
DOMAINS = {
    "two_moons": ("upright", "rotated"),
    "simulated_market": ("old_market", "new_market"),
    "rare": ("old_market", "new_market"),
    "office10_googlenet": ("amazon", "dslr", "webcam"),
    "amazon_reviews": ("books", "dvd", "electronics", "kitchen"),
}
#: Rows per market of `rare`, and how many of them buy.
ROWS, BUYERS = 4000, 40


def tasks(problem: str) -> list[tuple[str, str]]:
    """Source and target; where there are more than two domains, all ordered pairs."""
    domains = DOMAINS[problem]
    return [domains] if len(domains) == 2 else [*permutations(domains, 2)]


def rare_files(folder: Path, seed: int) -> tuple[str, str]:
    """Write the two markets with 1 % of buyers."""
    config = SimulatedMarketConfig(measurement_shift=0.6, n_source=4 * ROWS, n_target=4 * ROWS, data_seed=seed)
    names = DOMAINS["rare"]
    for name, domain in load(config, [*names]).items():
        x, y = np.asarray(domain.inputs), np.asarray(domain.label)
        rows = np.concatenate([np.flatnonzero(y == 1)[:BUYERS], np.flatnonzero(y == 0)[: ROWS - BUYERS]])
        np.savez(folder / f"{name}.npz", x=x[rows], y=y[rows])
    return f"{folder}/{names[0]}.npz", f"{folder}/{names[1]}.npz"


def words_of(problem: str, task: tuple[str, str], seed: int, epochs: int, folder: Path) -> list[str]:
    """Return the overrides of a run of the problem."""
    source, target = rare_files(folder, seed) if problem == "rare" else task
    words = {
        "data.name": "files" if problem == "rare" else problem,
        "data.sources": f"[{source}]",
        "data.target": target,
        "trainer.max_epochs": epochs,
        "trainer.accelerator": "cpu",
        "seed": seed,
        "selection.save_outputs": "true",
        "wandb.mode": "disabled",
        "output": f"{folder}/runs",
        **PROBLEMS[problem][0],
    }
    if problem in ("two_moons", "simulated_market"):
        words["data.data_seed"] = seed
    return [f"{key}={value}" for key, value in words.items()]


def measured(problem: str, task: tuple[str, str], seed: int, epochs: int, methods: Sequence[str]) -> list[dict]:
    """Train every method, score all rules, and return the lines of the table."""
    metric = PROBLEMS[problem][1]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        words = words_of(problem, task, seed, epochs, folder)
        runs = {method: run(compose(None, [*words, f"method.name={method}"])) for method in methods}
        folders = {method: folder / "runs" / record.run_id for method, record in runs.items()}
        found = {method: qualities([path], metric) for method, path in folders.items()}
        found[ALL] = qualities([*folders.values()], metric)
        return [
            dict(zip(FIELDS, (problem, "->".join(task), seed, method, metric, *line)))
            for method, lines in found.items()
            for line in map(astuple, lines)
        ]


def table(lines: list[dict[str, str]]) -> str:
    """Per problem: rank correlation over all methods' epochs, what is chosen of them, and within each method."""
    text = []
    for problem in dict.fromkeys(line["problem"] for line in lines):
        of_problem = [line for line in lines if line["problem"] == problem]
        draws = len({(line["task"], line["seed"]) for line in of_problem})
        best = {kind: mean(100 * float(line["best"]) for line in part) for kind, part in _parts(of_problem).items()}
        text += [
            f"**{problem}**: {draws} draws of task and seed; {of_problem[0]['metric']} of the best epoch of any method "
            f"{best[ALL]:.1f}, within a method {best['within']:.1f}.\n",
            "| rule | rank correlation | worst draw | chosen of all | chosen within a method |",
            "|---|---:|---:|---:|---:|",
        ]
        rows = {}
        for rule in dict.fromkeys(line["rule"] for line in of_problem):
            parts = _parts([line for line in of_problem if line["rule"] == rule])
            ranks = [float(line["correlation"]) for line in parts[ALL] if line["correlation"]]
            chosen = [mean(100 * float(line["chosen"]) for line in parts[kind]) for kind in (ALL, "within")]
            rows[rule] = (mean(ranks), min(ranks), *chosen) if ranks else (float("-inf"), float("-inf"), *chosen)
        for rule, (rank, worst, *chosen) in sorted(rows.items(), key=lambda row: -row[1][0]):
            shown = [f"{rank:.2f}", f"{worst:.2f}"] if rank > float("-inf") else ["", ""]
            text.append(f"| `{rule}` | {' | '.join([*shown, *(f'{value:.1f}' for value in chosen)])} |")
        text.append("")
    return "\n".join(text)


def _parts(lines: list[dict[str, str]]) -> dict[str, list[dict[str, str]]]:
    return {
        ALL: [line for line in lines if line["method"] == ALL],
        "within": [line for line in lines if line["method"] != ALL],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "page"))
    parser.add_argument("--problems", nargs="+", default=[*PROBLEMS], choices=[*PROBLEMS])
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--seeds", type=int, nargs="+", default=range(5))
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--csv", type=Path, default=OUT)
    parser.add_argument("--page", type=Path, default=PAGE)
    arguments = parser.parse_args()
    lines = read_lines(arguments.csv)
    if arguments.what == "page":
        write_between(arguments.page, table(lines))
        return
    quiet_lightning()
    done = {(line["problem"], line["task"], int(line["seed"])) for line in lines}
    for seed in arguments.seeds:
        for problem in arguments.problems:
            for task in tasks(problem):
                if (problem, "->".join(task), seed) not in done:
                    found = measured(problem, task, seed, arguments.epochs, arguments.methods)
                    append_lines(arguments.csv, FIELDS, found)
                    print(problem, "->".join(task), seed, flush=True)


if __name__ == "__main__":
    sys.exit(main())
