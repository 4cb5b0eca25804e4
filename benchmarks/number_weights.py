"""How the portfolio weighs its parts of numbers: the rule in force, and rules that were tried beside it.

    python benchmarks/number_weights.py [--families linear tree unrelated used] [--seeds 10 11 ...] [--labels 20 50 200]

Families: simulated markets with a linear truth that has changed a little, with a truth of thresholds, with an old
market that has nothing to do with the new one; and the three tasks of used cars, of whose split seed 0 alone is read.
Per cell the parts are cross-fitted once, and every rule weighs them. A line of the CSV file is one cell and rule: R² of
the gated answer and of new data only, in points. The end of the output is each rule minus `all parts`, in the mean.
"""

from __future__ import annotations

import argparse
import csv
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sklearn.metrics import r2_score
from transfer_tasks import TASKS, as_rows, matrices, shots

from tl_research.alignment.base import Rows
from tl_research.portfolio import combine, mixtures, study
from tl_research.portfolio.head import PortfolioConfig
from tl_research.portfolio.mixtures import best_of

FAMILIES = ("linear", "tree", "unrelated", "used")
COLUMNS, OLD, TEST = 10, 1500, 4000
FIELDS = ("family", "task", "labels", "seed", "rule", "answer", "new_only")


def uniform_of(count: int) -> Callable[[np.ndarray, int], np.ndarray]:
    """Return a prior that is shared alike by the best `count` parts."""
    return lambda prior, _: np.isin(np.arange(len(prior)), np.argsort(-prior)[:count]) / min(count, len(prior))


#: Rule -> (temper, rows of the prior, which parts share it); the first is what was in force before `best_of`.
RULES = {
    "all parts": (16.0, 30.0, lambda prior, _: prior),
    "best eight": (16.0, 30.0, best_of),
    "best five": (16.0, 30.0, lambda prior, _: best_of(prior, 5)),
    "best five alike": (16.0, 30.0, uniform_of(5)),
    "temper 4": (4.0, 30.0, lambda prior, _: prior),
    "ten rows": (16.0, 10.0, lambda prior, _: prior),
    "no prior": (16.0, 0.0, lambda prior, _: prior),
}


def market(family: str, seed: int, labels: int) -> tuple[np.ndarray, ...]:
    """Return old rows (x, y), labelled new ones (u, v) and test rows (w, z); columns and labels standardised."""
    random = np.random.default_rng([seed, 77, FAMILIES.index(family)])
    shift, noise = np.r_[np.full(3, 0.7), np.zeros(COLUMNS - 3)], 0.7 if family == "tree" else 1.5
    if family == "tree":
        edges, places = 0.7 * random.normal(size=(12, 2)), random.integers(0, COLUMNS, size=(12, 2))
        size = 12
    else:
        size = COLUMNS
    old = random.normal(size=size)
    new = random.normal(size=size) + (0 if family == "unrelated" else old)
    new = new if family == "unrelated" else (new + old) / 2  # old + half of a normal draw

    def truth(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
        if family != "tree":
            return x @ weight
        return 2 * ((x[:, places] > edges).all(axis=2) @ weight)

    def rows(count: int, at: np.ndarray, weight: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
        x = random.normal(size=(count, COLUMNS)) + at
        return x, truth(x, weight) + level + noise * random.normal(size=count)

    (x, y), (u, v), (w, z) = (
        rows(OLD, 0 * shift, old, 0.0), rows(labels, shift, new, 0.5), rows(TEST, shift, new, 0.5)
    )  # fmt: skip
    mean, scale, level, spread = x.mean(axis=0), x.std(axis=0), np.r_[y, v].mean(), np.r_[y, v].std()
    x, u, w = ((part - mean) / scale for part in (x, u, w))
    y, v, z = ((part - level) / spread for part in (y, v, z))
    return x, y, u, v, w, z


def cells(family: str, seeds: list[int], labels: int, root: str | None):
    if family != "used":
        for seed in seeds:
            yield family, seed, market(family, seed, labels)
        return
    for task in TASKS:
        if task.kind == "regression":
            rows = matrices(task, 0, root, test_rows=TEST)
            places = shots(rows.v, labels, 0, classes=False)
            yield task.name, 0, (rows.x, rows.y, rows.u[places], rows.v[places], rows.w, rows.z)


def measured(rows: tuple[np.ndarray, ...], seed: int, trees: int) -> dict[str, tuple[float, float]]:
    """Return rule -> R² of the answer and of new data only, in points."""
    x, y, u, v, w, z = rows
    config, numbers = PortfolioConfig(trees=trees, repeats=1, source_rows=2000), mixtures.MIXTURES["regression"]
    source, shown = Rows(*as_rows(x, y, "regression")), Rows(*as_rows(u, v, "regression"))
    test, _ = as_rows(w, z, "regression")
    source = study.drawn(source, config.source_rows, seed)
    learners = study.learn_source(config, "regression", source, classes=1, seed=seed)
    kept, cross_fitted = [], study.cross_fitted

    def once(*given, **options):
        kept.extend([] if kept else [cross_fitted(*given, **options)])
        return kept[0]

    found, said, first = {}, {}, None
    try:
        study.cross_fitted = once
        for rule, (temper, prior_rows, shared) in RULES.items():
            numbers.temper, combine.WEIGHT_ROWS, mixtures.best_of = temper, prior_rows, shared
            one = study.study(config, "regression", source, shown, learners, classes=1, seed=seed)
            first = first or one
            one._parts, one._refitted = first._parts, first._refitted  # fitted once, as the rules do not touch them
            said = said or {name: one._said(name, test).double() for name in one.names}
            one._last = (test, None, said)
            answers = (one.combined(old_data, test).numpy()[:, 0] for old_data in ("gate", "never"))
            found[rule] = tuple(100 * r2_score(z, answer) for answer in answers)
    finally:
        study.cross_fitted, mixtures.best_of = cross_fitted, best_of
        numbers.temper, combine.WEIGHT_ROWS = type(numbers).temper, 30.0
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--families", nargs="*", default=list(FAMILIES), choices=FAMILIES)
    parser.add_argument("--seeds", nargs="*", type=int, default=[10, 11, 12, 13, 14])
    parser.add_argument("--labels", nargs="*", type=int, default=[20, 50, 200])
    parser.add_argument("--trees", type=int, default=100)
    parser.add_argument("--root", default=os.environ.get("TL_RESEARCH_MIRROR"))
    parser.add_argument("--out", default=str(Path(__file__).resolve().parent / "results" / "number_weights.csv"))
    arguments = parser.parse_args()
    lines = []
    for family in arguments.families:
        for labels in arguments.labels:
            for task, seed, rows in cells(family, arguments.seeds, labels, arguments.root):
                for rule, (answer, new_only) in measured(rows, seed, arguments.trees).items():
                    values = (family, task, labels, seed, rule, round(answer, 3), round(new_only, 3))
                    lines.append(dict(zip(FIELDS, values, strict=True)))
                with Path(arguments.out).open("w", newline="", encoding="utf-8") as file:
                    writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
                    writer.writeheader()
                    writer.writerows(lines)
    for family in arguments.families:
        for labels in arguments.labels:
            own = [line for line in lines if (line["family"], line["labels"]) == (family, labels)]
            mean = {
                (rule, of): np.mean([line[of] for line in own if line["rule"] == rule])
                for rule in RULES
                for of in ("answer", "new_only")
            }
            gains = {rule: tuple(f"{mean[rule, of] - mean['all parts', of]:+.2f}" for of in ("answer", "new_only"))
                     for rule in RULES}  # fmt: skip
            print(family, labels, gains, flush=True)


if __name__ == "__main__":
    main()
