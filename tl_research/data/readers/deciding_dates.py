"""Dates and clock times of a column: read where every cell is one, asked about where they can be read in two ways."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pandas as pd

from tl_research.data.readers import dates
from tl_research.data.readers.cells import Cells
from tl_research.data.readers.date_parts import parts_that_vary
from tl_research.data.readers.gathered import Decision, Gathered, is_few, missing_remarks
from tl_research.data.readers.marks import Wish
from tl_research.data.readers.rules import ColumnRule
from tl_research.errors import DataError


def as_dates(column: Gathered, wish: Wish) -> Decision:
    """The rule of a column that holds dates, by its cells or because the user says so.

    Raises:
        DataError: a cell is no date, or a clock time among dates; names its row; or day and month cannot be told apart.
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
    typed = [_typed_kind(cells) for cells in column.of_dates]
    if len({*kinds, *typed}) == 2 or (dates.CLOCK in kinds and compact):
        if len(kinds) < 2 and not compact:
            raise DataError(f"{column.where}: one file holds dates there and another clock times; list it in data.drop")
        cells, row, value = column.first(
            [value for value, moment in found.items() if moment and moment[0] == dates.CLOCK]
        )
        raise DataError(f"{cells.place(row)}: {value!r} is a clock time, but other cells of the column hold dates")
    is_clock = dates.CLOCK in (*kinds, *typed)
    order = "clock" if is_clock else _order(column, found, wish)
    rule = ColumnRule("date", order=order, missing=column.missing)
    if wish.parts == "auto":
        days = np.concatenate([rule.days_of(cells) for cells in column.files] or [np.zeros(0)])
        rule = dataclasses.replace(rule, parts=parts_that_vary(days, clock=is_clock))
    named = {"dmy": ", day first", "mdy": ", month first", "clock": "", "": ""}[order]
    what = "clock times as hours" if is_clock else f"dates{named}, as days since 1970-01-01"
    parts = f" with {' and '.join([', '.join(rule.parts[:-1])] * (len(rule.parts) > 1) + [*rule.parts[-1:]])}"
    way_out = "" if wish.kind == "date" else f"; {column.say('category')} keeps the text"
    said = f"{column.where}: read as {what}{parts if rule.parts else ''}{way_out}"
    return rule, [*missing_remarks(column), said]


def _typed_kind(cells: Cells) -> str:
    """Whether a typed column holds days or times of a day."""
    kind = pd.api.types.infer_dtype(cells.column, skipna=True)
    return dates.CLOCK if kind in ("time", "timedelta", "timedelta64") else dates.DATE


def _order(column: Gathered, found: dict, wish: Wish) -> str:
    """Which of day and month comes first; empty where no cell leaves it open."""
    wanted = wish.order
    by_order = {value: set(moment[1]) for value, moment in found.items() if moment is not None}
    if all(len(set(moment[1].values())) == 1 and len(moment[1]) == 2 for moment in found.values() if moment):
        return wanted
    proof = {}
    for order in dates.ORDERS:
        sure = [value for value, orders in by_order.items() if orders == {order}]
        if sure:
            proof[order] = column.first(sure)
    parts = "" if wish.kind == "date" else ", parts: auto"
    key = f"data.schema.{column.name}={{kind: date, order: dmy{parts}}} (or mdy)"
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


def are_dates(column: Gathered) -> bool:
    """Whether all texts are dates, or all are clock times.

    Raises:
        DataError: all but a few are; the first that is not is named.
    """
    return _dates(column, lambda: column.say("category")) is not None


def refuse_dates(column: Gathered, advice: Callable[[str], str], way_out: Callable[[], str]) -> None:
    """Raise `DataError` where the texts are dates or clock times, or all but a few are.

    Args:
        column: the column.
        advice: from the place and what it holds to the whole message.
        way_out: key that reads the text as it stands.
    """
    if (said := _dates(column, way_out)) is not None:
        raise DataError(advice(said))


def _dates(column: Gathered, way_out: Callable[[], str]) -> str | None:
    """Place and example of texts that all are dates, or clock times; None where they are not."""
    if not column.texts or (len(column.texts) > 50 and not any(map(dates.moments, column.texts[:50]))):
        return None
    found = {value: dates.moments(value) for value in column.texts}
    for kind in (dates.DATE, dates.CLOCK):
        good = [value for value, moment in found.items() if moment is not None and moment[0] == kind]
        bad = [value for value in found if value not in set(good)]
        if not good:
            continue
        cells, row, value = column.first(good)
        if not bad:
            return f"{cells.origin}, column {column.name!r} holds {kind}s such as {value!r}"
        if is_few(len(bad), len(good)):
            cells, row, wrong = column.first(bad)
            raise DataError(
                f"{cells.place(row)}: {wrong!r} is not a {kind}, as {value!r} and the others are ({len(good)} of "
                f"{len(found)} distinct values); mend it, or say data.missing=[{wrong}] where it means no value, or "
                f"{way_out()} to read the text"
            )
    return None
