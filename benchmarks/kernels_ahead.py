"""Compile the Triton kernels ahead of time for cards that are not here, and say whether they fit.

No device is needed: a stub names the card, and every launch of the plan becomes a compilation on tensors without
memory, so that signature, constants, warps and stages are those of the plan.

    python benchmarks/kernels_ahead.py            # every cell of the table, into benchmarks/results/kernels_ahead.csv
    python benchmarks/kernels_ahead.py --page     # writes that table into docs/kernels.md
"""

from __future__ import annotations

import argparse
import csv
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import torch
from cells import write_between

from tl_research.kernels.backends.triton_plan import Card
from tl_research.kernels.kernel import Kernel

#: Compute capability -> what the plan asks of such a card.
CARDS = {
    80: Card(163 * 1024, 108, 8),
    86: Card(99 * 1024, 84, 8),
    90: Card(227 * 1024, 132, 9),
    100: Card(227 * 1024, 148, 10),
    120: Card(99 * 1024, 170, 12),
}
ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "benchmarks" / "results" / "kernels_ahead.csv"
PAGE = ROOT / "docs" / "kernels.md"
MARKS = "<!-- compiled ahead of time: begin -->", "<!-- compiled ahead of time: end -->"
#: The card that the tiles are made for, and the bytes of registers that may be spilled there: more is slow, not wrong.
TUNED, TUNED_SPILLS = 90, 256


class Cell(NamedTuple):
    """A call of the plan: rows in all, their width and type, classes of the weights (0: none), kernel, product."""

    rows: int
    d: int
    dtype: str
    classes: int = 0
    family: str = "gaussian"
    levels: int = 5
    doubling: bool = True
    product: str = "none"
    layers: int = 1


class Compiled(NamedTuple):
    """One kernel of a cell: bytes of shared memory, registers per thread, bytes spilled, instructions, remarks."""

    kernel: str
    shared: int
    registers: int
    spilled: int
    products: str
    instructions_per_element: float
    remarks: str


#: Every entry of the plan's tables, what several classes, layers and the other families take.
CELLS = [
    *(Cell(rows, 256, "float32") for rows in (128, 8192)),
    *(Cell(128, d, "float32") for d in (8, 64)),
    Cell(128, 2048, "float32"),
    *(
        Cell(rows, d, dtype)
        for dtype in ("bfloat16", "float16")
        for rows, d in ((128, 8), (512, 256), (2048, 256), (8192, 64), (8192, 256), (32768, 128), (32768, 256))
    ),
    *(Cell(rows, 256, "bfloat16", classes) for rows in (512, 8192) for classes in (1, 3, 31, 64)),
    *(Cell(512, 256, "float16", classes) for classes in (1, 31)),
    *(Cell(8192, 256, "float16", classes) for classes in (1, 31)),
    *(Cell(8192, 256, "bfloat16", 1, product=product) for product in ("weight_gradient", "plain")),
    *(
        Cell(rows, 256, "bfloat16", 0, family, 2, False)
        for rows in (512, 32768)
        for family in ("gaussian", "laplacian")
    ),
    *(Cell(rows, 256, "bfloat16", 0, "rational_quadratic", 5, False) for rows in (512, 32768)),
    *(Cell(512, 256, dtype, 1, layers=2) for dtype in ("float32", "bfloat16")),
    Cell(8192, 100, "bfloat16"),
]


class _Stub:
    """Stands for a card: launches compile for it and run nowhere."""

    def __init__(self, capability: int):
        from triton.backends.compiler import GPUTarget

        self.target = GPUTarget("cuda", capability, 32)
        self.kernels: list = []

    def get_current_target(self):
        return self.target

    def get_current_device(self) -> int:
        return self.target.arch  # a cache of its own for every card

    def get_current_stream(self, device=None) -> int:
        return 0


@contextmanager
def compiling(capability: int) -> Iterator[list]:
    """Give the list that the kernels of every launch inside are added to, by name; nothing runs."""
    from triton.runtime.driver import driver
    from triton.runtime.jit import JITFunction

    from tl_research.kernels.backends import triton_plan

    stub, launch, card_of = _Stub(capability), JITFunction.run, triton_plan.card_of

    def compiled(self, *arguments, grid, warmup, **options):
        kernel = launch(self, *arguments, grid=grid, warmup=True, **options)
        stub.kernels.append((self.fn.__name__, kernel))
        return kernel

    active = driver._active
    JITFunction.run, driver._active, triton_plan.card_of = compiled, stub, lambda device: CARDS[capability]
    try:
        yield stub.kernels
    finally:
        JITFunction.run, driver._active, triton_plan.card_of = launch, active, card_of


def compile_cell(cell: Cell, capability: int) -> list[Compiled]:
    """Compile what the plan launches for a cell on a card; every kernel once."""
    from tl_research.kernels.backends import triton_panels, triton_plan, triton_tiles

    def meta(*shape, dtype):
        return torch.empty(*shape, dtype=dtype, device="meta")

    width = cell.d + -cell.d % 16
    z = tuple(meta(cell.rows, width, dtype=getattr(torch, cell.dtype)) for _ in range(cell.layers))
    equal = cell.classes == 0
    weight = None if equal else meta(cell.rows, cell.classes, dtype=torch.float32)
    scale = (1.0, 1.0, -1.0) if equal else meta(3, cell.classes, dtype=torch.float32)
    sigmas = meta(cell.levels, dtype=torch.float64)
    kernel = Kernel(cell.family, (sigmas,) * cell.layers, (cell.doubling,) * cell.layers, 1.5)
    task = triton_plan.Task(
        z, cell.rows // 2, z, cell.rows // 2, weight, weight, scale, kernel, (cell.d,) * cell.layers, own=True
    )
    gradient = (cell.product != "plain",) * 2
    with compiling(capability) as launched:
        path = triton_panels if triton_plan.by_panels(task) else triton_tiles
        path.run(task, gradient, cell.product)
        tile = triton_plan.tile(task) if path is triton_tiles else None
    elements = None if tile is None else tile.rows * tile.columns / (32 * tile.warps)
    return [_read(name, kernel, capability, elements) for name, kernel in dict(launched).items()]


def _read(name: str, kernel, capability: int, elements: float | None) -> Compiled:
    said = _ptxas(kernel, capability)
    text = kernel.asm["ptx"]
    products = sorted(
        {".".join(found) for found in re.findall(r"(wgmma|mma\.sync|tcgen05\.mma)[^;\n]*?\.(m\d+n\d+k\d+)", text)}
    )
    return Compiled(
        name,
        kernel.metadata.shared,
        int(re.search(r"Used (\d+) registers", said)[1]),
        int(re.search(r"(\d+) bytes spill stores", said)[1]),
        ", ".join(products) or ("tcgen05" if "tcgen05" in text else "none"),
        0.0 if elements is None else round(_loop_length(kernel) / elements, 1),
        "serialized" if "serialized" in said else "",
    )


def _tool(name: str) -> Path:
    import triton

    return Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / name


def _ptxas(kernel, capability: int) -> str:
    """What the assembler says of a kernel: registers, spills, remarks."""
    newer = _tool("ptxas-blackwell")
    ptxas = newer if capability >= 90 and newer.exists() else _tool("ptxas")
    target = re.search(r"\.target (\w+)", kernel.asm["ptx"])[1]
    command = [ptxas, "-v", f"--gpu-name={target}", "-o", "/dev/null", "-"]
    done = subprocess.run(command, input=kernel.asm["ptx"], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stderr


def _loop_length(kernel) -> int:
    """Instructions of the first loop that multiplies, which is the one over tiles that the diagonal does not meet."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(kernel.asm["cubin"])
        file.flush()
        done = subprocess.run([_tool("cuobjdump"), "-sass", file.name], capture_output=True, text=True, check=True)
    lines = [(int(at, 16), text) for at, text in re.findall(r"/\*([0-9a-f]{4,})\*/\s+(.*?);", done.stdout)]
    for at, text in lines:
        back = re.search(r"\bBRA\S*\s.*?(0x[0-9a-f]+)", text)
        if back and int(back[1], 16) < at:
            loop = [text for where, text in lines if int(back[1], 16) <= where <= at]
            if any(product in text for text in loop for product in ("MMA", "FFMA")):
                return len(loop)
    return 0


def calls(cell: Cell) -> str:
    """A cell in words, as a row of the table has it."""
    words = [f"{cell.rows:,} × {cell.d}", cell.dtype]
    if cell.family != "gaussian" or not cell.doubling:
        words.append(f"{cell.family.replace('_', ' ')}, {cell.levels} bandwidths")
    if cell.classes:
        words.append("weights" if cell.classes == 1 else f"{cell.classes} classes")
    if cell.layers > 1:
        words.append(f"{cell.layers} layers")
    if cell.product != "none":
        words.append(cell.product.replace("_", " "))
    return ", ".join(words)


def table(lines: list[dict[str, str]]) -> str:
    """A table of the compiled kernels for the page: shared memory / registers / bytes spilled for each card."""
    cards = [f"sm_{capability}" for capability in CARDS]
    versions = sorted({line["triton"] for line in lines}, key=lambda version: [*map(int, version.split("."))])
    found = {}
    for line in lines:
        if not line["kernel"].endswith("norms") and line["triton"] == versions[-1]:
            found.setdefault((calls(cell_of(line)), line["kernel"]), {})[line["card"]] = line
    rows = [
        f"Triton {versions[-1]}; `shared memory in bytes / registers per thread / bytes spilled`.",
        "",
        f"| rows in all × columns | kernel | {' | '.join(cards)} | products, sm_90 | instructions per element, sm_90 |",
        f"|---|---|{'---|' * len(cards)}---|---:|",
    ]
    for (words, kernel), by_card in found.items():
        shown = [
            f"{int(line['shared']):,} / {line['registers']} / {int(line['spilled']):,} {line['remarks']}".rstrip()
            if line
            else "–"
            for line in map(by_card.get, cards)
        ]
        tuned = by_card.get(f"sm_{TUNED}")
        products = tuned["products"] if tuned else "–"
        counted = tuned["instructions_per_element"] if "wgmma" in products else "–"
        rows.append(f"| {words} | `{kernel}` | {' | '.join(shown)} | {products} | {counted} |")
    for older in versions[:-1]:
        theirs = [line for line in lines if line["triton"] == older]
        worse = [line for line in theirs if int(line["spilled"]) > TUNED_SPILLS and line["card"] == f"sm_{TUNED}"]
        serialized = sum(bool(line["remarks"]) for line in theirs)
        rows += [
            "",
            f"Triton {older}: {len(theirs)} kernels compile and fit; on sm_{TUNED} {len(worse)} spill more than "
            f"{TUNED_SPILLS} bytes; {serialized} are serialized.",
        ]
    return "\n".join(rows) + "\n"


def cell_of(line: dict[str, str]) -> Cell:
    """The cell of a line of the CSV file."""
    return Cell(
        *(int(line[name]) for name in ("rows", "d")),
        line["dtype"],
        int(line["classes"]),
        line["family"],
        int(line["levels"]),
        line["doubling"] == "True",
        line["product"],
        int(line["layers"]),
    )


def write_page(lines: list[dict[str, str]], page: Path) -> None:
    """Put the table between the two marks of the page."""
    write_between(page, table(lines), MARKS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cards", type=int, nargs="+", default=list(CARDS), choices=list(CARDS))
    parser.add_argument("--cells", type=int, nargs="+", help="numbers of cells, from 0; else all of them")
    parser.add_argument("--out", type=Path, default=OUT, help="lines of other cells, cards and versions stay there")
    parser.add_argument("--page", action="store_true", help="compile nothing, write the table")
    arguments = parser.parse_args()
    kept = []
    if arguments.out.exists():
        with arguments.out.open(newline="") as file:
            kept = list(csv.DictReader(file))
    if arguments.page:
        write_page(kept, PAGE)
        print(f"written: {PAGE.relative_to(ROOT)}")
        return
    chosen = CELLS if arguments.cells is None else [CELLS[number] for number in arguments.cells]
    ours = version("triton")
    again = {(ours, f"sm_{capability}", cell) for cell in chosen for capability in arguments.cards}
    names = ["triton", "card", *Cell._fields, *Compiled._fields]
    with arguments.out.open("w", newline="") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(line for line in kept if (line["triton"], line["card"], cell_of(line)) not in again)
        for cell in chosen:
            for capability in arguments.cards:
                for compiled in compile_cell(cell, capability):
                    values = [ours, f"sm_{capability}", *cell, *compiled]
                    writer.writerow(dict(zip(names, values)))
                    print(*values, flush=True)


if __name__ == "__main__":
    sys.exit(main())
