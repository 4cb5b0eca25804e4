"""Dates that are there for some rows only, or follow another date, and say much of the label: written after it?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tl_research.data.audit.columns import Column, table_of
from tl_research.data.audit.findings import Finding
from tl_research.data.audit.leaks import judged_rows, place
from tl_research.data.audit.strength import Limits, is_enough, what_it_tells
from tl_research.data.audit.words import columns_to_drop
from tl_research.data.domain import Domain
from tl_research.data.readers.rules import ColumnRule

#: A date is later than another where it is not before it in this share of the rows with both, and after it in half.
NOT_BEFORE, AFTER = 0.95, 0.5
#: Rows with both dates from which on they are compared.
FEWEST_ROWS = 20
#: A date that comes later is suspicious by itself: it needs to say less than any column that tells the label alone.
MUCH = Limits(auroc=0.9, accuracy=0.7, left_of_errors=0.3, r2=0.8, orders=1e6)


def later_dates(domains: dict[str, Domain]) -> list[Finding]:
    """Name the date columns that follow another date of their row, or that have gaps, and say much of the label.

    What is judged is whether there is such a date, and its distance in days from the other. A later date that says
    little (a check-in planned at the booking) is passed over; the clock of the machine is never asked.
    """
    found: dict[str, list[tuple[str, str, Domain]]] = {}
    for domain in domains.values():
        dates = _dates(domain)
        rows = judged_rows(domain)
        label = domain.label[rows]
        if not dates or not is_enough(domain, label, MUCH):
            continue
        for name, days in dates.items():
            for what, values in _looks(name, days[rows], {key: other[rows] for key, other in dates.items()}):
                if told := what_it_tells(Column(name, values), label, domain, MUCH):
                    found.setdefault(name, []).append((what, told[1], domain))
                    break
    return [_finding(name, places) for name, places in found.items()]


def _looks(name: str, days: np.ndarray, dates: dict[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield what is to be judged of a date, with its words: whether it has a value, its distance from earlier dates."""
    if np.isnan(days).any():
        yield "has gaps", np.where(np.isnan(days), np.nan, 0.0)
    for first, others in dates.items():
        gap = days - others
        if name != first and _is_later(gap):
            yield f"follows {first!r}", gap


def _dates(domain: Domain) -> dict[str, np.ndarray]:
    """The days (n,) of the columns that the schema reads as dates."""
    table = table_of(domain)
    if table is None or domain.schema is None:
        return {}
    rules = domain.schema.columns
    names = [name for name in table.columns if name in rules and _is_date(rules[name])]
    return {name: table[name].to_numpy(dtype=np.float64, na_value=np.nan) for name in names}


def _is_date(rule: ColumnRule) -> bool:
    return rule.kind == "date" and rule.order != "clock"


def _is_later(gap: np.ndarray) -> bool:
    both = gap[~np.isnan(gap)]
    return len(both) >= FEWEST_ROWS and np.mean(both >= 0) >= NOT_BEFORE and np.mean(both > 0) >= AFTER


def _finding(name: str, places: list[tuple[str, str, Domain]]) -> Finding:
    where = ", ".join(f"{said} in {place(domain)}" for _, said, domain in places)
    out = columns_to_drop([name])
    said = (
        f"column {name!r} is a date that {places[0][0]}, and this says much of the label ({where}): is it written "
        f"after the outcome? if so, leave it out: {out}"
    )
    return Finding("later_date", said, (name,), tuple(domain.name for *_, domain in places), why=where, way_out=out)
