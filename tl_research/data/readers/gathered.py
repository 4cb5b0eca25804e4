"""The distinct values of one column in all files of a run: what a decision looks at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import pandas as pd

from tl_research.data.readers.cells import DATE, EMPTY, NUMBER, Cells, first_cell, is_missing_word
from tl_research.data.readers.number_text import LARGEST_EXACT
from tl_research.data.readers.rules import ColumnRule

Decision = tuple[ColumnRule, list[str]]


@dataclass
class Gathered:
    """The distinct values of one column in all files.

    Fields:
        files: those that have any value.
        every: all files.
        missing: spellings that mean "no value" (`data.missing`).
    """

    files: list[Cells]
    every: Sequence[Cells]
    missing: tuple[str, ...]

    @classmethod
    def of(cls, every: Sequence[Cells], missing: Iterable[str]) -> Gathered:
        """Gather the cells of one column.

        Args:
            every: its cells, file by file.
            missing: texts that stand for a missing value.
        """
        return cls([cells for cells in every if cells.kind != EMPTY], every, tuple(missing))

    def __post_init__(self):
        self.name = self.every[0].name
        self.of_text = [cells for cells in self.files if cells.is_text]
        self.of_numbers = [cells for cells in self.files if cells.kind == NUMBER]
        self.of_dates = [cells for cells in self.files if cells.kind == DATE]
        if len(self.of_text) == 1:
            found = self.of_text[0].values
        else:
            found = list(dict.fromkeys(chain.from_iterable(cells.values for cells in self.of_text)))
        present = [value for value in found if value not in self.missing] if self.missing else list(found)
        short = (value for value in present if len(value) < 9 and not value[0].isdigit())
        self.words = [value for value in short if is_missing_word(value)]
        words = set(self.words)
        self.texts = [value for value in present if value not in words] if words else present

    @property
    def origins(self) -> str:
        """The files, for a remark."""
        names = [cells.origin for cells in self.every]
        return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")

    @property
    def where(self) -> str:
        """The column and its files, for a remark."""
        return f"column {self.name!r} ({self.origins})"

    def say(self, kind: str) -> str:
        """The key that decides for the user."""
        return f"data.schema.{self.name}={kind}"

    def first(self, values: Iterable[str]) -> tuple[Cells, int, str]:
        """File, row and spelling of the first cell with one of these texts."""
        cells, row = first_cell(self.of_text, values)
        return cells, row, cells.values[cells.codes[row]]

    def whole_values(self) -> list[str]:
        """The distinct values of files that type them as whole numbers, where these may be codes or days."""
        found: dict[str, None] = {}
        for cells in self.of_numbers:
            dtype = cells.column.dtype
            if pd.api.types.is_float_dtype(dtype):
                continue
            if pd.api.types.is_integer_dtype(dtype):
                low, high = int(cells.column.min()), int(cells.column.max())
                if max(-low, high) <= LARGEST_EXACT and not (low >= 19000101 and high <= 21001231):
                    continue
            found.update(dict.fromkeys(cells.values))
        return list(found)

    def cells_with(self, values: Iterable[str]) -> int:
        """Number of cells that have one of these spellings."""
        wanted = set(values)
        return sum(int(cells.rows_of(wanted).sum()) for cells in self.of_text)


def is_few(bad: int, good: int) -> bool:
    """Whether the bad values are so few beside the good ones that the rule holds and they are mistakes."""
    return good >= 2 and bad <= max(1, (bad + good) // 10)


def counted(column: Gathered, words: list[str]) -> str:
    """Say how many cells have one of these words, up to the verb."""
    count = column.cells_with(words)
    shown = ", ".join(map(repr, words[:4])) + (", ..." if len(words) > 4 else "")
    return f"{count} cell{'' if count == 1 else 's'} {shown} {'is' if count == 1 else 'are'} read"


def missing_remarks(column: Gathered) -> list[str]:
    """Say which words of a column of numbers or dates were read as no value."""
    return [f"{column.where}: {counted(column, column.words)} as no value"] if column.words else []
