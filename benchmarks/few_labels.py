"""Networks on few target labels: `target_only` and `target_ensemble` beside ridge on the same rows.

    python benchmarks/few_labels.py [--cases ...] [--seeds 0 1 2 3 4] [--labels 50 ...]

Both markets are alike, so that no shift is to blame: 11 standard normal columns, and a number that is linear in them,
or a product and a sine of three (`curved`), with noise that leaves R² 0.3 or 0.8 to the best model. Ridge has penalty
1, and the rows that train the networks: a fifth of the labels chooses their epoch. A line of the CSV file is one run.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from pathlib import Path

import numpy as np
from omegaconf import OmegaConf
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score

from tl_research.config import compose
from tl_research.data.matrix import as_matrix
from tl_research.data.paired import PairedDataModule
from tl_research.runs.experiment import run

COLUMNS, ROWS = 11, 1500
#: Case -> whether the truth is linear, and the R² of the best model.
CASES = {"linear, noisy": (True, 0.3), "linear": (True, 0.8), "curved": (False, 0.8)}
METHODS = ("target_only", "target_ensemble")
FIELDS = ("case", "labels", "seed", "row", "r2")


def write_market(folder: Path, linear: bool, best: float, seed: int) -> None:
    """Write old.csv and new.csv, drawn from one truth."""
    random = np.random.default_rng([seed, 5])
    direction = random.normal(size=COLUMNS)
    for name in ("old", "new"):
        x = random.normal(size=(ROWS, COLUMNS))
        y = x @ direction if linear else np.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2]
        y = y / y.std() + random.normal(size=ROWS) * np.sqrt(1 / best - 1)
        head = ",".join([*(f"x{column}" for column in range(COLUMNS)), "y"])
        np.savetxt(folder / f"{name}.csv", np.column_stack([x, y]), delimiter=",", header=head, comments="")


def configuration(folder: Path, method: str, labels: int, seed: int, epochs: int):
    data = {
        "name": "files", "sources": [str(folder / "old.csv")], "target": str(folder / "new.csv"), "label": "y",
        "setting": "few_shot", "shots": labels,
    }  # fmt: skip
    return compose(
        {
            "data": data, "method": {"name": method}, "encoder": {"name": "tabular"}, "seed": seed,
            "trainer": {"max_epochs": epochs, "accelerator": "cpu"}, "wandb": {"mode": "disabled"},
            "output": str(folder / "runs"),
        }
    )  # fmt: skip


def of_ridge(config) -> float:
    """Return R² on the test rows of ridge on the rows that train."""
    module = PairedDataModule(OmegaConf.to_object(config.data), seed=config.seed)
    module.setup()
    shown, test = module.sides["target_labeled"], module.release_evaluation()["target_test"]
    x, w = (as_matrix(rows.inputs, module.spec).double().numpy() for rows in (shown, test))
    said = Ridge(1.0).fit(x, shown.label.double().numpy()).predict(w)
    return float(r2_score(module.outcome.scaled(test.label).numpy(), said))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--labels", nargs="*", type=int, default=[50, 200])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--out", default=str(Path(__file__).resolve().parent / "results" / "few_labels.csv"))
    arguments = parser.parse_args()
    with Path(arguments.out).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(FIELDS)
        for labels in arguments.labels:
            for case in arguments.cases:
                found: dict[str, list[float]] = {}
                for seed in arguments.seeds:
                    with tempfile.TemporaryDirectory() as place:
                        folder = Path(place)
                        write_market(folder, *CASES[case], seed)
                        configs = [configuration(folder, name, labels, seed, arguments.epochs) for name in METHODS]
                        rows = {"ridge": of_ridge(configs[0])}
                        for name, config in zip(METHODS, configs, strict=True):
                            rows[name] = run(config).metrics["target_val"]["target_test/r2"]
                    for row, value in rows.items():
                        writer.writerow((case, labels, seed, row, f"{value:.4f}"))
                        found.setdefault(row, []).append(value)
                    file.flush()
                print(case, labels, {row: f"{np.mean(each):.3f}" for row, each in found.items()}, flush=True)


if __name__ == "__main__":
    main()
