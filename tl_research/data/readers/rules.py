"""How the cells of a column are read: one `ColumnRule`, decided once over all files, applied to any rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tl_research.data.readers import dates
from tl_research.data.readers.cells import DATE, EMPTY, NUMBER, Cells, first_cell, is_missing_word
from tl_research.data.readers.date_parts import part_columns, part_names
from tl_research.data.readers.many_values import with_other
from tl_research.data.readers.number_text import as_floats, form, infinite_mask, plain_mask
from tl_research.errors import DataError

KINDS = ("number", "category", "text", "date", "drop")
#: Inputs and losses are 32-bit floats.
LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class ColumnRule:
    """What a cell of a column means, whatever cells are beside it.

    Fields:
        kind: `number`, `category`, `text`, `date` (a number of days since 1970-01-01, or of hours), `drop` (not read).
        decimal, thousands: marks of a number.
        unit: what stands beside each number (`%`, `$`, `kg`); empty: nothing does.
        bare: whether a number without the unit is read too.
        parts: of a date: further columns of it, see `date_parts`.
        order: of a date whose year comes last: `dmy` or `mdy`; `clock` for clock times; empty where none is needed.
        words: whether words such as NA and null mean "no value", as they do in a column of numbers or dates.
        missing: further spellings that mean so (`data.missing`).
        kept: of a category of very many values, those that are read; all others are `many_values.OTHER`. Empty: all.
        reason: why a column is not read.
    """

    kind: str = "category"
    decimal: str = "."
    thousands: str = ""
    unit: str = ""
    bare: bool = False
    order: str = ""
    parts: tuple[str, ...] = ()
    words: bool = True
    missing: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    reason: str = ""

    def apply(self, cells: Cells) -> pd.Series:
        """Read the cells: float64 with nan where missing, or object with None where missing.

        Raises:
            DataError: a cell that is no number, or no date, by this rule; its file, row and column are named.
        """
        if self.kind in ("category", "text"):
            values = cells.text(self.missing, words=self.words)
            column = pd.Series(values, index=cells.column.index, name=cells.name, dtype=object)
            return with_other(column, self.kept) if self.kept else column
        number = self._days(cells) if self.kind == "date" else self._numbers(cells)
        refuse_infinite(number, cells)
        return pd.Series(number, index=cells.column.index, name=cells.name)

    def outputs(self, name: str) -> tuple[str, ...]:
        """Return the names of the columns that a column of this name becomes: itself, and parts of a date."""
        return () if self.kind == "drop" else (name, *part_names(name, self.parts))

    def read(self, cells: Cells) -> dict[str, pd.Series]:
        """Read the cells as `outputs` names them; errors are those of `apply`."""
        column = self.apply(cells)
        days = column.to_numpy() if self.parts else np.zeros(0)
        parts = part_columns(str(cells.name), days, self.parts, clock=self.order == "clock")
        return {cells.name: column} | {name: pd.Series(part, index=column.index) for name, part in parts.items()}

    def days_of(self, cells: Cells) -> np.ndarray:
        """Return the distinct days (k,) of cells that this rule reads as dates.

        Raises:
            DataError: a cell is none.
        """
        if cells.kind == DATE:
            return np.array([*map(dates.of_value, pd.Index(pd.unique(cells.column.dropna())).tolist())], dtype=float)
        return np.unique(self._days(cells))

    def is_missing(self, value: str) -> bool:
        """Whether a spelling means "no value" by this rule."""
        return value in self.missing or (self.words and is_missing_word(value))

    @property
    def is_plain(self) -> bool:
        """Whether numbers are read as programs write them."""
        return self.decimal == "." and not self.thousands and not self.unit

    def _numbers(self, cells: Cells) -> np.ndarray:
        if cells.kind == NUMBER and pd.api.types.is_numeric_dtype(cells.column.dtype):
            number = cells.column.to_numpy(dtype=np.float64, na_value=np.nan, copy=True)
            self._refuse_bare(~np.isnan(number), cells)
            for word in self.missing:
                if plain_mask([word])[0]:
                    number[number == float(word)] = np.nan
            return number
        if cells.kind == EMPTY:
            return np.full(len(cells), np.nan)
        if cells.kind == DATE:
            raise DataError(f"{cells.origin}, column {cells.name!r} holds dates or times, wants numbers")
        number, wrong = self.parse(cells.values)
        if wrong:
            found, row = first_cell([cells], wrong)
            value = cells.values[cells.codes[row]]
            raise DataError(f"{found.place(row)}: {value!r} is not a number{self._as_wanted()}")
        if cells.kind == NUMBER:
            self._refuse_bare(cells.codes >= 0, cells)
        return np.append(number, np.nan)[cells.codes]

    def parse(self, values: list[str]) -> tuple[np.ndarray, list[str]]:
        """Return (k,) float64, nan where a spelling means "no value", and the spellings that are no number."""
        number = np.full(len(values), np.nan)
        plain = plain_mask(values)
        quick = plain if self.decimal == "." and (self.bare or not self.unit) else np.zeros(len(values), dtype=bool)
        number[quick] = as_floats([value for value, good in zip(values, quick, strict=True) if good])
        wrong = []
        for place in np.flatnonzero(~quick):
            value = values[place]
            if self.is_missing(value):
                continue
            read = self._read(value)
            if read is None:
                wrong.append(value)
            else:
                number[place] = read
        if self.missing:
            number[[self.is_missing(value) for value in values]] = np.nan
        return number, wrong

    def unreadable(self, values: list[str]) -> list[str]:
        """Return the spellings that are no number, or no date, by this rule."""
        if self.kind == "date":
            return [value for value in values if not self.is_missing(value) and self._moment(value) is None]
        return self.parse(values)[1]

    def _read(self, value: str) -> float | None:
        found = form(value)
        if found is None:
            return float(value) if infinite_mask([value])[0] else None
        if found.unit != self.unit and not (not found.unit and self.bare):
            return None
        marks = (self.decimal, self.thousands)
        return found.number(value, *marks) if marks in found.marks else None

    def _refuse_bare(self, present: np.ndarray, cells: Cells) -> None:
        if self.unit and not self.bare and present.any():
            row = int(present.argmax())
            raise DataError(
                f"{cells.place(row)}: {cells.column.iloc[row]!r} is a number without {self.unit!r}{self._as_wanted()}"
            )

    def _as_wanted(self) -> str:
        """How the numbers of the column are written, for a message."""
        if self.is_plain:
            return ""
        marks = {",": "a comma", ".": "a point", " ": "a blank", "'": "an apostrophe", "_": "an underscore"}
        parts = [f"{marks[self.decimal]} for decimals"] if self.decimal != "." or self.thousands else []
        parts += [f"{marks[self.thousands]} between thousands"] if self.thousands else []
        parts += [f"the unit {self.unit!r}"] if self.unit else []
        return f" as the column has them ({', '.join(parts)})"

    def _days(self, cells: Cells) -> np.ndarray:
        if cells.kind == EMPTY:
            return np.full(len(cells), np.nan)
        if cells.kind == DATE:
            codes, values = pd.factorize(cells.column, use_na_sentinel=True)
            return np.array([*map(dates.of_value, pd.Index(values).tolist()), np.nan])[codes]
        days, wrong = [], []
        for value in cells.values:
            days.append(np.nan)
            if self.is_missing(value):
                continue
            read = self._moment(value)
            if read is None:
                wrong.append(value)
            else:
                days[-1] = read
        if wrong:
            found, row = first_cell([cells], wrong)
            value = cells.values[cells.codes[row]]
            how = {"dmy": " (day first)", "mdy": " (month first)", "clock": "", "": ""}[self.order]
            what = "clock time" if self.order == "clock" else "date"
            raise DataError(f"{found.place(row)}: {value!r} is not one {what}{how}")
        return np.array([*days, np.nan])[cells.codes]

    def _moment(self, value: str) -> float | None:
        found = dates.moments(value)
        if found is None:
            return None if self.order == "clock" else dates.compact_day(value)
        kind, by_order = found
        if (kind == dates.CLOCK) != (self.order == "clock"):
            return None
        if self.order in dates.ORDERS:
            return by_order.get(self.order)
        meanings = set(by_order.values())
        return meanings.pop() if len(meanings) == 1 else None

    def state_dict(self) -> dict[str, Any]:
        """Return plain values: text, booleans and lists."""
        return {**dataclasses.asdict(self), "missing": list(self.missing)} | {
            "parts": list(self.parts),
            "kept": list(self.kept),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> ColumnRule:
        """Rebuild a rule from its `state_dict()`."""
        return cls(**{**state, **{name: tuple(state.get(name, ())) for name in ("missing", "parts", "kept")}})

    def short(self) -> str | dict[str, str]:
        """What the record says of it: the kind, and whatever is not plain."""
        extra = {key: getattr(self, key) for key in ("decimal", "thousands", "unit", "order", "reason")}
        extra = {key: value for key, value in extra.items() if value and (key, value) != ("decimal", ".")}
        extra |= {"parts": ", ".join(self.parts)} if self.parts else {}
        extra |= {"kept": f"{len(self.kept)} values"} if self.kept else {}
        return {"kind": self.kind, **extra} if extra else self.kind


def refuse_infinite(number: np.ndarray, cells: Cells) -> None:
    """Raise `DataError` with the first number that is infinite or too large for a 32-bit float."""
    beyond = np.abs(number) > LARGEST
    if beyond.any():
        row = int(beyond.argmax())
        said = "the number is infinite" if np.isinf(number[row]) else f"{number[row]:g} is too large for 32-bit floats"
        raise DataError(f"{cells.place(row)}: {said}")
