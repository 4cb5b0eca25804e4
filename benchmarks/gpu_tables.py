"""The tables of a card in docs/kernels.md, from the CSV files that gpu.sh has written.

    python benchmarks/gpu_tables.py [--folder benchmarks/results/gpu] [--page docs/kernels.md] [--device cuda]

Writes between the two marks of the page, one part per card and versions. Without a measured line it writes
"not measured" and nothing else. `--device cpu` shows the miniatures of `gpu.sh --dry-run`, which belong on a page of
their own: where the page is not there yet, it begins as docs/kernels.md.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import gpu_sections as sections
from card import IDENTITY
from cells import ROOT, read_lines

PAGE = ROOT / "docs" / "kernels.md"
BEGIN = "<!-- benchmarks/gpu_tables.py writes from here -->"
END = "<!-- to here -->"
DEVICES = {"cuda": ("cuda", "gpu"), "cpu": ("cpu",)}
#: Heading, CSV file, and what makes a table of its lines.
PARTS = [
    ("Correctness", "tests.csv", sections.tests),
    ("Measured rates", "rates.csv", sections.rates),
    ("Forward and backward", "kernels.csv", sections.grid),
    ("Small batches", "host_time.csv", sections.host_time),
    ("Panels against tiles, bfloat16", "paths.csv", sections.paths),
    ("A step on images beside a plain loop", "scaling.csv", sections.vision),
    ("Closed forms", "closed_form.csv", sections.closed_form),
    ("Scaling", "scaling.csv", sections.scaling),
]


def measured(path: Path, device: str) -> list[dict]:
    """Lines of the device with its name."""
    return [line for line in read_lines(path) if line["device"] in DEVICES[device] and line["card"]]


def text(folder: Path, device: str) -> str:
    lines = {file: measured(folder / file, device) for _, file, _ in PARTS}
    cards = sorted({tuple(line[name] for name in IDENTITY) for found in lines.values() for line in found})
    return "\n\n".join(part for card in cards for part in of_card(card, lines)) or "not measured"


def of_card(card: tuple[str, ...], lines: dict[str, list[dict]]) -> list[str]:
    name, torch_version, triton_version = card
    said = [f"### {name}: torch {torch_version}, triton {triton_version}"]
    for heading, file, make in PARTS:
        own = [line for line in lines[file] if tuple(line[name] for name in IDENTITY) == card]
        said += [f"#### {heading}", "\n".join(make(own)) if own else "not measured"]
    return said


def folded(page: str, tables: str) -> str:
    before, _, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise SystemExit(f"the page lacks the marks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{tables}\n\n{END}{after}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, default=ROOT / "benchmarks" / "results" / "gpu")
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--device", choices=list(DEVICES), default="cuda")
    arguments = parser.parse_args()
    if arguments.device == "cpu" and arguments.page.resolve() == PAGE:
        parser.error("--page: miniatures do not belong in docs/kernels.md")
    tables = text(arguments.folder, arguments.device)
    page = (arguments.page if arguments.page.exists() else PAGE).read_text(encoding="utf-8")
    arguments.page.write_text(folded(page, tables), encoding="utf-8")
    print(tables)
    return 0


if __name__ == "__main__":
    sys.exit(main())
