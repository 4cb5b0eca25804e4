"""Dates and clock times of a column: refused with advice, or read where the user says so, and asked where ambiguous."""

from __future__ import annotations

from collections.abc import Callable

from tl_research.data.readers import dates
from tl_research.data.readers.gathered import Decision, Gathered, is_few, missing_remarks
from tl_research.data.readers.marks import Wish
from tl_research.data.readers.rules import ColumnRule
from tl_research.errors import DataError


def as_dates(column: Gathered, wish: Wish) -> Decision:
    """The rule of a column that the user says holds dates.

    Raises:
        DataError: a cell is no date, or a clock time among dates; names its row.
    """
    found = {value: dates.moments(value) for value in column.texts}
    compact = [value for value, moment in found.items() if moment is None and dates.compact_day(value) is not None]
    bad = [value for value, moment in found.items() if moment is None and value not in set(compact)]
    if bad:
        cells, row, value = column.first(bad)
        raise DataError(
            f"{cells.place(row)}: {value!r} is not a date; mend it, or say data.missing=[{value}] where it means no "
            f"value, or {column.say('category')}"
        )
    kinds = {moment[0] for moment in found.values() if moment is not None}
    if len(kinds) == 2 or (dates.CLOCK in kinds and compact):
        cells, row, value = column.first(
            [value for value, moment in found.items() if moment and moment[0] == dates.CLOCK]
        )
        raise DataError(f"{cells.place(row)}: {value!r} is a clock time, but other cells of the column hold dates")
    order = wish.order or "clock" if dates.CLOCK in kinds else _order(column, found, wish.order)
    rule = ColumnRule("date", order=order, missing=column.missing)
    remarks = missing_remarks(column)
    named = {"dmy": ", day first", "mdy": ", month first", "clock": "", "": ""}[order]
    what = "clock times as hours" if order == "clock" else f"dates{named}, as days since 1970-01-01"
    return rule, [*remarks, f"{column.where}: read as {what}"]


def _order(column: Gathered, found: dict, wanted: str) -> str:
    """Which of day and month comes first; empty where no cell leaves it open."""
    by_order = {value: set(moment[1]) for value, moment in found.items() if moment is not None}
    if all(len(set(moment[1].values())) == 1 and len(moment[1]) == 2 for moment in found.values() if moment):
        return wanted
    proof = {}
    for order in dates.ORDERS:
        sure = [value for value, orders in by_order.items() if orders == {order}]
        if sure:
            proof[order] = column.first(sure)
    key = f"data.schema.{column.name}={{kind: date, order: dmy}} (or mdy)"
    if wanted:
        for order, (cells, row, value) in proof.items():
            if order != wanted:
                raise DataError(f"{cells.place(row)}: {value!r} is not a date in the order {wanted}")
        return wanted
    if len(proof) == 2:
        (one, row, value), (other, other_row, other_value) = proof["dmy"], proof["mdy"]
        raise DataError(
            f"{one.place(row)}: {value!r} has the day first, but {other.place(other_row)}: {other_value!r} has the "
            "month first; write the dates alike"
        )
    if not proof:
        open_value = next(value for value, moment in found.items() if moment and len(set(moment[1].values())) == 2)
        cells, row, value = column.first([open_value])
        raise DataError(f"{cells.place(row)}: {value!r} may have the day or the month first; say {key}")
    return next(iter(proof))


def refuse_feature_dates(column: Gathered) -> None:
    """Raise where the texts are dates, or all but a few are."""
    refuse_dates(column, lambda place: date_advice(column, place), lambda: column.say("category"))


def refuse_dates(column: Gathered, advice: Callable[[str], str], way_out: Callable[[], str]) -> None:
    """Raise `DataError` where the texts are dates or clock times, or all but a few are.

    Args:
        column: the column.
        advice: from the place and what it holds to the whole message.
        way_out: key that reads the text as it stands.
    """
    if not column.texts or (len(column.texts) > 50 and not any(map(dates.moments, column.texts[:50]))):
        return
    found = {value: dates.moments(value) for value in column.texts}
    for kind in (dates.DATE, dates.CLOCK):
        good = [value for value, moment in found.items() if moment is not None and moment[0] == kind]
        bad = [value for value in found if value not in set(good)]
        if not good:
            continue
        cells, row, value = column.first(good)
        if not bad:
            raise DataError(advice(f"{cells.origin}, column {column.name!r} holds {kind}s such as {value!r}"))
        if is_few(len(bad), len(good)):
            cells, row, wrong = column.first(bad)
            raise DataError(
                f"{cells.place(row)}: {wrong!r} is not a {kind}, as {value!r} and the others are ({len(good)} of "
                f"{len(found)} distinct values); mend it, or say data.missing=[{wrong}] where it means no value, or "
                f"{way_out()} to read the text"
            )


def date_advice(column: Gathered, place: str) -> str:
    """Return the sentence that tells a user what a column of dates, at `place`, can be made of."""
    return (
        f"{place}; turn them into numbers (month, weekday, age in days), say {column.say('date')} to read days since "
        f"1970-01-01 (clock times: hours), {column.say('category')} to read the text, or list the column in data.drop"
    )
