"""Which rows of a large file are read, and whether the rows that are not agree with what was decided on those that are.

The sample is exactly uniform, and a function of the seed and the number of rows alone. Rows with a label come first
where labels are few: they are what a new market is short of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tl_research.data.readers.cells import Cells, spell
from tl_research.data.readers.number_text import PLAIN
from tl_research.data.readers.rules import ColumnRule
from tl_research.errors import DataError

if TYPE_CHECKING:
    from tl_research.data.readers.schema import Schema

#: From a name to that column of a file as it stands, whole; None where the file has none of that name.
ColumnOf = Callable[[str], "pd.Series | None"]
#: From the number of rows of a file to the places (k,) of those to read, sorted; None for all.
Choice = Callable[[int, ColumnOf], "np.ndarray | None"]
#: From names to pieces of these columns: the number of the first row, and the columns by name.
Pieces = Callable[[Sequence[str]], Iterator[tuple[int, Mapping[str, Any]]]]
_PLAIN_OR_EMPTY = rf"^\s*(?:{PLAIN})?\s*$"


@dataclass(frozen=True)
class Sampling:
    """A draw of rows.

    Fields:
        rows: at most so many of a population.
        seed: of the draw.
        labelled: says which rows (n,) bool of the file come first, or None; None: all rows are alike.
        population_of: says of which population (n,) a row is, None where it is not read; None: all rows are of one.
        few_labels: populations whose labelled rows come first; without `population_of` the file is one.
    """

    rows: int
    seed: int = 0
    labelled: Callable[[ColumnOf], np.ndarray | None] | None = None
    population_of: Callable[[ColumnOf], np.ndarray] | None = None
    few_labels: tuple[str, ...] = ()

    def places(self, total: int, column: ColumnOf) -> np.ndarray | None:
        """Choose among `total` rows; a `Choice`."""
        if total <= self.rows:
            return None
        labelled = self.labelled(column) if self.labelled is not None else None
        if self.population_of is None:
            return self._drawn(np.arange(total), labelled)
        population = self.population_of(column)
        found = [np.zeros(0, dtype=np.int64)]
        for name in pd.unique(population):
            own = np.flatnonzero(population == name)
            first = labelled[own] if labelled is not None and name in self.few_labels else None
            found += [self._drawn(own, first)] if name is not None else []
        return np.sort(np.concatenate(found))

    def _drawn(self, places: np.ndarray, labelled: np.ndarray | None) -> np.ndarray:
        """Draw of the places (n,) of one population, of the `labelled` ones (n,) first."""
        if len(places) <= self.rows:
            return places
        rng = np.random.default_rng([self.seed, len(places)])
        if labelled is None:
            return np.sort(rng.choice(places, self.rows, replace=False, shuffle=False))
        first, rest = places[labelled], places[~labelled]
        if len(first) >= self.rows:
            return np.sort(rng.choice(first, self.rows, replace=False, shuffle=False))
        drawn = rng.choice(rest, self.rows - len(first), replace=False, shuffle=False)
        return np.sort(np.concatenate([first, drawn]))


@dataclass(frozen=True)
class Unread:
    """A file of which a sample is read.

    Fields:
        total: rows of the file.
        pieces: gives columns of the whole file piece by piece.
    """

    total: int
    pieces: Pieces

    def refuse_contradictions(self, schema: Schema, origin: str, label: str | None, *, typed: bool) -> None:
        """Read in all rows of the file what the schema reads as numbers or dates from text.

        Raises:
            DataError: the first cell of a column that its rule cannot read, as if the row were in the sample.
        """
        rules = schema.columns | ({label: schema.label} if label is not None and schema.label is not None else {})
        wanted = {name: rule for name, rule in rules.items() if rule.kind in ("number", "date")}
        for first, columns in self.pieces(list(wanted)):
            for name, column in columns.items():
                place = _first_contradiction(wanted[name], column)
                if place is None:
                    continue
                cell = pd.Series([column[place].as_py()], name=name, dtype=object)
                try:
                    wanted[name].apply(Cells(cell, origin, typed=typed, numbers=np.array([first + place])))
                except DataError as error:
                    raise DataError(
                        f"{error}; what the column holds was decided on a sample of the rows (data.rows), which this "
                        f"row is not in; data.schema.{name} says otherwise"
                    ) from None


def _first_contradiction(rule: ColumnRule, column: pa.Array) -> int | None:
    """Place of the first text that the rule cannot read; None where there is none, or the cells are no texts."""
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return None
    odd = column
    if rule.kind == "number" and not rule.unreadable(["1"]):
        odd = column.filter(pc.invert(pc.match_substring_regex(column, _PLAIN_OR_EMPTY)))
    texts = {text: spelled for text in pc.unique(odd).to_pylist() if text is not None and (spelled := spell(text))}
    bad = set(rule.unreadable(list(texts.values())))
    wrong = [text for text, spelled in texts.items() if spelled in bad]
    if not wrong:
        return None
    return int(pc.index(pc.is_in(column, value_set=pa.array(wrong, column.type)), True).as_py())
