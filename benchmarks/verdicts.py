"""How often the sentence of `compare` is right, on simulated markets whose truth is known.

    python benchmarks/verdicts.py [--draws 200] [--labels 100] [--out benchmarks/results/verdicts.csv]

Each draw makes an old and a new market, and answers whether the old one helps, as `compare` does, without files and
without the refit: 100 labels of visits with 100 columns, 10 resamples. To be quick it has forests of few trees and no
boosters:

helpful   the old market buys as the new one does
useless   the old market's purchases are shuffled over its visits: nothing can be learnt from them
harmful   the old market's visits have their columns in another order: what it teaches is wrong in the new one

Right is "helped" of the helpful, and anything else of the others. A draw that is in the CSV is not made again. The last
lines say how often the sentence is right, how often the interval holds the mean of the gain over the draws, and what
the answer gains over the new data alone in the mean over the draws: below zero, what the old data cost.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tl_research.alignment.base import Rows
from tl_research.answer.items import items_of
from tl_research.answer.measured import WITH, Question, measure
from tl_research.answer.options import Options
from tl_research.answer.rows import TaskRows
from tl_research.answer.verdict import HELPED, HURT, WOULD_HURT, gain_of, judge
from tl_research.answer.workers import one_thread
from tl_research.data.catalog.simulated_market import CLASSES, SimulatedMarketConfig, load
from tl_research.metrics.left_out import parts_of
from tl_research.outcomes.classes import ClassOutcome
from tl_research.portfolio import parts
from tl_research.portfolio.head import PortfolioConfig
from tl_research.portfolio.study import learn_source

OUT = Path(__file__).resolve().parent / "results" / "verdicts.csv"
COLUMNS = (
    "old_data",
    "draw",
    "labels",
    "old_rows",
    "verdict",
    "auroc_new",
    "auroc_with",
    "gated",
    "low",
    "high",
    "right",
)
KINDS = ("helpful", "useless", "harmful")
METRIC, NOISE, FEATURES = "auroc", 0.3, 100


def markets(kind: str, draw: int, *, old_rows: int, labels: int) -> tuple[np.ndarray, ...]:
    """Return x, y of the old market and x, y of the new one."""
    config = SimulatedMarketConfig(
        n_source=old_rows, n_target=labels, features=FEATURES, measurement_shift=0.0, noise=NOISE, data_seed=draw
    )
    domains = load(config, ["old_market", "new_market"])
    old, new = domains["old_market"], domains["new_market"]
    x, y = old.inputs, old.label
    if kind == "useless":
        y = np.random.default_rng(draw).permutation(y)
    if kind == "harmful":
        x = x[:, ::-1].copy()
    return x, y, new.inputs, new.label


def answered(kind: str, draw: int, *, old_rows: int, labels: int, resamples: int, trees: int) -> dict[str, Any]:
    """Return one line: what the answer says of this draw."""
    x, y, u, v = (torch.from_numpy(part) for part in markets(kind, draw, old_rows=old_rows, labels=labels))
    outcome, source, seed = ClassOutcome(CLASSES), Rows(x, y), draw
    facts = {"groups": labels, "labelled_used": labels}
    rows = TaskRows(source, u, v, np.arange(labels), outcome, transform=None, facts=facts)
    config = PortfolioConfig(trees=trees, repeats=1)
    learners = learn_source(config, outcome.kind, source, classes=outcome.width, seed=seed)
    part = parts_of(rows.groups, seed=seed)
    question = Question(
        config, source, u, v, outcome, learners, part, METRIC,
        asked=(), prior=(), balanced=False, group=rows.groups, seed=seed,
    )  # fmt: skip
    found = [measure(question, item) for item in items_of(rows, Options(resamples=resamples), seed=seed, remarks=[])]
    verdict, gated = judge(found, METRIC), gain_of(found, METRIC, WITH)
    # Where the sentence says that they hurt, the model is refitted without them.
    used = gated.base if verdict.kind in (HURT, WOULD_HURT) else gated.row
    return {
        "old_data": kind, "draw": draw, "labels": labels, "old_rows": old_rows, "verdict": verdict.kind,
        "auroc_new": f"{gated.base:.4f}", "auroc_with": f"{used:.4f}", "gated": f"{gated.mean:.4f}",
        "low": f"{gated.low:.4f}", "high": f"{gated.high:.4f}",
        "right": (verdict.kind == HELPED) == (kind == "helpful"),
    }  # fmt: skip


def read(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def summary(lines: Sequence[dict[str, str]]) -> list[str]:
    """Return a line for each kind of old data."""
    said = []
    for kind in KINDS:
        own = [line for line in lines if line["old_data"] == kind]
        if not own:
            continue
        verdicts = {name: sum(line["verdict"] == name for line in own) for name in sorted({x["verdict"] for x in own})}
        gains = np.array([float(line["auroc_with"]) - float(line["auroc_new"]) for line in own])
        right = np.mean([line["right"] == "True" for line in own])
        error = gains.std(ddof=1) / len(own) ** 0.5 if len(own) > 1 else np.nan
        low, high, gated = (np.array([float(line[name]) for line in own]) for name in ("low", "high", "gated"))
        held = np.mean((low <= gated.mean()) & (gated.mean() <= high))
        said.append(
            f"{kind:8} {len(own)} draws: right {100 * right:.1f} %; {verdicts}; interval holds {100 * held:.1f} %; "
            f"answer minus new data alone {100 * gains.mean():+.2f} ± {100 * error:.2f} points of AUROC"
        )
    return said


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--labels", type=int, default=100)
    parser.add_argument("--old-rows", type=int, default=2000)
    parser.add_argument("--resamples", type=int, default=10)
    parser.add_argument("--trees", type=int, default=5)
    parser.add_argument("--boosters", action="store_true", help="with boosters, which take most of the time")
    parser.add_argument("--out", default=str(OUT))
    given = parser.parse_args(arguments)
    if not given.boosters:
        parts.MOST_COLUMNS = 0
    path = Path(given.out)
    lines = read(path)
    done = {(line["old_data"], int(line["draw"])) for line in lines}
    sizes = {"old_rows": given.old_rows, "labels": given.labels, "resamples": given.resamples, "trees": given.trees}
    with path.open("a", newline="", encoding="utf-8") as file, one_thread():
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if not lines:
            writer.writeheader()
        for draw in range(given.draws):
            for kind in KINDS:
                if (kind, draw) in done:
                    continue
                begun = time.monotonic()
                line = answered(kind, draw, **sizes)
                writer.writerow(line)
                file.flush()
                print(
                    f"{kind} {draw}: {line['verdict']} {line['gated']} ({time.monotonic() - begun:.1f} s)", flush=True
                )
    print("\n".join(summary(read(path))))


if __name__ == "__main__":
    main()
