"""The unit and the marks of a column of numbers, decided over all its values; what can be read in two ways is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tl_research.data.readers.number_text import MARKS, Form, is_currency
from tl_research.errors import DataError

if TYPE_CHECKING:
    from tl_research.data.readers.gathered import Gathered


@dataclass(frozen=True)
class Wish:
    """What the user says of a column: `data.schema.<column>`.

    Fields:
        kind: `number`, `category`, `date`, `drop`; or `auto`.
        decimal, thousands, unit: of numbers; None: by the values.
        order: of dates: `dmy` or `mdy`; empty: by the values.
        parts: of dates: `auto` (month, weekday and hour where they vary) or `none`.
    """

    kind: str
    decimal: str | None = None
    thousands: str | None = None
    unit: str | None = None
    order: str = ""
    parts: str = "none"


def unit_of_column(column: Gathered, forms: Mapping[str, Form], wish: Wish) -> tuple[str, bool]:
    """Return the unit of all values, and whether numbers without it are read too, which only the user can say.

    Raises:
        DataError: two units, or numbers with one and without; two cells are named.
    """
    first: dict[str, str] = {}
    for value, found in forms.items():
        first.setdefault(found.unit, value)
    if column.of_numbers:
        first.setdefault("", "")
    said = wish.kind == "number"
    units = [unit for unit in first if unit]
    if wish.unit is not None:
        units = [wish.unit, *(unit for unit in units if unit != wish.unit)] if wish.unit else units
    if len(units) > 1 or (wish.unit == "" and units):
        others = [unit for unit in units[:2] if unit in first]
        places = [_place(column, first[unit]) for unit in others]
        shown = " and ".join(places) if places else repr(units)
        raise DataError(
            f"{shown}: the units differ; write all numbers in one unit, or say {column.say('category')} to read the "
            "text, or list the column in data.drop"
        )
    unit = units[0] if units else ""
    if unit and "" in first and not said:
        bare = _place(column, first[""]) if first[""] else f"{column.of_numbers[0].origin}, column {column.name!r}"
        what = "currency" if is_currency(unit) else "unit"
        raise DataError(
            f"{_place(column, first[unit])} has the {what} {unit!r}, but {bare} has none; write all numbers alike, or "
            f"say {column.say('number')} if they mean the same, {column.say('category')} to read the text, or list the "
            "column in data.drop"
        )
    return unit, bool(unit) and said


def marks_of_column(column: Gathered, forms: Mapping[str, Form], wish: Wish, unit: str) -> tuple[str, str]:
    """Return the decimal and the thousands mark that all values can be read with.

    Raises:
        DataError: there are none, or two that give different numbers; the cells are named.
    """
    wanted = [marks for marks in MARKS if wish.decimal in (None, marks[0]) and wish.thousands in (None, marks[1])]
    shapes: dict[Form, str] = {}
    for value, found in forms.items():
        shapes.setdefault(found, value)
    left, last = wanted, ""
    for found, value in shapes.items():
        now = [marks for marks in left if marks in found.marks]
        if not now:
            against = f", while {_place(column, last)} is" if last else ""
            how = f" with data.schema.{column.name} as it says" if len(wanted) < len(MARKS) else ""
            if last:
                raise DataError(
                    f"{_place(column, value)} cannot be read as a number like {_place(column, last)}{how}; write the "
                    f"numbers alike, or say {column.say('category')} to read the text, or list the column in data.drop"
                )
            raise DataError(f"{_place(column, value)} is not a number{how}{against}")
        if len(now) < len(left):
            last = value
        left = now
    if not left:
        raise DataError(
            f"data.schema.{column.name}: the decimal and the thousands mark are the same ({wish.decimal!r})"
        )
    meanings = {marks: [found.number(value, *marks) for found, value in shapes.items()] for marks in left}
    best = left[0]
    if best == (".", "") and not unit:
        return best  # as programs write them
    other = next((marks for marks in left if meanings[marks] != meanings[best]), None)
    if other is None:
        return best
    value, *read = next(
        triple
        for triple in zip(shapes.values(), meanings[best], meanings[other], strict=True)
        if triple[1] != triple[2]
    )
    raise DataError(
        f"{_place(column, value)} may be {read[0]:.15g} or {read[1]:.15g}: no cell says whether {best[0]!r} or "
        f'{other[0]!r} is the decimal mark; say data.schema.{column.name}={{kind: number, decimal: "{best[0]}"}} or '
        f'{{kind: number, decimal: "{other[0]}"}}'
    )


def _place(column: Gathered, value: str) -> str:
    cells, row, value = column.first([value])
    return f"{cells.place(row)}: {value!r}"
