"""Which Triton path takes which sizes on which card: a fixed table, so that a call is the same arithmetic each time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from tl_research.kernels.kernel import Kernel

#: Rows in all up to which one launch does everything, norms included: the batches of a training, 512 per side.
SMALL = 1024
#: Largest d whose gradient block a program keeps in registers.
TILE_D = 256
#: The most programs that share the columns of one block of rows, where blocks are too few to fill a device.
MOST_SPLITS = 4


class Card(NamedTuple):
    """What the plan asks of a device.

    Fields:
        shared_memory: bytes of it that one block may have.
        processors: its multiprocessors.
        generation: first number of its compute capability, which says how its tensor cores are fed.
    """

    shared_memory: int
    processors: int
    generation: int


#: Of a device that is no CUDA one (the interpreter): one of the largest.
LARGEST_CARD = Card(227 * 1024, 132, 9)


@lru_cache
def card_of(device: torch.device) -> Card:
    """Return what the plan needs to know of a device."""
    if device.type != "cuda":
        return LARGEST_CARD
    found = torch.cuda.get_device_properties(device)
    return Card(found.shared_memory_per_block_optin, found.multi_processor_count, found.major)


class Tile(NamedTuple):
    """Rows and columns of a tile, and what a program of the launch gets."""

    rows: int
    columns: int
    warps: int
    stages: int


#: Of few rows; of several classes, whose sums take registers; of float32, whose products do.
SMALL_TILE, SMALL_CLASSES_TILE, SMALL_FLOAT_TILE = Tile(16, 64, 4, 2), Tile(16, 32, 4, 1), Tile(16, 32, 8, 2)
#: Of many half-precision rows by the card's generation, the best first; the plan takes the first that fits the card.
#: What lives through the loop is the Gram block (rows, columns) and the gradient block (rows, d) in float32, spread
#: over the registers of `warps`, beside what the tensor cores read: registers before 9, shared memory in 9, and a
#: memory of their own in 10.
LARGE_TILES = {
    9: [Tile(128, 64, 8, 3), Tile(128, 64, 8, 2), Tile(128, 32, 8, 2)],
    10: [Tile(128, 32, 8, 2)],
}
#: Columns of the tiles of other families, whose roots and logarithms take registers.
OTHER_FAMILIES_COLUMNS = 32
#: Of every other generation; the last one is for a card with less shared memory than any that is known.
ANY_TILES = [Tile(64, 64, 8, 2), Tile(64, 32, 4, 2), Tile(32, 32, 4, 1)]
#: Of many float32 rows, which go by panels; for comparison.
FLOAT_TILE = Tile(32, 32, 8, 2)


@dataclass(frozen=True)
class Task:
    """Arguments of `Backend.row_sums` as every path takes them; row i itself is column i if `own`.

    Rows and columns end in columns of 0, up to a multiple of 16; `widths` are those of the layers without them, which
    their gradients have.

    Without weights every row weighs 1 and `scale` is three numbers that the host knows; else weights and scale are
    float32 tensors.
    """

    rows: tuple[Tensor, ...]
    rows_x: int
    columns: tuple[Tensor, ...]
    columns_x: int
    row_weight: Tensor | None
    column_weight: Tensor | None
    scale: Tensor | tuple[float, float, float]
    kernel: Kernel
    widths: tuple[int, ...]
    own: bool = False
    self_column: Tensor | None = None

    @property
    def n(self) -> int:
        """Rows."""
        return self.rows[0].shape[0]

    @property
    def m(self) -> int:
        """Columns."""
        return self.columns[0].shape[0]

    @property
    def dtype(self) -> torch.dtype:
        """Of the rows of every layer."""
        return self.rows[0].dtype

    @property
    def device(self) -> torch.device:
        """Of the rows."""
        return self.rows[0].device

    @property
    def equal(self) -> bool:
        """Whether every row weighs 1."""
        return self.column_weight is None

    @property
    def classes(self) -> int:
        """C, the columns of the weights."""
        return 1 if self.column_weight is None else self.column_weight.shape[1]

    @property
    def pad(self) -> int:
        """Classes as the kernels hold them."""
        return 1 if self.classes == 1 else max(16, 1 << (self.classes - 1).bit_length())

    @property
    def itself(self) -> str:
        """How a row's own column is known."""
        return "own" if self.own else "none" if self.self_column is None else "given"

    def family(self) -> dict:
        """Constants that choose the kernel function; levels and doubling of each layer."""
        return {
            "FAMILY": self.kernel.family,
            "LEVELS": tuple(sigmas.numel() for sigmas in self.kernel.bandwidths),
            "DOUBLING": tuple(map(self.kernel.is_one_exponential, range(len(self.rows)))),
        }


def padded(d: int) -> int:
    """The power of 2 of at least 16 that holds d."""
    return max(16, 1 << (d - 1).bit_length())


def by_panels(task: Task) -> bool:
    """Whether Gram panels by the library take this call, and not the one-launch tiles."""
    largest = max(task.n, task.m)
    if len(task.rows) > 1 or task.rows[0].shape[1] > TILE_D:
        return True
    if largest <= SMALL:
        return False
    # Sums of several classes leave a large tile too few registers.
    if task.dtype == torch.float32 or task.pad > 1:
        return True
    # Too few programs to fill the device: the library's panels do. Estimated, not measured.
    return MOST_SPLITS * task.n < tile(task).rows * card_of(task.device).processors


def tile(task: Task) -> Tile:
    """The tile of a call: the best that fits the card."""
    single = task.dtype == torch.float32
    if max(task.n, task.m) <= SMALL:
        return SMALL_CLASSES_TILE if task.pad > 16 else SMALL_FLOAT_TILE if single else SMALL_TILE
    if single:
        return FLOAT_TILE
    card, width = card_of(task.device), padded(task.rows[0].shape[1])
    choices = LARGE_TILES.get(card.generation, [])
    if task.kernel.family != "gaussian":
        choices = [choice for choice in choices if choice.columns <= OTHER_FAMILIES_COLUMNS]
    choices = [*choices, *ANY_TILES]
    fitting = (tile for tile in choices if shared_memory(tile, width, card.generation) <= card.shared_memory)
    return next(fitting, choices[-1])


def shared_memory(tile: Tile, width: int, generation: int) -> int:
    """An upper bound of the bytes of shared memory that a program of a large half-precision tile takes.

    The rows, the columns of each stage with their norms and weights, and in 10 what goes by way of tensor memory.
    """
    between = 4 * tile.rows * tile.columns if generation == 10 else 0
    return 2 * (tile.rows * width + tile.stages * tile.columns * (width + 4)) + 16 * tile.rows + between


def splits(task: Task, blocks: int) -> int:
    """How many programs share the columns of a block of rows: up to `MOST_SPLITS`, for two programs per processor."""
    if max(task.n, task.m) <= SMALL:
        return 1
    wanted, shares = 2 * card_of(task.device).processors, 1
    while shares < MOST_SPLITS and shares * blocks < wanted:
        shares *= 2
    return shares


def blocks_of_sides(task: Task, start: int, stop: int, rows: int) -> int:
    """How many blocks of so many rows a range has, if none holds rows of both sides."""
    border = min(max(task.rows_x, start), stop)
    return -(-(border - start) // rows) + -(-(stop - border) // rows)


def segments(task: Task, gradient: tuple[bool, bool]) -> list[tuple[int, int, bool]]:
    """Row ranges with whether their gradient is wanted, so that an unwanted side costs no gradient work."""
    if gradient[0] == gradient[1]:
        ranges = [(0, task.n, gradient[0])]
    else:
        ranges = [(0, task.rows_x, gradient[0]), (task.rows_x, task.n, gradient[1])]
    return [(start, stop, wanted) for start, stop, wanted in ranges if stop > start]
