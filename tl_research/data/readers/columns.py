"""Columns of a table: which hold numbers, which hold categories, and one spelling for each value.

A number is float64 with nan where missing; a category is an object column of text with None where missing.
Rows in messages count from 1 and leave the header out.
"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from tl_research.errors import DataError

#: Texts that mean "no value here", after surrounding blanks are stripped.
MISSING = ("", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null", "None")
#: What `pandas.api.types.infer_dtype` calls columns of numbers, booleans and text.
_PLAIN = (
    *("string", "empty", "boolean", "categorical", "integer", "integer-na", "floating", "decimal"),
    *("mixed-integer", "mixed-integer-float"),
)
#: Inputs and losses are 32-bit floats.
LARGEST = float(np.finfo(np.float32).max)
_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?)?")
_WHOLE = re.compile(r"^(-?(?:0|[1-9]\d*))\.0+$")  # what pandas makes of a whole number beside a missing one
_COMMA_NUMBER = re.compile(r"[-+]?\d+(?:[.,]\d+)*")


def as_text(column: pd.Series) -> np.ndarray:
    """Spell every value as text, whatever type the file gave it: 1, 1.0, '1' and '1.0' agree; None where missing."""
    if pd.api.types.is_bool_dtype(column.dtype) or _holds_only(column, bool):
        return _spell(column, lambda value: "true" if value else "false")
    if pd.api.types.is_numeric_dtype(column.dtype):
        return _spell(column, _number_text)
    text = _spell(column, lambda value: _WHOLE.sub(r"\1", str(value).strip()))
    text[np.isin(text.astype(str), MISSING) & (text != None)] = None  # noqa: E711
    present = {value.lower() for value in pd.unique(text[text != None])}  # noqa: E711
    if present and present <= {"true", "false"}:
        text = np.array([None if value is None else value.lower() for value in text], dtype=object)
    return text


def as_number(column: pd.Series, origin: str) -> np.ndarray:
    """Read every value as float64, nan where missing.

    Raises:
        DataError: naming the row of the first value that is text, infinite, or too large for a 32-bit float.
    """
    if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype):
        number = column.to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        text = as_text(column)
        number = _parse(text)
        wrong = np.isnan(number) & (text != None)  # noqa: E711
        if wrong.any():
            row = int(wrong.argmax())
            raise DataError(f"{origin}, row {row + 1}, column {column.name!r}: {text[row]!r} is not a number")
    _refuse_infinite(number, column.name, origin)
    return number


def infer(column: pd.Series, origin: str, *, categorical: bool = False) -> pd.Series:
    """Decide whether a column holds numbers or categories, and spell it so.

    Numbers are columns of a numeric type, and text of which every value present is a number. Booleans and all
    other text are categories. A column without any value is numeric.

    Args:
        column: raw column; text as in a CSV file, or typed as in a Parquet file.
        origin: file, for messages.
        categorical: take it for a category whatever it looks like.

    Raises:
        DataError: numbers and text are mixed (the first offending row is named), a number that is infinite or too
            large for a 32-bit float, a date,
            decimal commas, or values that are neither numbers nor text.
    """
    where = f"{origin}, column {column.name!r}"
    kind = pd.api.types.infer_dtype(column, skipna=True)
    if kind in ("date", "datetime", "datetime64"):
        raise DataError(_dates(where))
    if kind not in _PLAIN:
        raise DataError(f"{where} holds {kind} values, wants numbers, booleans or text; or list it in data.drop")
    if categorical:
        return pd.Series(as_text(column), index=column.index, name=column.name, dtype=object)
    if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype):
        return pd.Series(as_number(column, origin), index=column.index, name=column.name)
    text = as_text(column)
    present = text != None  # noqa: E711
    number = _parse(text)
    numeric = present & ~np.isnan(number)
    if numeric.any() and (text_rows := present & ~numeric).any():
        row, other = int(text_rows.argmax()), int(numeric.argmax())
        raise DataError(
            f"{origin}, row {row + 1}, column {column.name!r}: {text[row]!r} is text, but row {other + 1} holds the "
            f"number {text[other]} ({numeric.sum()} numbers, {text_rows.sum()} texts); mend the value, or list the "
            "column in data.categorical to read it as text, or in data.drop"
        )
    if not (present & ~numeric).any():
        _refuse_infinite(number, column.name, origin)
        return pd.Series(number, index=column.index, name=column.name)
    values = pd.unique(text[present])
    if all(_ISO_DATE.fullmatch(value) for value in values):
        raise DataError(_dates(where))
    if any("," in value for value in values) and all(_COMMA_NUMBER.fullmatch(value) for value in values):
        row = next(i for i, value in enumerate(text) if value is not None and "," in value)
        raise DataError(f"{origin}, row {row + 1}, column {column.name!r}: {text[row]!r} has a comma; write 1234.5")
    return pd.Series(text, index=column.index, name=column.name, dtype=object)


def infer_types(frame: pd.DataFrame, origin: str, *, categorical: tuple[str, ...] = ()) -> pd.DataFrame:
    """Apply `infer` to every column; rows are numbered anew from 0."""
    columns = {name: infer(frame[name], origin, categorical=name in categorical) for name in frame.columns}
    return pd.DataFrame(columns).reset_index(drop=True) if columns else pd.DataFrame(index=range(len(frame)))


def _dates(where: str) -> str:
    return f"{where} holds dates; turn them into numbers (month, weekday, age in days), or list the column in data.drop"


def _refuse_infinite(number: np.ndarray, name: object, origin: str) -> None:
    beyond = np.abs(number) > LARGEST
    if beyond.any():
        row = int(beyond.argmax())
        said = "the number is infinite" if np.isinf(number[row]) else f"{number[row]:g} is too large for 32-bit floats"
        raise DataError(f"{origin}, row {row + 1}, column {name!r}: {said}")


def _parse(text: np.ndarray) -> np.ndarray:
    values = np.where(text == None, np.nan, text)  # noqa: E711
    number = pd.to_numeric(pd.Series(values, dtype=object), errors="coerce").to_numpy(dtype=np.float64, copy=True)
    # pandas reads True as 1.
    number[np.isin(text.astype(str), ("true", "false", "True", "False", "TRUE", "FALSE"))] = np.nan
    return number


def _spell(column: pd.Series, spell) -> np.ndarray:
    codes, values = pd.factorize(column, use_na_sentinel=True)
    spelled = np.empty(len(values) + 1, dtype=object)
    for i, value in enumerate(values):
        spelled[i] = spell(value)
    spelled[-1] = None
    return spelled[codes]


def _number_text(value) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _holds_only(column: pd.Series, kind: type) -> bool:
    if column.dtype != object:
        return False
    present = column.dropna()
    return len(present) > 0 and all(isinstance(value, (kind, np.bool_)) for value in present)
