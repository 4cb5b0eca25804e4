"""Error of each weighting against the true density ratio of the simulated market, and what the weights are worth.

    python benchmarks/weighting_error.py --out benchmarks/results/weighting_error

writes weighting_error.csv (a row a weighting and draw) and weighting_error.md (means over draws).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from tl_research.data.catalog.simulated_market import SimulatedMarketConfig, density_ratio, load
from tl_research.registry import WEIGHTINGS
from tl_research.runs.record import write_atomically
from tl_research.weighting.base import effective_sample_size, weigh

#: They learn from labels round by round and estimate no density ratio.
BOOSTED = ("tradaboost", "tradaboost_r2")
NAMES = {
    "error": "error",
    "rank_correlation": "rank correlation",
    "effective_share": "effective share (%)",
    "largest": "largest weight",
    "accuracy": "accuracy (%)",
    "auroc": "AUROC (%)",
    "seconds": "seconds",
}
PERCENT = ("effective_share", "accuracy", "auroc")
DIGITS = {"error": 3, "rank_correlation": 3, "largest": 1, "seconds": 3}


def market(shift: float, rows: int, draw: int) -> dict[str, np.ndarray]:
    """Old market's rows, labels and true weights, and two draws of the new one: to weigh towards, and to test on."""

    def drawn(data_seed: int):
        config = SimulatedMarketConfig(
            covariate_shift=shift, measurement_shift=0.0, n_source=rows, n_target=rows, data_seed=data_seed
        )
        return config, load(config, ["old_market", "new_market"])

    config, domains = drawn(draw)
    _, others = drawn(draw + 10_000)
    old, new, test = domains["old_market"], domains["new_market"], others["new_market"]
    ratio = density_ratio(config, old.inputs)
    return {
        "x": old.inputs, "label": old.label, "ratio": ratio / ratio.mean(),
        "target": new.inputs, "test": test.inputs, "test_label": test.label,
    }  # fmt: skip


def weights(data: dict[str, np.ndarray], seed: int) -> Iterator[tuple[str, np.ndarray, float]]:
    """Yield name, weights of mean 1 and seconds: equal weights, every registered weighting, the true ratio."""
    yield "equal weights", np.ones(len(data["x"])), 0.0
    pooled = np.concatenate([data["x"], data["target"]]).astype(np.float64)
    mean, std = pooled.mean(axis=0), pooled.std(axis=0, ddof=1)
    x, y = (torch.from_numpy((data[side] - mean) / std) for side in ("x", "target"))
    for entry in WEIGHTINGS.entries():
        if entry.name not in BOOSTED:
            start = time.perf_counter()
            found = weigh(x, y, entry.config(), label=torch.from_numpy(data["label"]), seed=seed)
            yield entry.name, found.weight.numpy(), time.perf_counter() - start
    yield "the true ratio", data["ratio"], 0.0


def scores(weight: np.ndarray, data: dict[str, np.ndarray]) -> dict[str, float]:
    """What the table shows of weights (n,) of mean 1."""
    ratio = data["ratio"]
    model = LogisticRegression(max_iter=1000).fit(data["x"], data["label"], sample_weight=weight)
    return {
        "error": float(np.square(weight - ratio).mean() / np.square(1 - ratio).mean()),
        "rank_correlation": float(spearmanr(weight, ratio).statistic) if np.ptp(weight) > 0 else float("nan"),
        "effective_share": effective_sample_size(torch.from_numpy(weight)) / len(weight),
        "largest": float(weight.max()),
        "accuracy": float(model.score(data["test"], data["test_label"])),
        "auroc": float(roc_auc_score(data["test_label"], model.predict_proba(data["test"])[:, 1])),
    }


def measure(shift: float, rows: int, draws: list[int]) -> pd.DataFrame:
    table: list[dict[str, Any]] = []
    for draw in draws:
        data = market(shift, rows, draw)
        for name, weight, seconds in weights(data, draw):
            table.append({"weighting": name, "draw": draw, **scores(weight, data), "seconds": seconds})
    return pd.DataFrame(table)


def page(frame: pd.DataFrame, shift: float, rows: int) -> str:
    draws = frame["draw"].nunique()
    lines = [
        "# Weightings against the true density ratio",
        "",
        f"Simulated market, covariate shift {shift:g}, no measurement shift, {rows:,} rows a domain, 10 columns; "
        f"mean ± standard deviation over {draws} draws.",
        "Error: mean squared distance to the true ratio of weights of mean 1, relative to that of equal weights (1 is",
        "no better than no weights, 0 is exact). Rank correlation: Spearman's, with the truth. Accuracy and AUROC: of",
        "a weighted logistic regression on another draw of the new market. Every weighting has its default options.",
        "",
    ]
    cells = [("weighting", *NAMES.values())]
    for name in dict.fromkeys(frame["weighting"]):
        part = frame[frame["weighting"] == name]
        cells.append((name, *(_cell(part[key], key) for key in NAMES)))
    widths = [max(len(row[at]) for row in cells) for at in range(len(cells[0]))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    aligned = [[row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:]))] for row in cells]
    lines += [f"| {' | '.join(row)} |" for row in (aligned[0], rule, *aligned[1:])]
    lines += ["", "Made by `python benchmarks/weighting_error.py`; seconds are of one thread and include no training."]
    return "\n".join(lines) + "\n"


def _cell(values: pd.Series, key: str) -> str:
    if values.isna().all() or (key == "seconds" and not values.any()):
        return "—"
    factor, digits = (100, 1) if key in PERCENT else (1, DIGITS[key])
    return f"{factor * values.mean():.{digits}f} ± {factor * values.std():.{digits}f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", default="benchmarks/results/weighting_error", help="path without .csv and .md")
    parser.add_argument("--shift", type=float, default=1.5)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--draws", type=int, nargs="+", default=[10, 11, 12, 13, 14])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    frame = measure(arguments.shift, arguments.rows, arguments.draws)
    Path(arguments.out).parent.mkdir(parents=True, exist_ok=True)
    write_atomically(f"{arguments.out}.csv", frame.round(6).to_csv(index=False, lineterminator="\n"))
    write_atomically(f"{arguments.out}.md", page(frame, arguments.shift, arguments.rows))
    print(page(frame, arguments.shift, arguments.rows))


if __name__ == "__main__":
    main()
