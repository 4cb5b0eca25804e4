"""The tables of docs/kernels.md from the figures of kernels.py.

    python benchmarks/kernels_table.py [--csv benchmarks/results/kernels.csv] [--device cpu]
                                       [--bandwidths 5] [--dtype fp32]

Seconds of one forward and backward, in brackets multiples of one full Gram product `z @ z.T` of the same cell.
"""

from __future__ import annotations

import argparse
import csv
from itertools import groupby
from pathlib import Path

HEADINGS = {
    "broadcast": "broadcast, n × m × d",
    "gram": "Gram form",
    "gram_compiled": "Gram form, `torch.compile`",
    "keops": "KeOps",
    "pytorch_adapt": "pytorch-adapt",
    "ours": "ours",
}


def figure(line: dict | None) -> str:
    if line is None:
        return "not measured"
    if line["status"] != "ok":
        return line["status"]
    return f"{float(line['seconds']):.2g} ({float(line['gram_products']):.3g})"


def errors(line: dict) -> str:
    if not line.get("value_error"):
        return "not measured"
    return f"{float(line['value_error']):.0e}, {float(line['gradient_error']):.0e}".replace("e-0", "e-")


def rows_of(path: Path, device: str, bandwidths: str, dtype: str):
    with path.open(newline="") as file:
        lines = [line for line in csv.DictReader(file)]
    wanted = [
        line for line in lines if (line["device"], line["bandwidths"], line["dtype"]) == (device, bandwidths, dtype)
    ]
    wanted.sort(key=lambda line: (int(line["width"]), int(line["rows"])))
    for (width, rows), cell in groupby(wanted, key=lambda line: (line["width"], line["rows"])):
        by_form = {line["form"]: line for line in cell}
        product = by_form["z @ z.T"]
        cells = [f"{float(product['seconds']):.2g}" + ("" if product["status"] == "ok" else " (scaled)")]
        cells += [figure(by_form.get(form)) for form in HEADINGS]
        yield f"| {width} | {int(rows):,} | {' | '.join(cells)} | {errors(by_form['ours'])} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--csv", type=Path, default=Path(__file__).parent / "results" / "kernels.csv")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bandwidths", default="5")
    parser.add_argument("--dtype", default="fp32")
    arguments = parser.parse_args()
    print(
        f"| columns | rows a side | one `z @ z.T` | {' | '.join(HEADINGS.values())} | our error, value and gradient |"
    )
    print("|" + "---:|" * (len(HEADINGS) + 3) + "---|")
    for row in rows_of(arguments.csv, arguments.device, arguments.bandwidths, arguments.dtype):
        print(row)


if __name__ == "__main__":
    main()
