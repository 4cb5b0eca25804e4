"""Cells of a table: one spelling for each value, whatever else its column holds, and a column by its distinct values.

The spelling of a value is a function of that value alone. Which columns hold numbers, dates or categories is decided
in `deciding`, once, over all files.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tl_research.errors import DataError

#: Texts that mean "no value here" in the catalogue's data sets, whatever the column holds.
MISSING = ("", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null", "None")
#: Words, without regard to case, that mean "no value here" in a column of numbers or dates, and nothing in one of text.
MISSING_WORDS = frozenset(
    (
        *("na", "n/a", "#n/a", "#na", "<na>", "n.a.", "nan", "-nan", "null", "(null)", r"\n", "none", "nil", "nat"),
        *("-", "--", "\u2013", "\u2014", "?", ".", "#null!", "#div/0!", "#value!", "#ref!", "#num!"),
    )
)
#: What a raw column is: `text` of a file without types, the rest as the file (Parquet) types it.
TEXT, TYPED_TEXT, NUMBER, BOOLEAN, DATE, EMPTY = "text", "typed text", "number", "boolean", "date", "empty"
_KINDS = {
    **dict.fromkeys(("integer", "integer-na", "floating", "decimal", "mixed-integer-float"), NUMBER),
    **dict.fromkeys(("date", "datetime", "datetime64", "time", "timedelta", "timedelta64"), DATE),
    **{"boolean": BOOLEAN, "empty": EMPTY, "string": TEXT, "mixed-integer": TEXT, "categorical": TEXT},
}
_WHOLE = re.compile(r"(-?(?:0|[1-9]\d*))\.0+")  # what pandas makes of a whole number beside a missing one


def spell(value: object) -> str:
    """Spell a value as text: 1, 1.0, '1' and '1.0' agree, so do True, 'true' and 'TRUE'; '' where the cell is empty."""
    if isinstance(value, str):
        return _spell_text(value)
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    if isinstance(value, (float, np.floating)):
        if float(value).is_integer():
            return str(int(value))
        # The shortest text that is this number in the number's own width.
        return repr(float(str(value)))
    if isinstance(value, Decimal):
        return _spell_text(format(value.normalize(), "f")) if value.is_finite() else str(float(value))
    return _spell_text(str(value))


def nfc(name: str) -> str:
    """Return a name in one Unicode form, without outer blanks."""
    return unicodedata.normalize("NFC", str(name).strip())


#: Texts whose spelling may be another: empty, with blanks, letters beyond ASCII, flags, whole numbers with a point.
_ODD = r"^$|^[\x00-\x20]|[\x00-\x20]$|[^\x00-\x7f]|^(?i:true|false)$|\.0+$|^-0$"


def _spelled_otherwise(values: Sequence[object]) -> np.ndarray | None:
    """Return (k,) bool: which of many texts `spell` may change; None where not all are texts, or they are few."""
    if len(values) < 50 or not all(type(value) is str for value in values):
        return None
    try:
        return pc.match_substring_regex(pa.array(values, pa.large_string()), _ODD).to_numpy(zero_copy_only=False)
    except (pa.ArrowInvalid, UnicodeEncodeError):  # a lone surrogate
        return None


def _spell_text(text: str) -> str:
    text = text.strip()
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    if len(text) in (4, 5) and (low := text.casefold()) in ("true", "false"):
        return low
    if text.endswith("0"):
        if whole := _WHOLE.fullmatch(text):
            text = whole[1]
        return "0" if text == "-0" else text
    return text


class Cells:
    """One column of one file, by its distinct values.

    Args:
        column: raw column; text as in a CSV file, or typed as in a Parquet file.
        origin: file, for messages.
        typed: whether the file says that a text is a text.
        first_row: number of the first row in messages.
        numbers: number of each row in messages, where they do not follow one another.

    Raises:
        DataError: the cells are lists, structs, bytes, or no values at all that a table holds.
    """

    def __init__(
        self,
        column: pd.Series,
        origin: str,
        *,
        typed: bool = False,
        first_row: int = 1,
        numbers: np.ndarray | None = None,
    ):
        self.column, self.name, self.origin, self.first_row = column, column.name, origin, first_row
        self.numbers = numbers
        self.kind = _kind(column, origin, typed=typed)

    def __len__(self) -> int:
        return len(self.column)

    @cached_property
    def _factorized(self) -> tuple[np.ndarray, list[str]]:
        codes, values = pd.factorize(self.column, use_na_sentinel=True)
        plain = isinstance(values, np.ndarray) and values.dtype.kind != "M"
        listed = values if plain and values.dtype != object else pd.Index(values).tolist()
        otherwise = _spelled_otherwise(listed) if self.kind in (TEXT, TYPED_TEXT) else None
        if otherwise is not None and not otherwise.any():
            return np.asarray(codes, dtype=np.int32), listed
        if otherwise is None:
            spelled = [spell(value) for value in listed]
        else:
            spelled = [spell(value) if odd else value for value, odd in zip(listed, otherwise, strict=True)]
        again, distinct = pd.factorize(np.array(spelled, dtype=object)) if spelled else (np.zeros(0, int), [])
        distinct = [str(value) for value in distinct]
        if "" in distinct:
            empty = distinct.index("")
            distinct.pop(empty)
            again = np.where(again == empty, -1, again - (again > empty))
        return np.append(again, -1)[codes].astype(np.int32), distinct

    @property
    def codes(self) -> np.ndarray:
        """(n,) place of each cell in `values`, -1 where it is empty."""
        return self._factorized[0]

    @property
    def values(self) -> list[str]:
        """The distinct values as `spell` spells them."""
        return self._factorized[1]

    @property
    def is_text(self) -> bool:
        """Whether what the values are is for their spelling to say."""
        return self.kind in (TEXT, TYPED_TEXT, BOOLEAN)

    def text(self, missing: Iterable[str] = (), *, words: bool = False) -> np.ndarray:
        """Return (n,) object: each cell's spelling, None where it is empty, in `missing`, or (`words`) a missing word.

        Args:
            missing: spellings that mean "no value".
            words: whether `MISSING_WORDS` mean so too.
        """
        missing = set(missing)
        spelled = np.empty(len(self.values) + 1, dtype=object)
        for place, value in enumerate(self.values):
            spelled[place] = None if value in missing or (words and is_missing_word(value)) else value
        spelled[-1] = None
        return spelled[self.codes]

    def rows_of(self, values: Iterable[str]) -> np.ndarray:
        """Return (n,) bool: whether the cell has one of these spellings."""
        wanted = set(values)
        return np.append([value in wanted for value in self.values], False).astype(bool)[self.codes]

    def place(self, row: int) -> str:
        """Name a cell as messages do: `file, row 7, column 'price'`."""
        return f"{self.origin}, row {self.number(row)}, column {self.name!r}"

    def number(self, row: int) -> int:
        """Return the number of a row (from 0) in its file."""
        return row + self.first_row if self.numbers is None else int(self.numbers[row])


def is_missing_word(value: str) -> bool:
    """Whether a spelling means "no value" in a column of numbers or dates."""
    return value.casefold() in MISSING_WORDS


def first_cell(files: Sequence[Cells], values: Iterable[str]) -> tuple[Cells, int]:
    """Return the file and the row (from 0) of the first cell with one of these spellings, which some cell has.

    Raises:
        ValueError: no cell has one of them.
    """
    wanted = set(values)
    for cells in files:
        rows = cells.rows_of(wanted)
        if rows.any():
            return cells, int(rows.argmax())
    raise ValueError(f"no cell has one of {sorted(wanted)[:5]}")


def _kind(column: pd.Series, origin: str, *, typed: bool) -> str:
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        # A dictionary of values is a category, whatever its values look like.
        inner = _kind(pd.Series(dtype.categories, name=column.name), origin, typed=True)
        return DATE if inner == DATE else EMPTY if column.isna().all() else TYPED_TEXT
    if pd.api.types.is_bool_dtype(dtype):
        return BOOLEAN
    if pd.api.types.is_numeric_dtype(dtype):
        return NUMBER
    found = pd.api.types.infer_dtype(column, skipna=True)
    kind = _KINDS.get(found)
    if kind is None:
        first = next((value for value in column if not pd.api.types.is_scalar(value) or not pd.isna(value)), None)
        named = {np.ndarray: "lists", list: "lists", tuple: "lists", dict: "structs"}
        what = named.get(type(first), f"{found} values")
        raise DataError(
            f"{origin}, column {column.name!r} holds {what}, wants numbers, booleans or text; or list it in data.drop"
        )
    return TYPED_TEXT if typed and kind == TEXT else kind
