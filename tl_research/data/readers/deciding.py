"""What the cells of a feature column mean: decided over all files of a run at once, said where it is not plain.

Rules that look at all values of a column bear one bad cell: where all but a few follow a rule, the few are refused by
file and row. A column that is half free text is a category.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from tl_research.data.readers import dates
from tl_research.data.readers.cells import DATE, NUMBER, TYPED_TEXT, Cells, first_cell
from tl_research.data.readers.deciding_dates import are_dates, as_dates
from tl_research.data.readers.gathered import Decision, Gathered, counted, is_few, missing_remarks
from tl_research.data.readers.marks import Wish, marks_of_column, unit_of_column
from tl_research.data.readers.number_text import (
    LARGEST_EXACT,
    form,
    forms,
    infinite_mask,
    is_known_unit,
    leading_zero_mask,
    plain_mask,
    whole_mask,
)
from tl_research.data.readers.rules import ColumnRule
from tl_research.errors import DataError

#: What dates that nobody asked about become.
_DATES = Wish("auto", parts="auto")


def decide(files: Sequence[Cells], wish: Wish | None = None, missing: Iterable[str] = ()) -> Decision:
    """Decide how a feature column is read.

    Args:
        files: the column in each file of the run.
        wish: what the user says of the column.
        missing: further spellings that mean "no value".

    Returns:
        The rule, and remarks on what was decided otherwise than plainly.

    Raises:
        DataError: numbers and text are mixed, dates, marks or units that can be read in two ways, or a few cells that
            do not follow the rule of all others.
    """
    column = Gathered.of(files, missing)
    if wish is not None and wish.kind != "auto":
        return {"category": as_category, "number": as_numbers, "date": as_dates}[wish.kind](column, wish)
    if column.of_dates:
        return as_dates(column, _DATES)
    if any(cells.kind == TYPED_TEXT for cells in column.of_text):
        return _of_typed_text(column)
    if not column.texts:
        return _of_plain_numbers(column, column.whole_values())
    plain = plain_mask(column.texts) | infinite_mask(column.texts)
    if plain.all():
        return _of_plain_numbers(column, [*column.texts, *column.whole_values()])
    if are_dates(column):
        return as_dates(column, _DATES)
    if _are_numbers(column, forms(column.texts)):
        return as_numbers(column, Wish("auto"))
    texts = [value for value, is_plain in zip(column.texts, plain, strict=True) if not is_plain]
    if plain.any() or column.of_numbers:
        _refuse_text_among_numbers(column, texts, set(column.texts) - set(texts))
    return as_category(column)


def as_category(column: Gathered, wish: Wish | None = None) -> Decision:
    """The rule of a category; words such as NA are values unless all others are numbers."""
    words = bool((plain_mask(column.texts) | infinite_mask(column.texts)).all())
    remarks = missing_remarks(column) if words else []
    if column.words and not words:
        remarks.append(
            f"{column.where}: {counted(column, column.words)} as values; "
            f"data.missing=[{', '.join(column.words)}] reads them as no value"
        )
    _refuse_codes_without_their_zeros(column)
    return ColumnRule("category", words=words, missing=column.missing), remarks


def as_numbers(column: Gathered, wish: Wish) -> Decision:
    """The rule of a column of numbers; marks and unit are decided over all files.

    Raises:
        DataError: a cell is a date, or no number; names its row.
    """
    if column.of_dates:
        raise DataError(f"{column.of_dates[0].origin}, column {column.name!r} holds dates or times, wants numbers")
    found_forms = {value: form(value) for value in column.texts}
    wrong = [value for value, found in found_forms.items() if found is None]
    wrong = [value for value, infinite in zip(wrong, infinite_mask(wrong), strict=True) if not infinite]
    if wrong:
        cells, row, value = column.first(wrong)
        raise DataError(
            f"{cells.place(row)}: {value!r} is not a number ({len(wrong)} of {len(found_forms)} distinct values are "
            f"none); mend it, or say data.missing=[{value}] where it means no value, or {column.say('category')}, or "
            "list the column in data.drop"
        )
    found_forms = {value: found for value, found in found_forms.items() if found is not None}
    unit, bare = unit_of_column(column, found_forms, wish)
    decimal, thousands = marks_of_column(column, found_forms, wish, unit)
    rule = ColumnRule("number", decimal, thousands, unit, bare, missing=column.missing)
    remarks = missing_remarks(column)
    special = [value for value, plain in zip(found_forms, plain_mask(list(found_forms)), strict=True) if not plain]
    if special:
        example = max(special[:1000], key=lambda value: (sum(not char.isalnum() for char in value), len(value)))
        remarks.append(
            f"{column.where}: read as numbers, {example!r} = "
            f"{found_forms[example].number(example, decimal, thousands):.15g}; {column.say('category')} keeps the text"
        )
    return rule, remarks


def _are_numbers(column: Gathered, found_forms: list) -> bool:
    """Whether texts, some of which are no plain numbers, are numbers all the same.

    Raises:
        DataError: all but a few are; the first that is not is named.
    """
    good = [value for value, found in zip(column.texts, found_forms, strict=True) if found is not None]
    bad = [value for value, found in zip(column.texts, found_forms, strict=True) if found is None]
    units = {found.unit for found in found_forms if found is not None}
    known = all(not unit or is_known_unit(unit) for unit in units)
    special = len(good) > int(plain_mask(good).sum())
    if not bad:
        return special and (known or (len(units) == 1 and len(good) >= 2))
    if special and known and is_few(len(bad), len(good)):
        cells, row, value = column.first(bad)
        raise DataError(
            f"{cells.place(row)}: {value!r} is not a number, as {good[0]!r} and the others are ({len(good)} of "
            f"{len(good) + len(bad)} distinct values); mend it, or say data.missing=[{value}] where it means no value, "
            f"or {column.say('category')} to read the text, or list the column in data.drop"
        )
    return False


def _of_plain_numbers(column: Gathered, values: list[str]) -> Decision:
    """Numbers as programs write them, unless they are codes or days."""
    whole = whole_mask(values)
    if values and whole.all() and (codes := _codes(column, values)):
        return codes
    remarks = missing_remarks(column)
    zeros = leading_zero_mask(values)
    if zeros.any():
        value = values[int(zeros.argmax())]
        remarks.append(
            f"{column.where}: read as numbers, {value!r} = {float(value):g}; {column.say('category')} keeps the text"
        )
    if len(values) >= 2 and whole.all() and all(dates.compact_day(value) is not None for value in values):
        remarks.append(
            f"{column.where}: whole numbers such as {values[0]} look like days and are read as numbers; "
            f"{column.say('date')} reads days since 1970-01-01"
        )
    return ColumnRule("number", missing=column.missing), remarks


def _codes(column: Gathered, values: list[str]) -> Decision | None:
    """Whole numbers that are codes, whose text is kept: leading zeros, or more digits than a float64 holds."""
    zeros = [value for value, found in zip(values, leading_zero_mask(values), strict=True) if found]
    long = [value for value in values if len(value) > 15 and abs(int(value)) > LARGEST_EXACT]
    for few, why, what in (
        (zeros, "begins with a zero", "leading zeros"),
        (long, "has more digits than a 64-bit float holds", "more digits than a 64-bit float holds"),
    ):
        if not few:
            continue
        same_width = few is zeros and len({len(value) for value in values}) == 1
        if not same_width and len(few) * 10 < len(values):
            cells, row = first_cell(column.files, few)
            value = cells.values[cells.codes[row]]
            raise DataError(
                f"{cells.place(row)}: {value} {why}, as codes do ({len(few)} of {len(values)} distinct values); mend "
                f"it, or say {column.say('number')} or {column.say('category')}"
            )
        rule, remarks = as_category(column)
        said = (
            f"{column.where}: codes with {what} such as {few[0]} are read as categories; {column.say('number')} reads "
            "them as numbers"
        )
        return rule, [said, *remarks]
    return None


def _of_typed_text(column: Gathered) -> Decision:
    """A file says that the column is text, and is believed."""
    typed, untyped = (
        _values_of(column, [cells for cells in column.of_text if (cells.kind == TYPED_TEXT) is kind])
        for kind in (True, False)
    )
    if typed and not plain_mask(typed).any() and (column.of_numbers or (untyped and plain_mask(untyped).all())):
        _refuse_text_among_numbers(column, typed, set(untyped))
    if column.of_numbers and column.texts:
        cells, row, value = column.first(column.texts)
        raise DataError(
            f"{cells.place(row)}: {value!r} is text, but {column.of_numbers[0].origin} holds numbers there; say "
            f"{column.say('number')} or {column.say('category')}, or list the column in data.categorical or data.drop"
        )
    if are_dates(column):
        return as_dates(column, _DATES)
    rule, remarks = as_category(column)
    found_forms = forms(column.texts)
    looks = [value for value, found in zip(column.texts, found_forms, strict=True) if found is not None]
    units = {found.unit for found in found_forms if found is not None}
    if len(looks) > 1 and len(looks) == len(column.texts) and all(not unit or is_known_unit(unit) for unit in units):
        remarks.append(
            f"{column.where}: texts such as {looks[0]!r} look like numbers, but the file says text and is believed: a "
            f"category; {column.say('number')} reads numbers"
        )
    return rule, remarks


def _values_of(column: Gathered, files: Sequence[Cells]) -> list[str]:
    wanted = set(column.texts)
    return list(dict.fromkeys(value for cells in files for value in cells.values if value in wanted))


def _refuse_text_among_numbers(column: Gathered, texts: Sequence[str], numbers: set[str]) -> None:
    cells, row, value = column.first(texts)
    ways = "mend the value, or list the column in data.categorical to read it as text, or in data.drop"
    own = cells.rows_of(numbers)
    if own.any():
        other = int(own.argmax())
        raise DataError(
            f"{cells.place(row)}: {value!r} is text, but row {other + cells.first_row} holds the number "
            f"{cells.values[cells.codes[other]]} ({own.sum()} numbers, {cells.rows_of(texts).sum()} texts); {ways}"
        )
    holder = next(
        other for other in column.files if other is not cells and (other.kind == NUMBER or other.rows_of(numbers).any())
    )
    raise DataError(f"{cells.place(row)}: {value!r} is text, but {holder.origin} holds numbers there; {ways}")


def _refuse_codes_without_their_zeros(column: Gathered) -> None:
    """Raise where one file has the code 02494 and another, without any such zero, 2494."""
    zeros = {id(cells): _zeros(cells) for cells in column.files if cells.kind != DATE}
    for one in column.files:
        stripped = {value.lstrip("0") or "0": value for value in zeros.get(id(one), ())}
        for other in column.files if stripped else ():
            if other is one or zeros.get(id(other)) or other.kind == DATE:
                continue
            both = next((value for value in other.values if value in stripped), None)
            if both is not None:
                row, other_row = (int(c.rows_of([v]).argmax()) for c, v in ((one, stripped[both]), (other, both)))
                raise DataError(
                    f"{one.place(row)}: the code {stripped[both]} has a leading zero, but {other.place(other_row)} has "
                    f"{both}, the same code without it; write the codes alike in both files, or say "
                    f"{column.say('number')}, or list the column in data.drop"
                )


def _zeros(cells: Cells) -> list[str]:
    if cells.kind == NUMBER:
        return []
    return [value for value, found in zip(cells.values, leading_zero_mask(cells.values), strict=True) if found]


def unknown_columns(sources: Sequence[pd.DataFrame], target: pd.DataFrame) -> list[str]:
    """Return the columns that no source has a value in though the target has."""
    return [
        name
        for name in target.columns
        if all(part[name].isna().all() for part in sources) and not target[name].isna().all()
    ]
