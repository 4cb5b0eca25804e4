"""The tables of docs/kernels.md from the figures of kernels.py.

    python benchmarks/kernels_table.py [--csv benchmarks/results/kernels.csv] [--device cpu]
                                       [--bandwidths 5] [--dtype fp32] [--memory]

Seconds of one forward and backward, in brackets multiples of one full Gram product `z @ z.T` of the same cell; or
megabytes beyond the inputs, of the cells that have been measured.
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


def megabytes(line: dict | None) -> str:
    if line is None or not line["peak_mb"]:
        return "" if line is None or line["status"] == "ok" else line["status"]
    return f"{float(line['peak_mb']):,.1f}"


def errors(line: dict) -> str:
    if not line.get("value_error"):
        return "not measured"
    return f"{float(line['value_error']):.0e}, {float(line['gradient_error']):.0e}".replace("e-0", "e-")


def cells(path: Path, device: str, bandwidths: str, dtype: str):
    """Width, rows per side and lines by form."""
    with path.open(newline="") as file:
        lines = list(csv.DictReader(file))
    asked = device, bandwidths, dtype
    wanted = [line for line in lines if (line["device"], line["bandwidths"], line["dtype"]) == asked]
    wanted.sort(key=lambda line: (int(line["width"]), int(line["rows"])))
    for (width, rows), cell in groupby(wanted, key=lambda line: (line["width"], line["rows"])):
        yield width, f"{int(rows):,}", {line["form"]: line for line in cell}


def print_seconds(found) -> None:
    print(
        f"| columns | rows per side | one `z @ z.T` | {' | '.join(HEADINGS.values())} | our error, value and gradient |"
    )
    print("|" + "---:|" * (len(HEADINGS) + 3) + "---|")
    for width, rows, forms in found:
        product = forms["z @ z.T"]
        words = [f"{float(product['seconds']):.2g}" + ("" if product["status"] == "ok" else " (scaled)")]
        words += [figure(forms.get(form)) for form in HEADINGS]
        print(f"| {width} | {rows} | {' | '.join(words)} | {errors(forms['ours'])} |")


def print_memory(found) -> None:
    print(f"| columns | rows per side | {' | '.join(HEADINGS.values())} |")
    print("|" + "---:|" * (len(HEADINGS) + 2))
    for width, rows, forms in found:
        if forms["ours"]["peak_mb"]:
            print(f"| {width} | {rows} | {' | '.join(megabytes(forms.get(form)) for form in HEADINGS)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--csv", type=Path, default=Path(__file__).parent / "results" / "kernels.csv")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bandwidths", default="5")
    parser.add_argument("--dtype", default="fp32")
    parser.add_argument("--memory", action="store_true")
    arguments = parser.parse_args()
    found = cells(arguments.csv, arguments.device, arguments.bandwidths, arguments.dtype)
    (print_memory if arguments.memory else print_seconds)(found)


if __name__ == "__main__":
    main()
