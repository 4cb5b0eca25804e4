"""How good the portfolio's probabilities are, before and after its final calibration.

    python benchmarks/calibration.py fit CACHE [--tasks NAME ...] [--seeds 0 1 ...] [--labels 100 400 all]
    python benchmarks/calibration.py figures CACHE [--out CSV] [--seeds 1 2 ...]
    python benchmarks/calibration.py coverage [--draws 100]

`fit` trains the portfolio on labels drawn at random, as shops label, and keeps what it says of cross-fitted and of test
rows; with `--balanced` both classes have the same number of labels. A cell that the folder holds is not fitted again.
`figures` applies every final calibrator to what is kept. `coverage` simulates how often the interval of the calibration
error that an answer gives covers the truth. "all" labels are at most 2,000, and test rows at most 10,000,
drawn at random, so that two cores are enough. The files of bank_churn and online_shoppers are read from the folder of
`TL_RESEARCH_MIRROR`.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from omegaconf import OmegaConf
from scipy.special import expit

from tl_research.alignment.base import Rows
from tl_research.answer.calibration import calibration_of
from tl_research.config import compose
from tl_research.data.matrix import as_matrix
from tl_research.data.paired import PairedDataModule
from tl_research.metrics.classes import ECE_BINS, ClassRows
from tl_research.metrics.probabilities import adaptive_ece, brier
from tl_research.metrics.registered import values_of
from tl_research.portfolio.final import CALIBRATORS, NONE, applied, choose_calibrator
from tl_research.portfolio.head import PortfolioConfig
from tl_research.portfolio.mixtures import LEAST
from tl_research.portfolio.prior import corrected, em_shares, log_shift
from tl_research.portfolio.study import SAID, learn_source, study

#: Label, separator, column of the domain, domains, columns that number the rows.
FILES = {
    "bank_churn": ("Exited", ",", "Geography", ["RowNumber"]),
    "online_shoppers": ("Revenue", ";", "VisitorType", []),
}
#: Data set, source, target, share of the target's labelled rows that tests.
TASKS = {
    "hotel city->resort": ("hotel_bookings", "city", "resort", 0.25),
    "hotel y2015->y2017": ("hotel_bookings", "y2015", "y2017", 0.25),
    "bank first_half->second_half": ("bank_marketing", "first_half", "second_half", 0.25),
    "bank telephone->cellular": ("bank_marketing", "telephone", "cellular", 0.25),
    "churn France->Germany": ("bank_churn", "France", "Germany", 0.5),
    "shoppers returning->new": ("online_shoppers", "Returning_Visitor", "New_Visitor", 0.5),
}
MOST_LABELS, MOST_TEST_ROWS = 2000, 10_000


def rows_of(task: str, seed: int, folder: Path) -> tuple[Rows, Rows, Rows]:
    """Return source rows, labelled target rows and test rows as matrices."""
    name, source, target, tested = TASKS[task]
    data = {"name": name, "sources": [source], "target": target, "setting": "supervised", "test_fraction": tested}
    if name in FILES:
        label, separator, column, drop = FILES[name]
        table = next((Path(os.environ["TL_RESEARCH_MIRROR"]) / name).glob("*.csv.gz"))
        for domain, rows in pd.read_csv(table, sep=separator, dtype=str).groupby(column):
            path = folder / f"{name}_{domain}.csv"
            if not path.exists():
                rows.rename(columns=str.strip).drop(columns=[column, *drop]).to_csv(path, index=False)
        paths = [str(folder / f"{name}_{domain}.csv") for domain in (source, target)]
        data |= {"name": "files", "sources": paths[:1], "target": paths[1], "label": label}
    config = compose({"data": data, "method": "portfolio", "encoder": "identity", "seed": seed})
    module = PairedDataModule(OmegaConf.to_object(config.data), seed=seed)
    module.setup()
    test = module.release_evaluation()["target_test"]
    found = []
    for rows in (module.sides["source"], module.sides["target_labeled"], test):
        found.append(Rows(as_matrix(rows.inputs, module.spec).float(), rows.label))
    return tuple(found)


def drawn(rows: Rows, count: int, seed: int, *, balanced: bool = False) -> Rows:
    """Draw `count` rows; again until every class has two, or the same number of every class."""
    label = rows.label.numpy()
    kinds = np.unique(label)
    for attempt in range(1000):
        order = np.random.default_rng([seed, attempt]).permutation(len(label))
        place = order[:count]
        if balanced:
            place = np.concatenate([order[label[order] == kind][: count // len(kinds)] for kind in kinds])
        if min(np.bincount(label[place], minlength=len(kinds))) >= 2:
            place = torch.from_numpy(np.sort(place))
            return Rows(rows.x[place], rows.label[place])
    raise SystemExit(f"{count} labels: no draw has two of every class")


def fit(arguments) -> None:
    folder = Path(arguments.cache)
    folder.mkdir(parents=True, exist_ok=True)
    drawing = "_balanced" if arguments.balanced else ""
    config = PortfolioConfig(
        trees=arguments.trees, source_rows=arguments.source_rows, repeats=arguments.repeats, calibration="never"
    )
    for seed in arguments.seeds:
        for task in arguments.tasks:
            cells = {wanted: folder / f"{task}_{wanted}_{seed}{drawing}.npz" for wanted in arguments.labels}
            cells = {wanted: path for wanted, path in cells.items() if not path.exists()}
            if not cells:
                continue
            source, pool, test = rows_of(task, seed, folder)
            test = drawn(test, min(len(test.x), MOST_TEST_ROWS), seed)
            learners = learn_source(config, "class", source, classes=2, seed=seed)
            for wanted, path in cells.items():
                begun = time.monotonic()
                count = min(len(pool.x), MOST_LABELS) if wanted == "all" else int(wanted)
                shown = drawn(pool, count, seed, balanced=arguments.balanced)
                found = study(config, "class", source, shown, learners, classes=2, seed=seed)
                np.savez(
                    path,
                    unseen=found.unseen[SAID[found.uses_old_data("gate")]],
                    label=found.unseen_label,
                    said=found.combined("gate", test.x).detach().double().numpy(),
                    test=test.label.numpy(),
                    share=float(pool.label.double().mean()),
                )
                print(f"{task}, {wanted} labels, seed {seed}: {time.monotonic() - begun:.0f} s", flush=True)


def figures(arguments) -> None:
    found = []
    for path in sorted(Path(arguments.cache).glob("*.npz")):
        task, labels, seed, *drawing = _parts_of(path.stem)
        if int(seed) not in arguments.seeds:
            continue
        cell = np.load(path)
        for name, logp in _calibrated(cell):
            rows = ClassRows.of(torch.from_numpy(logp), torch.from_numpy(cell["test"]))
            values = values_of("class", rows)
            found.append(
                {
                    "task": task, "labels": labels, "drawn": drawing[0] if drawing else "random", "seed": int(seed),
                    "calibrator": name, "test_rows": len(rows.label), "happened": rows.label.mean(),
                    "predicted": rows.probability[:, 1].mean(), "ece": values["ece"],
                    "adaptive_ece": adaptive_ece(rows), "brier": brier(rows), "log_loss": values["log_loss"],
                    "auroc": values["auroc"],
                }
            )  # fmt: skip
    table = pd.DataFrame(found)
    if arguments.out:
        table.to_csv(arguments.out, index=False, float_format="%.5f", lineterminator="\n")
    shown = ["ece", "adaptive_ece", "brier", "log_loss", "auroc", "predicted", "happened"]
    for keys in (["drawn", "labels", "calibrator"], ["drawn", "task", "calibrator"], ["drawn", "calibrator"]):
        print(table.groupby(keys)[shown].mean().round(4).to_string(), "\n")
    print(table.groupby(["drawn", "labels", "calibrator"]).size().to_string())


def _parts_of(stem: str) -> list[str]:
    """Return task, labels, seed and, where they are balanced, that, from the name of a cell's file."""
    task = next(task for task in TASKS if stem.startswith(task))
    return [task, *stem[len(task) + 1 :].split("_")]


def _calibrated(cell) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the name of a calibrator, and the log probabilities (n, 2) of the test rows after it."""
    unseen, label, said = cell["unseen"], cell["label"], cell["said"]
    yield NONE, said
    choice = choose_calibrator("class", unseen, label, seed=0)
    chosen = said
    for each in CALIBRATORS["class"]:
        if each.suits(label, 2):
            moved = applied(each, np.maximum(said, np.log(LEAST)), each.fit(np.maximum(unseen, np.log(LEAST)), label))
            yield each.name, moved
            chosen = moved if each.name == choice.name else chosen
    yield "chosen", chosen
    shown, share = np.bincount(label, minlength=2) / len(label), float(cell["share"])
    known = np.array([1 - share, share])
    yield "chosen, share known", corrected(chosen, log_shift(shown, known))
    yield "chosen, share by EM", corrected(chosen, log_shift(shown, em_shares(chosen, shown).share))


def coverage(arguments) -> None:
    """Log odds z ~ N(-1.5, 1.5²) are predicted, and slope · z + bias are true."""
    many = np.random.default_rng(0).normal(-1.5, 1.5, 1_000_000)
    for slope, bias in ((1.0, 0.0), (1.0, 0.15), (0.7, 0.0), (1.0, 1.0), (0.4, -0.5)):
        p, q = expit(many), expit(slope * many + bias)
        place = np.searchsorted(np.arange(1, ECE_BINS) / ECE_BINS, p, side="left")
        truth = np.abs(np.bincount(place, weights=q - p)).sum() / len(many)
        for rows in (100, 400, 2000):
            found = []
            for draw in range(arguments.draws):
                random = np.random.default_rng([draw, rows])
                z = random.normal(-1.5, 1.5, rows)
                label = (random.random(rows) < expit(slope * z + bias)).astype(np.int64)
                logits = torch.from_numpy(np.column_stack([np.zeros(rows), z]))
                found.append(calibration_of(logits, torch.from_numpy(label), names=("no", "yes"), seed=draw))
            covered = np.mean([each.ece.low - 1e-9 <= truth <= each.ece.high + 1e-9 for each in found])
            print(
                f"slope {slope:g}, bias {bias:g}, {rows} rows: truth {truth:.3f}, measured "
                f"{np.mean([each.ece_measured for each in found]):.3f}, without chance "
                f"{np.median([each.ece.value for each in found]):.3f} (median), covered {100 * covered:.0f} %",
                flush=True,
            )
    print(found[0].line())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("step", choices=("fit", "figures", "coverage"))
    parser.add_argument("cache", nargs="?")
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--tasks", nargs="*", default=list(TASKS))
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--labels", nargs="*", default=["100", "400", "all"])
    parser.add_argument("--trees", type=int, default=300)
    parser.add_argument("--source-rows", type=int, default=20_000)
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--balanced", action="store_true")
    parser.add_argument("--out")
    arguments = parser.parse_args()
    {"fit": fit, "figures": figures, "coverage": coverage}[arguments.step](arguments)


if __name__ == "__main__":
    main()
