"""Pages and plots of suites whose records are not kept, made again from their committed CSV.

    python benchmarks/pages.py [SUITE ...]

The section "How it was made" stays that of the page before: it tells of the runs, which are not made again. The CSV
does not say what the test rows were: a quarter of the labelled rows, drawn by the seed, unless the suite is one of
`FIXED`, whose data set has test rows of its own. The standard error of an accuracy then comes from their number.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from tl_research.metrics.intervals import wilson
from tl_research.report.collect import to_csv
from tl_research.report.plot import plot_differences
from tl_research.report.statistics import Evidence
from tl_research.report.table import render
from tl_research.storage.files import write_atomically
from tl_research.suites.suite import Suite, load_suite

RESULTS = Path(__file__).resolve().parent / "results"
SUITES = (
    "amazon_reviews_shallow", "digits_jda", "ecommerce_tabular", "office10_googlenet_shallow",
    "office_caltech_preprocessing", "office_caltech_shallow", "simulated_market",
)  # fmt: skip
#: Suites with test rows of their own (all rows of the target, but for the reviews) -> rows of each target.
FIXED = {
    "amazon_reviews_shallow": {"books": 4465, "dvd": 3586, "electronics": 5681, "kitchen": 5945},
    "digits_jda": {"mnist": 2000, "usps": 1800},
    "office10_googlenet_shallow": {"amazon": 958, "dslr": 157, "webcam": 295},
    "office_caltech_preprocessing": {"amazon": 958, "caltech": 1123, "dslr": 157, "webcam": 295},
    "office_caltech_shallow": {"amazon": 958, "caltech": 1123, "dslr": 157, "webcam": 295},
}
SHARE = 0.25
FOOTER = "## How it was made"


def frame_of(suite: Suite, path: Path) -> pd.DataFrame:
    """Return the long frame of a committed CSV, in the suite's words for its rows, with what stands behind a value."""
    frame = pd.read_csv(path)
    # A page of before said "50 a class".
    frame["label"] = frame["label"].str.replace(" a class", " per class")
    known = {row.label for row in suite.methods}
    if unknown := set(frame["label"]) - known:
        raise SystemExit(f"{path}: rows that the suite does not have: {', '.join(sorted(unknown))}")
    rows = FIXED.get(suite.name)

    def evidence(line) -> Evidence:
        if rows is None:
            return Evidence(SHARE)
        if line.metric != "accuracy":
            return Evidence(1.0)
        count = rows[line.target]
        low, high = wilson(line.value * count, count)
        return Evidence(1.0, (high - low) / 3.92)

    frame["evidence"] = [evidence(line) for line in frame.itertuples()]
    return frame


def page(suite: Suite, frame: pd.DataFrame, before: str) -> str:
    """Return the page with the footer of the page before."""
    text = render(frame, suite)
    return text[: text.index(FOOTER)] + before[before.index(FOOTER) :]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("suites", nargs="*", default=SUITES, metavar="SUITE")
    parser.add_argument(
        "--folder", default=str(RESULTS), help="to write to; the CSV files are read from benchmarks/results"
    )
    given = parser.parse_args(arguments)
    for name in given.suites:
        suite = load_suite(name)
        frame = frame_of(suite, RESULTS / f"{name}.csv")
        out = Path(given.folder) / name
        text = page(suite, frame, (RESULTS / f"{name}.md").read_text(encoding="utf-8"))
        write_atomically(out.with_suffix(".csv"), to_csv(frame))
        write_atomically(out.with_suffix(".md"), text)
        plot_differences(frame, suite, out.with_suffix(".png"))
        print(f"{name}: {len(np.unique(frame['run_id']))} runs")


if __name__ == "__main__":
    main()
