"""Columns that name a row instead of describing it: identifiers, their like by which rows belong together, indices."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from tl_research.data.audit.columns import Column, column_of, columns, some_rows
from tl_research.data.audit.findings import Finding
from tl_research.data.audit.words import columns_to_drop
from tl_research.data.domain import Domain
from tl_research.data.readers.identifiers import is_called_identifier

#: Rows from which on distinct whole numbers are no chance.
FEWEST_ROWS = 20
_NUMBER = re.compile(r"(?:^|[\W_])(?:nr|no|num|number)$", re.I)
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
#: An identifier is shared where at least so many rows have a companion: a number, and a share of the rows.
FEWEST_COMPANIONS, SHARE_OF_COMPANIONS = 10, 0.02
#: Rows per value on average above which a column called an identifier tells kinds of rows (a shop, a category).
MOST_ROWS_OF_ONE = 50


def identifiers(domains: dict[str, Domain]) -> list[Finding]:
    """Name the columns of whole numbers that number the rows, or that are called identifiers and hardly ever repeat.

    By these columns rows that are the same cannot be known.
    """
    found: dict[str | int, str] = {}
    where: dict[str | int, Domain] = {}
    for domain in domains.values():
        for column in columns(domain, some_rows(len(domain))):
            if column.name not in found and column.is_number and (why := _why(column, domain)):
                found[column.name] = why
                where[column.name] = domain
    return [_finding(name, why, where[name]) for name, why in found.items()]


def _finding(name: str | int, why: str, domain: Domain) -> Finding:
    out = columns_to_drop([name])
    said = (
        f"column {name!r} {why} ({domain.origin or domain.name}): it is used as a number, though an identifier says "
        f"nothing of a new row; to leave it out: {out}"
    )
    return Finding("numbers_rows", said, (name,), (domain.name,), why=why, way_out=out)


def shared_identifiers(domains: dict[str, Domain]) -> list[Finding]:
    """Name the columns that are called identifiers, or hold e-mail addresses, and whose values several rows share.

    Rows of one customer on both sides of a split let a model look better than it is for new customers.
    """
    found: dict[str | int, tuple[int, int, Domain]] = {}
    for domain in domains.values():
        for column in columns(domain, some_rows(len(domain))):
            if column.name in found or not _is_named(column):
                continue
            codes = pd.factorize(column_of(domain, column.name).values)[0]
            sizes = np.bincount(codes[codes >= 0])
            together = int(sizes[sizes > 1].sum())
            fewest = max(FEWEST_COMPANIONS, SHARE_OF_COMPANIONS * len(codes))
            if len(sizes) >= FEWEST_ROWS and together >= fewest and sizes.mean() <= MOST_ROWS_OF_ONE:
                found[column.name] = together, len(sizes), domain
    return [_shared(name, *facts) for name, facts in found.items()]


def _shared(name: str | int, together: int, values: int, domain: Domain) -> Finding:
    out = f"--group {name}"
    why = f"{together:,} of {len(domain):,} rows share one of {values:,} values with another row"
    said = (
        f"column {name!r} looks like an identifier, and {why} ({domain.origin or domain.name}): with rows of one value "
        f"in training and in test a model looks better than it is for new ones; `compare {out}` keeps them on one side"
    )
    return Finding("shared_identifier", said, (name,), (domain.name,), together, why, out)


def _is_named(column: Column) -> bool:
    """Whether a column is called an identifier and holds codes, or holds e-mail addresses."""
    if column.is_number:
        values = column.values[~column.missing]
        return _called_identifier(column.name) and bool((values == np.round(values)).all())
    present = [str(value) for value in column.values[~column.missing][:FEWEST_ROWS]]
    if present and all(_EMAIL.fullmatch(value) for value in present):
        return True
    return _called_identifier(column.name)


def _called_identifier(name: str | int) -> bool:
    return isinstance(name, str) and (is_called_identifier(name) or _NUMBER.search(name) is not None)


def _why(sample: Column, domain: Domain) -> str:
    if not _is_whole(sample.values) or len(pd.unique(sample.values)) < 0.5 * len(sample.values):
        return ""
    # The sample says that it may be one; all rows say that it is.
    values = column_of(domain, sample.name).values
    distinct = len(pd.unique(values))
    if not _is_whole(values):
        return ""
    steps = np.diff(values)
    if distinct == len(values) and ((steps > 0).all() or (steps < 0).all()):
        kind = "numbers the rows" if (np.abs(steps) == 1).all() else "rises from row to row" if steps[0] > 0 else ""
        return f"{kind or 'falls from row to row'}, another whole number in each"
    if distinct == len(values) and values.max() - values.min() == len(values) - 1:
        return "numbers the rows, in another order"
    if _called_identifier(sample.name) and distinct >= 0.5 * len(values):
        return f"is called an identifier and has {distinct:,} distinct whole numbers in {len(values):,} rows"
    return ""


def _is_whole(values: np.ndarray) -> bool:
    return len(values) >= FEWEST_ROWS and bool(np.isfinite(values).all()) and bool((values == np.round(values)).all())
