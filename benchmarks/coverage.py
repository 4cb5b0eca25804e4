"""How often the 95 % intervals of tables and answers hold the truth, where the truth is known.

    python benchmarks/coverage.py [--part suite answer] [--draws 400] [--out benchmarks/results/coverage.csv]

Stand-ins learn in closed form (linear discriminants, ridge) from rows whose truth has a formula: AUROC of a linear
score is Φ(w'b / (√2 |w|)) where the classes are normal and b apart, R² is 1 - (|b - w|² + 1) / (|b|² + 1). The new
data alone are learnt with a small penalty; "with the old data" is the mean of that and the old market's direction,
weighted by rows (`pooled`: 500 old rows), or that direction alone (`source`). `gated` takes it where two halves of the
labels favour it. The truth is the mean over draws and resamples of the learnt models' own value.

suite     tables: J seeds draw a quarter of the rows to test on, or test on the same rows (`fixed`), and 20 labels
          of the others (100 of 2,000 rows); one task, or twelve (three old markets for each of four new ones)
answer    `compare`: J resamples of n labelled rows, repeated folds or random splits; all labels, or some of them drawn

A line of the CSV: the case, the kind of interval, how often it covers, and its median length.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import norm

from tl_research.answer.interval import gain_interval
from tl_research.metrics.intervals import auroc_interval, r2_interval
from tl_research.metrics.left_out import PARTS, parts_of
from tl_research.report.statistics import Evidence, paired_difference

OUT = Path(__file__).resolve().parent / "results" / "coverage.csv"
COLUMNS = (
    "part", "metric", "rows", "design", "repeats", "labels", "tasks", "old_data", "interval", "truth", "coverage",
    "length", "draws",
)  # fmt: skip
WIDTH, OLD_ROWS, RATE = 8, 500, 0.3


class Drawn(NamedTuple):
    """Rows of a new market: x (n, d), y (n,)."""

    x: np.ndarray
    y: np.ndarray


class Classes:
    """Two classes, measured by AUROC."""

    metric = "auroc"

    @staticmethod
    def draw(rows: int, b: np.ndarray, random: np.random.Generator) -> Drawn:
        y = np.zeros(rows, dtype=np.int64)
        y[random.permutation(rows)[: max(10, random.binomial(rows, RATE))]] = 1
        return Drawn(random.normal(size=(rows, len(b))) + np.outer(y - 0.5, b), y)

    @staticmethod
    def learn(rows: Drawn) -> np.ndarray:
        means = [rows.x[rows.y == label].mean(axis=0) for label in (0, 1)]
        centred = rows.x - np.stack(means)[rows.y]
        spread = centred.T @ centred / max(1, len(rows.y) - 2)
        return np.linalg.solve(spread + 2 / len(rows.y) * np.eye(rows.x.shape[1]), means[1] - means[0])

    @staticmethod
    def truth(w: np.ndarray, b: np.ndarray) -> float:
        return float(norm.cdf(w @ b / (math.sqrt(2) * np.linalg.norm(w))))

    @staticmethod
    def without_each(score: np.ndarray, y: np.ndarray, one: np.ndarray) -> np.ndarray:
        """(1 + parts,) AUROC, and without each part: pairs are counted, those of a left-out row taken off."""
        above = (score[y == 1][:, None] > score[y == 0]).astype(np.float64)
        own, other = one[y == 1], one[y == 0]
        both = ((own.T @ above) * other.T).sum(axis=1)
        pairs = above.sum() - own.T @ above.sum(axis=1) - other.T @ above.sum(axis=0) + both
        count = (len(own) - own.sum(axis=0)) * (len(other) - other.sum(axis=0))
        return np.append(above.mean(), np.divide(pairs, count, out=np.full(len(pairs), np.nan), where=count > 0))

    @staticmethod
    def error(value: float, score: np.ndarray, y: np.ndarray) -> float:
        low, high = auroc_interval(value, int(y.sum()), int((1 - y).sum()))
        return (high - low) / 3.92

    @staticmethod
    def test_rows(y: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
        rows = [random.permutation(np.flatnonzero(y == label)) for label in (0, 1)]
        return np.concatenate([part[: max(1, round(share * len(part)))] for part in rows])

    @staticmethod
    def folds(y: np.ndarray, folds: int, random: np.random.Generator) -> np.ndarray:
        fold = np.empty(len(y), dtype=np.int64)
        for label in (0, 1):
            rows = random.permutation(np.flatnonzero(y == label))
            fold[rows] = (np.arange(len(rows)) + random.integers(folds)) % folds
        return fold

    @staticmethod
    def shown(y: np.ndarray, labels: int, random: np.random.Generator) -> np.ndarray:
        while True:
            rows = random.permutation(len(y))[:labels]
            if 2 <= y[rows].sum() <= labels - 2:
                return rows


class Numbers(Classes):
    """A number, measured by R²."""

    metric = "r2"

    @staticmethod
    def draw(rows, b, random):
        x = random.normal(size=(rows, len(b)))
        return Drawn(x, x @ b + random.normal(size=rows))

    @staticmethod
    def learn(rows):
        return np.linalg.solve(rows.x.T @ rows.x + 2 * np.eye(rows.x.shape[1]), rows.x.T @ rows.y)

    @staticmethod
    def truth(w, b):
        return float(1 - ((b - w) @ (b - w) + 1) / (b @ b + 1))

    @staticmethod
    def without_each(score, y, one):
        one = np.hstack([np.zeros((len(y), 1)), one])
        count, sums, squares = len(y) - one.sum(axis=0), y.sum() - one.T @ y, (y**2).sum() - one.T @ y**2
        error = (y - score) ** 2
        values = 1 - (error.sum() - one.T @ error) / (squares - sums**2 / count)
        return np.append(values[1:], values[0])[np.r_[-1, : len(values) - 1]]

    @staticmethod
    def error(value, score, y):
        low, high = r2_interval(y - score, y) or (0.0, 0.0)
        return (high - low) / 3.92

    @staticmethod
    def test_rows(y, share, random):
        return random.permutation(len(y))[: round(share * len(y))]

    @staticmethod
    def folds(y, folds, random):
        return random.permutation(np.arange(len(y)) % folds)

    @staticmethod
    def shown(y, labels, random):
        return random.permutation(len(y))[:labels]


@dataclass(frozen=True)
class Case:
    """One line's setting."""

    part: str
    kind: type[Classes]
    rows: int
    design: str
    repeats: int
    labels: int | None = None
    targets: int = 1
    sources: int = 1
    old_data: str = "pooled"

    @property
    def share(self) -> float:
        return 0.2 if self.design == "folds" else 0.25


class Said(NamedTuple):
    """Of a resample: difference, the same without each part, the two models' errors, the true difference; and gated."""

    difference: float
    without: np.ndarray
    errors: tuple[float, float]
    scores: np.ndarray
    truth: float
    opened: bool


def market(width: int, related: float, which: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return the new market's direction, of length 1, and the old one's, at this cosine to it."""
    b, away = np.eye(width)[0], np.eye(width)[1 + which]
    return b, related * b + math.sqrt(1 - related**2) * away


def with_old(kind: type[Classes], rows: Drawn, alone: np.ndarray, old: np.ndarray, way: str) -> np.ndarray:
    return old if way == "source" else (len(rows.y) * alone + OLD_ROWS * old) / (len(rows.y) + OLD_ROWS)


def opens(kind: type[Classes], rows: Drawn, old: np.ndarray, way: str, random: np.random.Generator) -> bool:
    """Whether models of one half of the labels are better with the old data on the other half, both ways together."""
    half = kind.folds(rows.y, 2, random) == 0
    gain, none = 0.0, np.zeros((1, 1))
    for a, z in ((half, ~half), (~half, half)):
        known, other = Drawn(rows.x[a], rows.y[a]), Drawn(rows.x[z], rows.y[z])
        alone = kind.learn(known)
        scores = [other.x @ w for w in (with_old(kind, known, alone, old, way), alone)]
        gain += np.subtract(*[kind.without_each(s, other.y, np.repeat(none, len(s), 0))[0] for s in scores])
    return bool(gain > 0)


def measured(
    case: Case, shown: Drawn, test: Drawn, part: np.ndarray, old: np.ndarray, b: np.ndarray, *,
    noise: np.ndarray | float = 0.0, gate: np.random.Generator | None = None,
) -> Said:  # fmt: skip
    """Learn from the shown rows without and with the old data, and measure both on the test rows."""
    kind = case.kind
    alone = kind.learn(shown)
    both = with_old(kind, shown, alone, old + noise, case.old_data)
    one = np.eye(PARTS)[part]
    scores = [test.x @ w for w in (both, alone)]
    values = np.stack([kind.without_each(score, test.y, one) for score in scores])
    values[:, 1:][:, one.sum(axis=0) == 0] = np.nan
    errors = (math.nan, math.nan)
    if case.part == "suite":
        errors = tuple(kind.error(value[0], score, test.y) for value, score in zip(values, scores, strict=True))
    opened = gate is not None and opens(kind, shown, old, case.old_data, gate)
    truth = kind.truth(both, b) - kind.truth(alone, b)
    return Said(float(values[0, 0] - values[1, 0]), values[0, 1:] - values[1, 1:], errors, values, truth, opened)


def taken(rows: Drawn, places: np.ndarray) -> Drawn:
    return Drawn(rows.x[places], rows.y[places])


# Tables


def suite_draw(case: Case, random: np.random.Generator) -> dict[str, Any]:
    """Return the mean difference, the truth, and both intervals: of records with parts, and of older ones."""
    row: dict[str, dict[int, float]] = {}
    ours, theirs, targets, truths = {}, {}, {}, []
    fixed = case.design == "fixed"
    for target in range(case.targets):
        b, _ = market(WIDTH, 1.0)
        rows = case.kind.draw(case.rows, b, random)
        kept = case.kind.test_rows(rows.y, case.share, random)
        part = parts_of(np.arange(case.rows), seed=0)
        for seed in range(case.repeats):
            test = kept if fixed else case.kind.test_rows(rows.y, case.share, random)
            pool = np.setdiff1d(np.arange(case.rows), test)
            shown = taken(rows, pool[case.kind.shown(rows.y[pool], case.labels or len(pool), random)])
            for source in range(case.sources):
                task = f"{source}->{target}"
                _, old = market(WIDTH, 0.8, source)
                noise = random.normal(size=WIDTH) * 0.1  # of training on the old data
                found = measured(case, shown, taken(rows, test), part[test], old, b, noise=noise)
                truths.append(found.truth)
                row.setdefault(task, {})[seed] = found.difference
                share = 1.0 if fixed else case.share
                sides = [Evidence(share, error, tuple(score[1:])) for error, score in zip(found.errors, found.scores)]
                ours.setdefault(task, {})[seed], theirs.setdefault(task, {})[seed] = sides
                targets[task] = str(target)
    zero = {task: dict.fromkeys(scores, 0.0) for task, scores in row.items()}

    def ends(change: Callable[[Evidence], Evidence]) -> tuple[float, float]:
        sides = [
            {task: {seed: change(each) for seed, each in found.items()} for task, found in side.items()}
            for side in (ours, theirs)
        ]
        said = paired_difference(row, zero, evidence=sides[0], baseline_evidence=sides[1], targets=targets)
        return said.low, said.high

    return {
        "truth": float(np.mean(truths)),
        "with parts": ends(lambda each: each),
        "older records": ends(lambda each: each._replace(without=None)),
    }


# Answers


def splits(case: Case, y: np.ndarray, random: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield the test rows of each resample."""
    if case.design == "folds":
        for _ in range(case.repeats // 5):
            fold = case.kind.folds(y, 5, random)
            yield from (np.flatnonzero(fold == number) for number in range(5))
    else:
        for _ in range(case.repeats):
            yield case.kind.test_rows(y, case.share, random)


def answer_draw(case: Case, random: np.random.Generator) -> dict[str, Any]:
    """Return truth and intervals of a comparison: with parts, the corrected resampled t, and of the gated gain."""
    b, old = market(WIDTH if case.old_data == "pooled" else 20, 0.8)
    rows = case.kind.draw(case.rows, b, random)
    part = parts_of(np.arange(case.rows), seed=int(random.integers(1 << 30)))
    found, sizes = [], []
    for test in splits(case, rows.y, random):
        pool = np.setdiff1d(np.arange(case.rows), test)
        labels = case.labels or len(pool)
        shown = taken(rows, pool[case.kind.shown(rows.y[pool], labels, random)])
        found.append(measured(case, shown, taken(rows, test), part[test], old, b, gate=random))
        sizes.append((len(test), len(pool), labels))
    test_rows, train_rows, shown_rows = (round(float(np.mean(each))) for each in zip(*sizes, strict=True))
    size = {"test_rows": test_rows, "train_rows": train_rows}
    plain = np.array([each.difference for each in found])
    opened = np.array([each.opened for each in found])
    without = np.stack([each.without for each in found])
    gated = np.where(opened[:, None], without, np.where(np.isnan(without), np.nan, 0.0))
    held = {"shown_rows": shown_rows, "held_back": without}
    return {
        "truth": float(np.mean([each.truth for each in found])),
        "truth of gated": float(np.mean([each.truth * each.opened for each in found])),
        "with parts": gain_interval(plain, **size, shown_rows=shown_rows, without=without),
        "resampled t": gain_interval(plain, **size),
        "gated": gain_interval(plain * opened, **size, without=gated, **held),
    }


def cases(parts: Sequence[str]) -> Iterator[Case]:
    """Yield the cases: all of AUROC, of R² those of one task, and of repeated folds."""
    for kind in (Classes, Numbers):
        short = kind is Numbers
        if "suite" in parts:
            for design, rows, tasks, seeds in itertools.product(
                ("drawn", "fixed"), (160, 2000), ((1, 1), (4, 3))[: 1 if short else 2], (3, 5, 10)
            ):
                yield Case("suite", kind, rows, design, seeds, 20 if rows == 160 else 100, *tasks)
        if "answer" in parts:
            designs = (("folds", 10), ("folds", 5), ("random", 3), ("random", 10))[: 1 if short else 4]
            for (design, repeats), rows, way in itertools.product(designs, (40, 100, 400, 2000), ("pooled", "source")):
                for labels in (None, 20, 100) if repeats == 10 and design == "folds" else (None,):
                    if rows >= 4 * (labels or 0) or (labels == 20 and rows == 40):
                        yield Case("answer", kind, rows, design, repeats, labels, old_data=way)


def lines(case: Case, draws: int, seed: int = 0) -> list[dict[str, Any]]:
    """Simulate a case: one line for each kind of interval."""
    random = np.random.default_rng(seed)
    found = [(suite_draw if case.part == "suite" else answer_draw)(case, random) for _ in range(draws)]
    said = []
    for interval in (name for name in found[0] if not name.startswith("truth")):
        truth = float(np.mean([each["truth of gated" if interval == "gated" else "truth"] for each in found]))
        ends = np.array([each[interval] for each in found])
        case_said = {
            "part": case.part, "metric": case.kind.metric, "rows": case.rows, "design": case.design,
            "repeats": case.repeats, "labels": case.labels or "all", "tasks": case.targets * case.sources,
            "old_data": case.old_data,
        }  # fmt: skip
        covered = np.mean((ends[:, 0] <= truth) & (truth <= ends[:, 1]))
        length = np.median(ends[:, 1] - ends[:, 0])
        figures = {"truth": f"{truth:.4f}", "coverage": f"{covered:.3f}", "length": f"{length:.4f}", "draws": draws}
        said.append({**case_said, "interval": interval, **figures})
    return said


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", nargs="*", default=["suite", "answer"], choices=["suite", "answer"])
    parser.add_argument("--draws", type=int, default=400)
    parser.add_argument("--only", type=int, default=None, metavar="N", help="the first N cases")
    parser.add_argument("--out", default=str(OUT))
    given = parser.parse_args(arguments)
    with Path(given.out).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for case in itertools.islice(cases(given.part), given.only):
            for line in lines(
                case, given.draws // (4 if case.targets > 1 or (case.part == "answer" and case.rows == 2000) else 1)
            ):
                writer.writerow(line)
                print(*line.values(), flush=True)
            file.flush()


if __name__ == "__main__":
    main()
