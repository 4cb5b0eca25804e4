"""How long `compare` takes, as a user runs it: the first figures, the verdict, and the memory of the command.

    python benchmarks/answer_time.py [--rows 50000] [--labels 200] [--out CSV]

Two CSV files of 26 columns of numbers and four of categories are made; the new one has labels in its first rows alone.
"""

from __future__ import annotations

import argparse
import csv
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

OUT = Path(__file__).resolve().parent / "results" / "answer_time.csv"
NUMBERS, CATEGORIES = 26, 4


def market(rows: int, seed: int, *, shift: float, labels: int | None) -> pd.DataFrame:
    """Return rows whose label is of six columns, a product of two and a category; columns are moved by `shift`."""
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(rows, NUMBERS)) + shift * np.arange(NUMBERS) / 40
    frame = pd.DataFrame(x.round(4), columns=[f"number{at}" for at in range(NUMBERS)])
    for at in range(CATEGORIES):
        frame[f"category{at}"] = draw.choice([f"value{code}" for code in range(6)], rows)
    odds = x[:, :6] @ np.array([1, -0.7, 0.5, 0.4, 0.3, 0.2]) + 0.5 * x[:, 0] * x[:, 1]
    odds += 0.8 * (frame["category0"] == "value1")
    frame["y"] = np.where(odds + 1.2 * draw.logistic(size=rows) > 0.5, "yes", "no")
    if labels is not None:
        frame.loc[labels:, "y"] = None
    return frame


def timed(folder: Path, *, options: list[str]) -> dict[str, float]:
    """Return seconds to the first figures, to the first split and to the end, and the memory of the largest process."""
    words = [sys.executable, "-m", "tl_research.cli", "compare", "old.csv", "new.csv", "--label", "y", *options]
    begun, first, split = time.monotonic(), float("nan"), float("nan")
    with subprocess.Popen(words, cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        for line in process.stderr or ():
            if line.startswith("first figures"):
                first = time.monotonic() - begun
            elif line.startswith("1 of "):
                split = time.monotonic() - begun
    if process.returncode:
        raise RuntimeError(f"compare ended with {process.returncode}")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    seconds = {"first_figures": first, "first_split": split, "verdict": time.monotonic() - begun}
    return {name: round(value, 1) for name, value in seconds.items()} | {"peak_gib": round(peak, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=50_000, help="of each file")
    parser.add_argument("--labels", type=int, default=200)
    parser.add_argument("--options", nargs="*", action="extend", default=[], help="further words of the command")
    parser.add_argument("--out", default=str(OUT))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        market(given.rows, 1, shift=0.0, labels=None).to_csv(Path(folder) / "old.csv", index=False)
        market(given.rows, 2, shift=1.0, labels=given.labels).to_csv(Path(folder) / "new.csv", index=False)
        found = {"rows": given.rows, "labels": given.labels, "processors": os.cpu_count()} | timed(
            Path(folder), options=given.options
        )
    print(found)
    path = Path(given.out)
    is_new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, found, lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerow(found)


if __name__ == "__main__":
    main()
