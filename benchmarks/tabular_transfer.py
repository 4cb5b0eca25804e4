"""The answer against a plain script, on 26 tasks of tables and texts, with 20 to all target labels.

    python benchmarks/tabular_transfer.py run [--tasks NAME ...] [--labels 50 ...] [--seeds 0 1 ...] [--limit MINUTES]
    python benchmarks/tabular_transfer.py page
    python benchmarks/tabular_transfer.py rows --rows-to FOLDER ...  # the cells, for other tools to learn from

Per task, number of labels and seed: the portfolio with the gate (the answer), the same without the old data (new data
only), and `benchmarks/peers/eight_models.py` (the script), each on the same rows: at most 2,000 old ones, labels drawn
at random, at most 4,000 test rows. The measure is AUROC, of numbers R². A cell is one line of the CSV file, written as
soon as it is there; what stands there is not computed again. `page` writes the Markdown file beside it.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from pathlib import Path

import numpy as np
import torch
from peers.eight_models import best_three, best_three_numbers
from sklearn.metrics import r2_score, roc_auc_score
from transfer_page import page
from transfer_tasks import TASKS, Matrices, Task, as_rows, matrices, shots

from tl_research.alignment.base import Rows
from tl_research.portfolio.draws import drawn
from tl_research.portfolio.head import PortfolioConfig
from tl_research.portfolio.study import learn_source, study

ROOT = Path(__file__).resolve().parent
ALL = "all"
LABELS = ("50", "200", "20", "1000", ALL)
FIELDS = (
    "task", "kind", "labels", "seed", "old_rows", "labelled", "test_rows", "metric", "answer", "new_only", "script",
    "old_data_used", "gain", "answer_log_loss", "new_only_log_loss", "answer_seconds", "script_seconds",
)  # fmt: skip


def measured(kind: str, label: np.ndarray, said: np.ndarray) -> float:
    return float((roc_auc_score if kind == "class" else r2_score)(label, said))


def _said(log_probabilities: torch.Tensor) -> np.ndarray:
    """Return the log odds of the second class, or the numbers."""
    z = log_probabilities.double().numpy()
    return z[:, 1] - z[:, 0] if z.shape[1] == 2 else z[:, 0]


def cell(task: Task, rows: Matrices, labels: str, seed: int, config: PortfolioConfig) -> dict | None:
    """Return one line of the table; None where the task has no more labels than that."""
    given = shown_rows(task, rows, labels, seed)
    if given is None:
        return None
    u, v = given
    classes = 2 if task.kind == "class" else 1
    source = drawn(Rows(*as_rows(rows.x, rows.y, task.kind)), config.source_rows, seed)
    begun = time.perf_counter()
    learners = learn_source(config, task.kind, source, classes=classes, seed=seed)
    shown = Rows(*as_rows(u, v, task.kind))
    found = study(config, task.kind, source, shown, learners, classes=classes, seed=seed)
    test, label = as_rows(rows.w, rows.z, task.kind)
    answers = {old_data: found.combined(old_data, test) for old_data in ("gate", "never")}
    line = {
        "task": task.name, "kind": task.kind, "labels": labels, "seed": seed, "old_rows": len(source.x),
        "labelled": len(v), "test_rows": len(label), "metric": "auroc" if task.kind == "class" else "r2",
        "old_data_used": int(found.uses_old_data("gate")), "gain": found.facts["gain"],
        "answer_seconds": time.perf_counter() - begun,
    }  # fmt: skip
    for name, old_data in (("answer", "gate"), ("new_only", "never")):
        line[name] = measured(task.kind, rows.z, _said(answers[old_data]))
        if task.kind == "class":
            line[f"{name}_log_loss"] = float(torch.nn.functional.nll_loss(answers[old_data].double(), label))
    begun = time.perf_counter()
    peer = best_three if task.kind == "class" else best_three_numbers
    said, _ = peer(source.x.numpy(), source.label.numpy(), u, v, rows.w, seed=seed)
    return line | {"script": measured(task.kind, rows.z, said), "script_seconds": time.perf_counter() - begun}


def shown_rows(task: Task, rows: Matrices, labels: str, seed: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the labelled new rows of a cell; None where the task has no more labels than that."""
    if labels == ALL:
        return rows.u, rows.v
    places = shots(rows.v, int(labels), seed, classes=task.kind == "class")
    return None if places is None else (rows.u[places], rows.v[places])


def write_rows(arguments: argparse.Namespace) -> None:
    """Write the rows of each cell, the same that `run` learns from, as an npz file of its own."""
    folder = Path(arguments.rows_to)
    folder.mkdir(parents=True, exist_ok=True)
    tasks = [task for task in TASKS if arguments.tasks is None or task.name in arguments.tasks]
    for seed in arguments.seeds:
        for number, task in enumerate(tasks):
            rows = matrices(task, seed, arguments.root, test_rows=arguments.test_rows)
            source = drawn(Rows(*as_rows(rows.x, rows.y, task.kind)), arguments.old_rows, seed)
            for labels in arguments.labels:
                if (shown := shown_rows(task, rows, labels, seed)) is not None:
                    arrays = {"x": source.x.numpy(), "y": source.label.numpy(), "u": shown[0], "v": shown[1]}
                    said = {"w": rows.w, "z": rows.z, "task": task.name, "labels": labels, "seed": seed}
                    np.savez(folder / f"{seed}_{number:02d}_{labels}.npz", **arrays, **said)
                    print(task.name, labels, seed, flush=True)


def known(path: Path) -> list[dict]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def append(path: Path, line: dict) -> None:
    new = not path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        if new:
            writer.writeheader()
        short = {name: f"{value:.6g}" if isinstance(value, float) else value for name, value in line.items()}
        writer.writerow(short)
        file.flush()
        os.fsync(file.fileno())


def run(arguments: argparse.Namespace) -> None:
    path = Path(arguments.out)
    done = {(line["task"], line["labels"], int(line["seed"])) for line in known(path)}
    config = PortfolioConfig(trees=arguments.trees, repeats=arguments.repeats, source_rows=arguments.old_rows)
    begun = time.monotonic()
    tasks = [task for task in TASKS if arguments.tasks is None or task.name in arguments.tasks]
    for seed in arguments.seeds:
        for task in tasks:
            missing = [labels for labels in arguments.labels if (task.name, labels, seed) not in done]
            if not missing:
                continue
            rows = matrices(task, seed, arguments.root, test_rows=arguments.test_rows)
            for labels in missing:
                if arguments.limit is not None and time.monotonic() - begun > 60 * arguments.limit:
                    return
                if (line := cell(task, rows, labels, seed, config)) is not None:
                    append(path, line)
                    shown = {name: line[name] for name in ("task", "labels", "seed", "answer", "new_only", "script")}
                    print(shown, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("run", "page", "rows"))
    parser.add_argument("--tasks", nargs="*", default=None)
    parser.add_argument("--labels", nargs="*", default=list(LABELS), choices=LABELS)
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--limit", type=float, default=None, help="minutes after which no cell is begun")
    parser.add_argument("--trees", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=1, help="draws of the folds")
    parser.add_argument("--test-rows", type=int, default=4_000)
    parser.add_argument("--old-rows", type=int, default=2_000)
    parser.add_argument("--root", default=os.environ.get("TL_RESEARCH_MIRROR"))
    parser.add_argument("--out", default=str(ROOT / "results" / "tabular_transfer.csv"))
    parser.add_argument("--rows-to", help="folder of the cells that `rows` writes")
    arguments = parser.parse_args()
    if arguments.what != "page":
        if arguments.root is None:
            parser.error("--root: the folder of the data sets (or TL_RESEARCH_MIRROR)")
        if arguments.what == "rows" and arguments.rows_to is None:
            parser.error("--rows-to: the folder of the cells")
        (run if arguments.what == "run" else write_rows)(arguments)
    else:
        text = page(known(Path(arguments.out)))
        Path(arguments.out).with_suffix(".md").write_text(text, encoding="utf-8")
        print(text)


if __name__ == "__main__":
    main()
