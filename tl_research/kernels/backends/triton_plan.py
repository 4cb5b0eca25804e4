"""Which Triton path takes which sizes: a fixed table, so that the same call is the same arithmetic everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from tl_research.kernels.kernel import Kernel

#: Rows up to which one launch does everything, norms included.
SMALL = 512
#: Largest d whose gradient block a program keeps in registers.
TILE_D = 256
#: Rows up to which Gram panels by the library beat half-precision tiles, which have too few blocks to fill a device.
HALF_PANEL_ROWS = 4096
#: Bytes of one float32 Gram panel.
PANEL_BYTES = 256 * 2**20


class Tile(NamedTuple):
    """Rows and columns of a tile, and what a program of the launch gets."""

    rows: int
    columns: int
    warps: int
    stages: int


#: (dtype, small) -> largest padded d -> tile. What lives through the loop of a large half-precision tile is the Gram
#: block (rows, columns) and the gradient block (rows, d) in float32, spread over the registers of `warps`; float16
#: needs more of them, as its second product takes wider factors. Large float32 rows go by panels; the entry is for
#: comparison.
TILES = {
    (torch.bfloat16, True): {256: Tile(16, 64, 4, 2)},
    (torch.float16, True): {256: Tile(16, 64, 4, 2)},
    (torch.float32, True): {64: Tile(16, 64, 4, 2), 256: Tile(16, 32, 4, 2)},
    (torch.bfloat16, False): {128: Tile(128, 64, 8, 3), 256: Tile(128, 64, 8, 2)},
    (torch.float16, False): {128: Tile(128, 64, 8, 2), 256: Tile(128, 32, 8, 2)},
    (torch.float32, False): {64: Tile(64, 64, 8, 2), 256: Tile(32, 32, 8, 2)},
}
#: Rows up to which half-precision tiles are cut in two, for twice as many programs.
FEW_ROWS = 16384


@dataclass(frozen=True)
class Task:
    """Arguments of `Backend.row_sums` for one layer, as every path takes them; row i itself is column i if `own`."""

    rows: Tensor
    rows_x: int
    columns: Tensor
    columns_x: int
    row_weight: Tensor
    column_weight: Tensor
    scale: Tensor
    kernel: Kernel
    own: bool = False
    self_column: Tensor | None = None

    @property
    def classes(self) -> int:
        """C, the columns of the weights."""
        return self.column_weight.shape[1]

    @property
    def pad(self) -> int:
        """Classes as the kernels hold them."""
        return 1 if self.classes == 1 else max(16, 1 << (self.classes - 1).bit_length())

    @property
    def itself(self) -> str:
        """How a row's own column is known."""
        return "own" if self.own else "none" if self.self_column is None else "given"

    def family(self) -> dict:
        """Constants that choose the kernel function."""
        return {
            "FAMILY": self.kernel.family,
            "LEVELS": self.kernel.bandwidths[0].numel(),
            "DOUBLING": self.kernel.family == "gaussian" and self.kernel.doubling[0],
        }


def padded(d: int) -> int:
    """The power of 2 of at least 16 that holds d."""
    return max(16, 1 << (d - 1).bit_length())


def by_panels(task: Task) -> bool:
    """Whether Gram panels by the library take this call, and not the one-launch tiles."""
    n, d = task.rows.shape
    largest = max(n, len(task.columns))
    if d > TILE_D:
        return True
    if largest <= SMALL:
        return False
    return task.rows.dtype == torch.float32 or largest <= HALF_PANEL_ROWS


def tile(task: Task) -> Tile:
    """The tile of a call; half as many rows where programs are few, or where several classes need registers too."""
    n, d = task.rows.shape
    table = TILES[task.rows.dtype, max(n, len(task.columns)) <= SMALL]
    chosen = next(entry for largest, entry in table.items() if padded(d) <= largest)
    if chosen.rows == 128 and (n <= FEW_ROWS or task.pad > 1):
        chosen = Tile(64, chosen.columns, 4, chosen.stages)
    return chosen


def segments(task: Task, gradient: tuple[bool, bool]) -> list[tuple[int, int, bool]]:
    """Row ranges with whether their gradient is wanted, so that an unwanted side costs no gradient work."""
    n = len(task.rows)
    if gradient[0] == gradient[1]:
        ranges = [(0, n, gradient[0])]
    else:
        ranges = [(0, task.rows_x, gradient[0]), (task.rows_x, n, gradient[1])]
    return [(start, stop, wanted) for start, stop, wanted in ranges if stop > start]
