"""Seconds of processor time that a study of the portfolio takes, step by step, on simulated rows.

    python benchmarks/portfolio_time.py [--labels 200] [--rows 50000] [--columns 30] [--test-rows 10000] [--out CSV]

One thread (`OMP_NUM_THREADS=1`): learners of the source (once), cross-fitting of every part (one draw of the folds),
refit of the heard parts with and without the old data, and what both answers say of the test rows.
"""

from __future__ import annotations

import argparse
import csv
import time

import numpy as np
import torch

from tl_research.alignment.base import Rows
from tl_research.portfolio.head import PortfolioConfig
from tl_research.portfolio.study import learn_source, study


def rows(count: int, columns: int, seed: int) -> Rows:
    """Two classes, by a linear term and an interaction; two thirds of the columns have few values."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(count, columns)).astype(np.float32)
    x[:, columns // 3 :] = np.round(x[:, columns // 3 :], 1)
    odds = x[:, 0] + x[:, 1] * x[:, 2] + 0.5 * x[:, -1]
    return Rows(
        torch.from_numpy(x), torch.from_numpy((random.random(count) < 1 / (1 + np.exp(-odds))).astype(np.int64))
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=int, default=200)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--columns", type=int, default=30)
    parser.add_argument("--test-rows", type=int, default=10_000)
    parser.add_argument("--trees", type=int, default=300)
    parser.add_argument("--out", default=None)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    source, shown = rows(arguments.rows, arguments.columns, 1), rows(arguments.labels, arguments.columns, 2)
    test = rows(arguments.test_rows, arguments.columns, 3)
    config = PortfolioConfig(repeats=1, trees=arguments.trees)
    lines, begun = [], time.process_time()

    def done(step: str) -> None:
        nonlocal begun
        now = time.process_time()
        lines.append({"step": step, "labels": arguments.labels, "seconds": round(now - begun, 2)})
        print(f"{step}: {now - begun:.2f} s", flush=True)
        begun = time.process_time()

    learners = learn_source(config, "class", source, classes=2, seed=0)
    done("learners of the source")
    found = study(config, "class", source, shown, learners, classes=2, seed=0)
    done("cross-fitting")
    for old_data in ("always", "never"):
        found.head(old_data)
    done("refit")
    for old_data in ("always", "never"):
        found.combined(old_data, test.x)
    done("test rows")
    if arguments.out:
        with open(arguments.out, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(lines[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(lines)


if __name__ == "__main__":
    main()
