"""AutoGluon on the cells of `tabular_transfer.py`, in an environment of its own (its pandas is older than ours).

    python benchmarks/tabular_transfer.py rows --labels 50 --seeds 1 --rows-to CELLS
    python -m venv peer && peer/bin/pip install "autogluon.tabular[lightgbm,catboost,xgboost]"
    peer/bin/python benchmarks/peers/autogluon_models.py CELLS [--seconds 30] [--out benchmarks/results/autogluon.csv]

Each file of CELLS has the arrays x, y (old rows), u, v (labelled new rows), w, z (test rows). AutoGluon is fitted twice
with its preset for medium quality: to the labelled new rows, and to both domains with a column that says which. The
measure is AUROC, of numbers R². A cell that stands in the CSV file is not computed again.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import r2_score, roc_auc_score

FIELDS = ("task", "labels", "seed", "metric", "target", "pooled", "target_seconds", "pooled_seconds")
LABEL, DOMAIN = "label", "domain"


def frame(inputs: np.ndarray, domain: int | None) -> pd.DataFrame:
    columns = pd.DataFrame(inputs, columns=[f"x{number}" for number in range(inputs.shape[1])])
    return columns if domain is None else columns.assign(**{DOMAIN: domain})


def score(train: pd.DataFrame, label: np.ndarray, test: pd.DataFrame, truth: np.ndarray, seconds: float) -> float:
    """Fit AutoGluon and return its score on the test rows."""
    from autogluon.tabular import TabularPredictor

    is_number = label.dtype.kind == "f"
    kind, metric = ("regression", "r2") if is_number else ("binary", "roc_auc")
    with tempfile.TemporaryDirectory() as folder:
        predictor = TabularPredictor(LABEL, problem_type=kind, eval_metric=metric, path=folder, verbosity=0)
        predictor.fit(train.assign(**{LABEL: label}), time_limit=seconds, presets="medium_quality")
        if is_number:
            return float(r2_score(truth, predictor.predict(test)))
        return float(roc_auc_score(truth, predictor.predict_proba(test)[predictor.positive_class]))


def cell(path: Path, seconds: float) -> dict:
    """Return one line of the table."""
    rows = np.load(path)
    task, labels, seed = (str(rows[name]) for name in ("task", "labels", "seed"))
    begun = time.perf_counter()
    target = score(frame(rows["u"], None), rows["v"], frame(rows["w"], None), rows["z"], seconds)
    middle = time.perf_counter()
    both = pd.concat([frame(rows["x"], 0), frame(rows["u"], 1)], ignore_index=True)
    pooled = score(both, np.concatenate([rows["y"], rows["v"]]), frame(rows["w"], 1), rows["z"], seconds)
    metric = "r2" if rows["v"].dtype.kind == "f" else "auroc"
    spent = middle - begun, time.perf_counter() - middle
    return dict(zip(FIELDS, (task, labels, seed, metric, target, pooled, *spent), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cells", type=Path)
    parser.add_argument("--seconds", type=float, default=30.0, help="limit of each of the two fits")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "results" / "autogluon.csv")
    arguments = parser.parse_args()
    done = set()
    if arguments.out.exists():
        with arguments.out.open(newline="") as file:
            done = {(line["task"], line["labels"], line["seed"]) for line in csv.DictReader(file)}
    for path in sorted(arguments.cells.glob("*.npz")):
        with np.load(path) as rows:
            key = tuple(str(rows[name]) for name in ("task", "labels", "seed"))
        if key in done:
            continue
        line = cell(path, arguments.seconds)
        is_new = not arguments.out.exists()
        with arguments.out.open("a", newline="") as file:
            writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
            if is_new:
                writer.writeheader()
            writer.writerow(
                {name: f"{value:.6g}" if isinstance(value, float) else value for name, value in line.items()}
            )
        print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
