"""Predicted ratings of books and music (`douban`): means, biases and factors, on the target alone and on both domains.

    python benchmarks/rating_prediction.py [--tasks "book<-music" ...] [--settings ratio cold_0.2 ...]
                                           [--seeds 0 1 ...] [--out CSV]

`ratio`: a random tenth of the target's ratings tests, a tenth validates. `cold_S`: all target ratings of a share S of
the users of both domains test. Options are chosen by RMSE on validation rows, then the method is fitted to training and
validation rows and tested once. One line per task, setting and method: MAE and RMSE, means over the seeds' splits, and
the difference from the best mean of the target alone (by validation RMSE) with an interval over users.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from cells import append_lines

from tl_research.interactions.public import DOUBAN_DOMAINS, douban
from tl_research.interactions.splits import Split, by_ratio, cold_users
from tl_research.interactions.training import Training
from tl_research.metrics.errors_by_user import KINDS, difference, over_users
from tl_research.recommenders.rating import GlobalMean, ItemMean, RatingModel, UserMean
from tl_research.recommenders.rating_bridge import BridgedFactors
from tl_research.recommenders.rating_factors import BiasedFactors

ROOT = Path(__file__).resolve().parent
TASKS = tuple("<-".join(pair) for pair in (DOUBAN_DOMAINS, DOUBAN_DOMAINS[::-1]))
COLD_SHARES = (0.2, 0.5, 0.8)
SETTINGS = ("ratio", *(f"cold_{share}" for share in COLD_SHARES))
RIDGES = (8.0, 12.0, 16.0, 24.0)
TEST_SHARE = 0.1
BIAS_RIDGES = (1.0, 3.0, 10.0, 30.0)
FIELDS = (
    "task", "setting", "seeds", "method", "old_shop", "constant", "validation_rmse", "users", "test_rows", "mae",
    "mae_sd", "rmse", "rmse_sd", "best_constant", "mae_difference", "mae_low", "mae_high", "rmse_difference",
    "rmse_low", "rmse_high", "options", "seconds",
)  # fmt: skip


class Candidate(NamedTuple):
    """One method with the options that are tried.

    Fields:
        name: in tables.
        uses_sources: whether it reads the other domain.
        constant: whether it is a mean, or a sum of means.
        make: options -> unfitted model.
        options: that are tried.
    """

    name: str
    uses_sources: bool
    constant: bool
    make: Any
    options: tuple[dict[str, Any], ...] = ({},)


def candidates() -> list[Candidate]:
    """Return what is compared."""
    biases = _grid(rank=(0,), bias_ridge=BIAS_RIDGES)
    factors = _grid(rank=(8,), ridge=RIDGES, bias_ridge=(3.0,))
    bridged = _grid(rank=(8,), ridge=RIDGES, bias_ridge=(3.0,), map_ridge=(1.0, 30.0))
    bridged_bias = _grid(rank=(0,), bias_ridge=(3.0,), map_ridge=(1.0, 30.0))
    on_all = {"use_sources": True}
    return [
        Candidate("global mean", False, True, GlobalMean),
        Candidate("user mean", False, True, UserMean),
        Candidate("item mean", False, True, ItemMean),
        Candidate("user and item bias", False, True, BiasedFactors, biases),
        Candidate("user mean on all", True, True, UserMean, (on_all,)),
        Candidate("user and item bias on all", True, True, BiasedFactors, tuple(each | on_all for each in biases)),
        Candidate("factors", False, False, BiasedFactors, factors),
        Candidate("factors on all", True, False, BiasedFactors, tuple(each | on_all for each in factors)),
        Candidate("user bias, bridged", True, False, BridgedFactors, bridged_bias),
        Candidate("factors, bridged", True, False, BridgedFactors, bridged),
    ]


def _grid(**values: Sequence[Any]) -> tuple[dict[str, Any], ...]:
    return tuple(dict(zip(values, point, strict=True)) for point in product(*values.values()))


class Result(NamedTuple):
    """One method on one split: validation RMSE, the chosen options, and the errors of the test rows."""

    validation: float
    options: dict[str, Any]
    errors: np.ndarray


def measured(task: str, setting: str, seed: int) -> tuple[dict[str, Result], np.ndarray]:
    """Return method -> result on one split, and the users of the test rows."""
    target, source = douban(*task.split("<-"))
    train, val, test = split_of(target, source.own_users(), setting, seed).logs(target)
    to_choose, to_test = (Training(log, (source,)) for log in (train, train.joined(val)))

    def errors(candidate: Candidate, options: dict[str, Any], training: Training, held_out) -> np.ndarray:
        made: RatingModel = candidate.make(**options).fit(training, seed=seed)
        return made.predict(held_out.user, held_out.item) - held_out.rating

    found = {}
    for each in candidates():
        roots = [np.sqrt(np.mean(errors(each, options, to_choose, val) ** 2)) for options in each.options]
        best = each.options[int(np.argmin(roots))]
        found[each.name] = Result(float(min(roots)), best, errors(each, best, to_test, test))
    return found, test.user


def split_of(target, known: np.ndarray, setting: str, seed: int) -> Split:
    """Return the split of a setting."""
    if setting == "ratio":
        return by_ratio(target, test=TEST_SHARE, val=TEST_SHARE, seed=seed)
    return cold_users(target, known, share=float(setting.removeprefix("cold_")), seed=seed)


def lines(task: str, setting: str, seeds: Sequence[int]) -> list[dict[str, object]]:
    """Measure one task in one setting: a line per method."""
    start = time.perf_counter()
    splits = [measured(task, setting, seed) for seed in seeds]
    constants = [each.name for each in candidates() if each.constant and not each.uses_sources]
    validation = {name: np.mean([found[name].validation for found, _ in splits]) for name in splits[0][0]}
    reference = min(constants, key=validation.__getitem__)
    rows = []
    for each in candidates():
        mine = [found[each.name] for found, _ in splits]
        line: dict[str, object] = {
            "task": task, "setting": setting, "seeds": " ".join(map(str, seeds)), "method": each.name,
            "old_shop": each.uses_sources, "constant": each.constant, "best_constant": reference,
            "validation_rmse": round(float(validation[each.name]), 5),
            "users": len(np.unique(np.concatenate([user for _, user in splits]))),
            "test_rows": sum(len(user) for _, user in splits),
            "options": " | ".join(" ".join(f"{key}={value}" for key, value in one.options.items()) for one in mine),
            "seconds": round(time.perf_counter() - start, 1),
        }  # fmt: skip
        values = {
            "mae": [np.abs(one.errors).mean() for one in mine],
            "rmse": [np.sqrt((one.errors**2).mean()) for one in mine],
        }
        for kind in KINDS:
            parts = [difference(kind, found[each.name].errors, found[reference].errors, user) for found, user in splits]
            ends = over_users(parts)
            line[kind] = round(float(np.mean(values[kind])), 5)
            line[f"{kind}_sd"] = round(float(np.std(values[kind], ddof=1)), 5) if len(seeds) > 1 else ""
            for name, value in zip(("difference", "low", "high"), ends, strict=True):
                line[f"{kind}_{name}"] = round(value, 5)
        rows.append(line)
    return rows


def finished(path: Path) -> set[tuple[str, str]]:
    """Return (task, setting) of the lines that there are."""
    if not path.is_file():
        return set()
    with path.open(newline="", encoding="utf-8") as file:
        return {(row["task"], row["setting"]) for row in csv.DictReader(file)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="*", default=TASKS, choices=TASKS, metavar="NAME")
    parser.add_argument("--settings", nargs="*", default=SETTINGS, choices=SETTINGS, metavar="NAME")
    parser.add_argument("--seeds", nargs="*", type=int, default=range(5))
    parser.add_argument("--out", default=str(ROOT / "results" / "rating_prediction.csv"))
    arguments = parser.parse_args()
    path = Path(arguments.out)
    for task, setting in product(arguments.tasks, arguments.settings):
        if (task, setting) in finished(path):
            continue
        found = lines(task, setting, list(arguments.seeds))
        append_lines(path, FIELDS, found)
        print(task, setting, found[-1]["seconds"], flush=True)


if __name__ == "__main__":
    main()
