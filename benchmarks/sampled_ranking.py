"""Closed-form recommenders on 99 frozen negatives per test row, beside their full ranking; twins dropped and kept.

    python benchmarks/sampled_ranking.py [--tasks "phone<-electronic" "de<-uk" ...] [--negatives FOLDER] [--out CSV]

For phone and electronic the negatives are BiTGCF's; for markets they are drawn once by seed 0 and written to FOLDER.
One line per task, twins and method; finished tasks are not computed again. Options are chosen by NDCG@10 of the full
ranking of validation users, as in `cross_domain.py`; each user's one test row is ranked once.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from cells import append_lines
from cross_domain import MARKET_TASKS, both_sides, make

from tl_research.data.fetch import data_root
from tl_research.errors import DataError
from tl_research.interactions.negatives_file import negatives_text, read_negatives
from tl_research.interactions.public import NEGATIVES, amazon_negatives, markets
from tl_research.interactions.ranks import Ranks
from tl_research.interactions.sampled import Negatives, draw_negatives, sampled_ranks
from tl_research.interactions.task import Task
from tl_research.metrics.ranking import PER_USER, UserRanks
from tl_research.recommend.candidates import candidates
from tl_research.recommend.measure import K
from tl_research.recommend.verdict import paired

ROOT = Path(__file__).resolve().parent
TASKS = (*(f"{target}<-{source}" for target, source in NEGATIVES), *MARKET_TASKS)
SEED = 0
METHODS = ("popularity", "item_knn", "graph_filter", "ease", "cross_ease", "market_ease")
#: sha256 of the markets' frozen negatives: a file that differs, or a draw that does, is refused.
FROZEN = {
    "de": "0a092b1d491a014e3c6030808d482fe02af7a650d8a68e35f00d0eb449d0c53f",
    "fr": "a8f3ce4510d387664974dd47bb9ba0f5d6cb988ce90e4d9ea19751d78369c78b",
    "mx": "d8c9d264c0a273ba54e1658c7a924377f41435605f5094d9ef0a5445b64656d9",
    "in": "6cff1d675aa1b99203c046ac026cfe64d95780801f75cb551477278b81c0b457",
}
FIELDS = (
    "task", "negatives", "seed", "twins", "method", "old_shop", "role", "validation", "users", "hit_rate", "ndcg",
    "mrr", "gain", "low", "high", "hit_rate_ties_first", "ndcg_ties_first", "full_hit_rate", "full_ndcg", "full_gain",
    "full_low", "full_high", "seconds",
)  # fmt: skip


def frozen_negatives(name: str, task: Task, folder: Path) -> tuple[str, Negatives]:
    """Return what the negatives of a task are called, and the negatives of its test rows.

    Raises:
        DataError: a market's file is not the frozen one, or its rows are not the task's test rows.
    """
    target, source = name.split("<-")
    if name not in MARKET_TASKS:
        return "BiTGCF", amazon_negatives(target, source)
    shops, path = markets(target, MARKET_TASKS[name]), folder / f"{target}.txt"
    if not path.is_file():
        drawn = draw_negatives(task.test, shops.logs[-1], seed=SEED)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(negatives_text(drawn, shops.users, shops.items), encoding="utf-8")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != FROZEN[target]:
        raise DataError(f"{path}: sha256 {digest}, wants {FROZEN[target]}: these are not the frozen negatives")
    found = read_negatives(path, shops.users, shops.items).sorted()
    order = np.lexsort((task.test.item, task.test.user))
    if not (np.array_equal(found.user, task.test.user[order]) and np.array_equal(found.item, task.test.item[order])):
        raise DataError(f"{path}: its rows are not the test rows of {name}")
    return f"drawn, seed {SEED}", found


def lines(name: str, folder: Path) -> Iterator[dict[str, object]]:
    """Measure one task: a line per method, twins dropped and kept."""
    task, start = make(name, "warm", SEED), time.perf_counter()
    kind, frozen = frozen_negatives(name, task, folder)
    tried, _ = candidates(task.to_choose, timed=False)
    tried = [each for each in tried if each.name.removesuffix(" on all") in METHODS]
    for twins, rows, measured, best in both_sides(task, tried, seed=SEED):
        sampled = {}
        for each in measured:
            score, catalogue = each.recommender.score, each.recommender.catalogue
            sampled[each.candidate.name] = [sampled_ranks(score, frozen, catalogue, ties=ties) for ties in (0.5, 0.0)]
        alone = best[False]
        for each in measured:
            mean, first = sampled[each.candidate.name]
            gain = paired(per_user("ndcg", mean, rows), per_user("ndcg", sampled[alone.candidate.name][0], rows))
            full_gain = paired(per_user("ndcg", each.ranks, rows), per_user("ndcg", alone.ranks, rows))
            values = {
                **{metric: per_user(metric, mean, rows).mean() for metric in ("hit_rate", "ndcg", "mrr")},
                **{f"{metric}_ties_first": per_user(metric, first, rows).mean() for metric in ("hit_rate", "ndcg")},
                **{f"full_{metric}": per_user(metric, each.ranks, rows).mean() for metric in ("hit_rate", "ndcg")},
                "gain": gain.mean, "low": gain.low, "high": gain.high, "validation": each.validation,
                "full_gain": full_gain.mean, "full_low": full_gain.low, "full_high": full_gain.high,
            }  # fmt: skip
            yield {
                "task": name, "negatives": kind, "seed": SEED, "twins": twins, "method": each.candidate.name,
                "old_shop": each.candidate.uses_sources, "users": gain.users,
                "role": "best" if each is best[each.candidate.uses_sources] else "",
                "seconds": round(time.perf_counter() - start, 1),
            } | {column: round(float(value), 6) for column, value in values.items()}  # fmt: skip


def per_user(metric: str, ranks: Ranks, rows: np.ndarray) -> np.ndarray:
    """Return a metric's value of each user over some of the rows."""
    return PER_USER[metric](UserRanks.group(ranks.user[rows], ranks.rank[rows]), K)


def finished(path: Path) -> set[str]:
    """Return the tasks of the lines that there are."""
    if not path.is_file():
        return set()
    with path.open(newline="", encoding="utf-8") as file:
        return {row["task"] for row in csv.DictReader(file)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="*", default=TASKS, choices=TASKS, metavar="NAME")
    parser.add_argument("--negatives", default=str(data_root() / "xmarket_negatives"), metavar="FOLDER")
    parser.add_argument("--out", default=str(ROOT / "results" / "sampled_ranking.csv"))
    arguments = parser.parse_args()
    path = Path(arguments.out)
    for name in arguments.tasks:
        if name in finished(path):
            continue
        found = list(lines(name, Path(arguments.negatives)))
        append_lines(path, FIELDS, found)
        print(name, len(found), found[-1]["seconds"], flush=True)


if __name__ == "__main__":
    main()
