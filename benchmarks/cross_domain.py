"""Recommenders across Amazon departments, markets, and books and music: with and without the old shop.

    python benchmarks/cross_domain.py [--tasks "phone<-electronic" "de<-uk" ...] [--settings warm cold_user]
                                      [--seeds 0 1 ...] [--out CSV]

One line per task, setting, seed, twins (dropped and kept) and method; finished tasks are not computed again. Options
are chosen by NDCG@10 on validation users, the test is read once; full ranking over the whole catalogue. `cold_user`
holds out a fifth of the users of both domains, `cold_0.5` and `cold_0.8` (books and music alone) that share.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from cells import append_lines

from tl_research.interactions.public import AMAZON_PAIRS, DOUBAN_DOMAINS, amazon_pair, douban, markets
from tl_research.interactions.task import Task, cold_task, given_task, make_task
from tl_research.metrics.ranking import PER_USER
from tl_research.recommend.candidates import Candidate, candidates
from tl_research.recommend.measure import attempts, choose, ordered, test
from tl_research.recommend.verdict import paired

ROOT = Path(__file__).resolve().parent
MARKET_TASKS = {"de<-uk": ("uk",), "fr<-uk": ("uk",), "mx<-ca": ("ca",), "in<-ca,uk,de": ("ca", "uk", "de")}
DOUBAN_TASKS = tuple("<-".join(pair) for pair in (DOUBAN_DOMAINS, DOUBAN_DOMAINS[::-1]))
TASKS = (*(f"{target}<-{source}" for target, source in AMAZON_PAIRS), *MARKET_TASKS, *DOUBAN_TASKS)
COLD_SHARES = {"cold_user": 0.2, "cold_0.5": 0.5, "cold_0.8": 0.8}
SETTINGS = ("warm", *COLD_SHARES)
FIELDS = (
    "task", "setting", "seed", "twins", "method", "old_shop", "role", "validation", "users", "test_rows", "leaked_rows",
    *PER_USER, "gain", "low", "high", "over_popularity", "over_low", "over_high", "seconds",
)  # fmt: skip


def make(name: str, setting: str, seed: int) -> Task | None:
    """Return a task; None where there is none: users of two markets do not overlap."""
    target, source = name.split("<-")
    if name in MARKET_TASKS:
        logs = markets(target, MARKET_TASKS[name]).logs
        return make_task(logs[-1], logs[:-1], cold="none", seed=seed) if setting == "warm" else None
    if name in DOUBAN_TASKS:
        own, other = douban(target, source)
        if setting == "warm":
            return make_task(own, (other,), cold="none", seed=seed)
        return cold_task(own, (other,), share=COLD_SHARES[setting], seed=seed)
    pair = amazon_pair(target, source)
    if setting == "warm":
        return given_task(pair.train, pair.test, (pair.source,), seed=seed)
    whole = pair.train.joined(pair.test)
    return cold_task(whole, (pair.source,), share=COLD_SHARES[setting], seed=seed) if setting == "cold_user" else None


def both_sides(task: Task, tried: Sequence[Candidate], *, seed: int) -> Iterator[tuple]:
    """Choose and test candidates, with twins dropped and, where a test row is given away, kept.

    Yields:
        `drop` or `keep`, the places of the test rows that count, every candidate with its best options, and the best
        of those with and without the sources as validation users chose it.
    """
    leaked = ordered(task.test_leaked, task.test)
    made = attempts(task, tried, seed=seed, say=lambda line: None)
    sides = ("drop", "keep") if leaked.any() else ("drop",)
    chosen = {twins: choose(task, made, drop=twins == "drop") for twins in sides}
    test(task, [each for measured in chosen.values() for each in measured], seed=seed)
    for twins, measured in chosen.items():
        rows = np.flatnonzero(~leaked) if twins == "drop" else np.arange(len(leaked))
        of_side = {uses: [each for each in measured if each.candidate.uses_sources is uses] for uses in (False, True)}
        best = {uses: max(found, key=lambda each: each.validation) for uses, found in of_side.items()}
        yield twins, rows, measured, best


def lines(name: str, setting: str, seed: int) -> Iterator[dict[str, object]]:
    """Measure one task: a line per method, twins dropped and kept."""
    task = make(name, setting, seed)
    if task is None:
        return
    start = time.perf_counter()
    tried, _ = candidates(task.to_choose, timed=task.train.time is not None)
    leaked = int(task.test_leaked.sum())
    for twins, rows, measured, best in both_sides(task, tried, seed=seed):
        popular = next(each for each in measured if each.candidate.name == "popularity")
        for each in measured:
            values = {metric: each.per_user(metric, rows)[1] for metric in PER_USER}
            line: dict[str, object] = {
                "task": name, "setting": setting, "seed": seed, "twins": twins, "method": each.candidate.name,
                "old_shop": each.candidate.uses_sources, "validation": round(each.validation, 6),
                "role": "best" if each is best[each.candidate.uses_sources] else "",
                "users": len(values["ndcg"]), "test_rows": len(rows), "leaked_rows": leaked,
                "seconds": round(time.perf_counter() - start, 1),
            }  # fmt: skip
            line |= {metric: round(float(value.mean()), 6) for metric, value in values.items()}
            for key, other in (("", best[False]), ("over_", popular)):
                gain = paired(values["ndcg"], other.per_user("ndcg", rows)[1])
                line[f"{key}popularity" if key else "gain"] = round(gain.mean, 6)
                line[f"{key}low"], line[f"{key}high"] = round(gain.low, 6), round(gain.high, 6)
            yield line


def finished(path: Path) -> set[tuple[str, str, str]]:
    """Return (task, setting, seed) of the lines that there are."""
    if not path.is_file():
        return set()
    with path.open(newline="", encoding="utf-8") as file:
        return {(row["task"], row["setting"], row["seed"]) for row in csv.DictReader(file)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="*", default=TASKS, choices=TASKS, metavar="NAME")
    parser.add_argument("--settings", nargs="*", default=SETTINGS, choices=SETTINGS, metavar="NAME")
    parser.add_argument("--seeds", nargs="*", type=int, default=range(5))
    parser.add_argument("--out", default=str(ROOT / "results" / "cross_domain.csv"))
    arguments = parser.parse_args()
    path = Path(arguments.out)
    for seed in arguments.seeds:
        for name in arguments.tasks:
            for setting in arguments.settings:
                if (name, setting, str(seed)) in finished(path):
                    continue
                found = list(lines(name, setting, seed))
                append_lines(path, FIELDS, found)
                print(name, setting, seed, len(found), found[-1]["seconds"] if found else "", flush=True)


if __name__ == "__main__":
    main()
