"""The portfolio beside eight plain scikit-learn models, on the same splits and the same target labels.

    python benchmarks/portfolio_peers.py [--suite portfolio_tables] [--tasks NAME ...] [--seeds 0 1 ...] [--out CSV]

Of every task and seed of a suite: the rows that the row `portfolio` of the suite trains on go to
`benchmarks/peers/eight_models.py` as the same matrix; at most 20,000 of the old rows, those that the portfolio draws.
The portfolio's own figure is that of the suite's committed table.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
from omegaconf import OmegaConf
from peers.eight_models import best_three
from sklearn.metrics import roc_auc_score

from tl_research.data.matrix import as_matrix
from tl_research.data.paired import PairedDataModule
from tl_research.storage.shipped import SUITES, find
from tl_research.suites.suite import load_suite

ROOT = Path(__file__).resolve().parent
ROW = "portfolio"


def matrices(config) -> tuple[np.ndarray, ...]:
    """Return x, y (source), u, v (labelled target), w, z (test rows and labels) of a run's configuration."""
    data = PairedDataModule(OmegaConf.to_object(config.data), seed=config.seed)
    data.setup()
    test = data.release_evaluation()["target_test"]
    parts = []
    for rows in (data.sides["source"], data.sides["target_labeled"], test):
        parts += [as_matrix(rows.inputs, data.spec).numpy(), rows.label.numpy()]
    most = config.method.source_rows
    if len(parts[0]) > most:
        drawn = np.sort(np.random.default_rng(config.seed).permutation(len(parts[0]))[:most])
        parts[:2] = parts[0][drawn], parts[1][drawn]
    return tuple(parts)


def committed(suite: str) -> dict[tuple[str, int], float]:
    """Return (task, seed) -> the portfolio's AUROC in the suite's table."""
    path = ROOT / "results" / f"{suite}.csv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["label"] == ROW and row["metric"] == "auroc"]
    return {(row["task"], int(row["seed"])): float(row["value"]) for row in rows if row["selected"] == "True"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suite", default="portfolio_tables")
    parser.add_argument("--tasks", nargs="*", default=None)
    parser.add_argument("--seeds", nargs="*", type=int, default=None)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", default=str(ROOT / "results" / "portfolio_peers.csv"))
    arguments = parser.parse_args()
    suite = load_suite(find(arguments.suite, SUITES))
    ours = committed(suite.name)
    lines = []
    for cell in suite.cells():
        wanted = cell.label == ROW and (arguments.tasks is None or cell.task in arguments.tasks)
        if not wanted or (arguments.seeds is not None and cell.seed not in arguments.seeds):
            continue
        config = OmegaConf.merge(cell.config, OmegaConf.from_dotlist(arguments.set))
        *known, test, label = matrices(config)
        rank, best = best_three(*known, test, seed=cell.seed)
        line = {
            "task": cell.task, "seed": cell.seed, "peer_auroc": float(roc_auc_score(label, rank)),
            "portfolio_auroc": ours.get((cell.task, cell.seed), float("nan")), "peer_models": ", ".join(best),
        }  # fmt: skip
        lines.append(line)
        print(line, flush=True)
    with open(arguments.out, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    gains = [100 * (line["portfolio_auroc"] - line["peer_auroc"]) for line in lines]
    for task in dict.fromkeys(line["task"] for line in lines):
        own = [gain for gain, line in zip(gains, lines, strict=True) if line["task"] == task]
        print(f"{task}: portfolio minus peer {np.mean(own):+.2f} points over {len(own)} seeds")
    print(f"mean {np.mean(gains):+.2f}")


if __name__ == "__main__":
    main()
