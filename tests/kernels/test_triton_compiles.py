"""What the plan would launch compiles for the cards that `available` accepts, and fits them; no device is needed."""

import csv
import os
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import kernels_ahead as ahead

from tests.contracts.chosen import changed_files
from tl_research.kernels.backends import triton_plan

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("triton") is None, reason="needs triton"),
    pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="the interpreter compiles nothing"),
]
#: What takes the most shared memory and registers, of the card that tiles are made for. All cells of the table take
#: minutes: `--all` compiles them, and a branch that changes the kernels all of that card, and these of the others.
LARGEST = [
    ahead.Cell(32768, 256, "bfloat16"),
    ahead.Cell(512, 256, "bfloat16", 64),
    ahead.Cell(8192, 256, "bfloat16", 64),
]
if os.environ.get("TL_RESEARCH_ALL_METHODS"):
    LARGEST = ahead.CELLS
KERNELS = Path(triton_plan.__file__).parent
_files = changed_files()
HAS_CHANGED = _files is None or any(KERNELS in file.parents for file in _files)
CASES = [(ahead.TUNED, cell) for cell in (ahead.CELLS if HAS_CHANGED else LARGEST)]
if HAS_CHANGED or LARGEST is ahead.CELLS:
    CASES += [(card, cell) for card in ahead.CARDS if card != ahead.TUNED for cell in LARGEST]


def committed(capability, cell, kernel):
    """The line of the table, made with this Triton, or None."""
    key = [version("triton"), f"sm_{capability}", *map(str, cell), kernel]
    with ahead.OUT.open(newline="") as file:
        return next((line for line in csv.DictReader(file) if [*line.values()][: len(key)] == key), None)


@pytest.mark.parametrize(("capability", "cell"), CASES, ids=lambda part: str(part))
def test_it_compiles_and_fits(capability, cell):
    compiled = ahead.compile_cell(cell, capability)
    assert compiled
    for kernel in compiled:
        assert kernel.shared <= ahead.CARDS[capability].shared_memory
        assert not kernel.remarks
        known = committed(capability, cell, kernel.kernel)
        if capability == ahead.TUNED:
            assert kernel.spilled <= ahead.TUNED_SPILLS
            many = cell.rows > triton_plan.SMALL
            half = cell.dtype != "float32" and cell.classes <= 1
            if kernel.kernel == "_tiles" and half:
                assert ("wgmma" in kernel.products) == many
                if many and cell.classes == 0 and cell.doubling:
                    assert kernel.instructions_per_element <= 28
        elif known:
            assert kernel.spilled <= int(known["spilled"]), "it grew"


@pytest.mark.parametrize("width", [16, 64, 128, 256])
@pytest.mark.parametrize("capability", ahead.CARDS)
def test_the_bound_of_shared_memory_is_one(capability, width):
    with ahead.OUT.open(newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["card"] == f"sm_{capability}"]
    card = ahead.CARDS[capability]
    tiles = [*triton_plan.LARGE_TILES.get(card.generation, []), *triton_plan.ANY_TILES]
    bounds = [triton_plan.shared_memory(tile, width, card.generation) for tile in tiles]
    chosen = next(bound for bound in bounds if bound <= card.shared_memory)
    for line in lines:
        large = line["kernel"] == "_tiles" and int(line["rows"]) > triton_plan.SMALL
        if large and triton_plan.padded(int(line["d"])) == width:
            assert int(line["shared"]) <= chosen


def test_a_card_that_nobody_has_tried_gets_what_fits(monkeypatch):
    import torch

    from tl_research.kernels.kernel import Kernel

    small = triton_plan.Card(48 * 1024, 20, 13)
    monkeypatch.setattr(triton_plan, "card_of", lambda device: small)
    z = (torch.empty(32768, 256, dtype=torch.bfloat16, device="meta"),)
    sigmas = torch.empty(5, dtype=torch.float64, device="meta")
    task = triton_plan.Task(z, 9, z, 9, None, None, (1.0, 1.0, -1.0), Kernel("gaussian", (sigmas,), (True,)), (256,))
    assert triton_plan.shared_memory(triton_plan.tile(task), 256, small.generation) <= small.shared_memory
