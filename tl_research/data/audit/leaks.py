"""Columns that tell the label almost alone: a copy of it, under another name or as text, or what is known after it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from tl_research.data.audit.columns import ROWS, Column, columns, correlated_columns, some_rows
from tl_research.data.audit.findings import Finding
from tl_research.data.audit.strength import ALMOST_ALONE, is_enough, what_it_tells
from tl_research.data.audit.words import columns_to_drop
from tl_research.data.domain import Domain


def label_leaks(domains: dict[str, Domain]) -> list[Finding]:
    """Name the columns of which one alone tells the label, by class or by number; see `strength.what_it_tells`.

    Rows that repeat an earlier one are passed over; of more than `ROWS` labelled rows a sample is read.

    Args:
        domains: by name; of each the labelled rows are read.
    """
    found: dict[str | int, list[tuple[str, str, Domain]]] = {}
    for domain in domains.values():
        rows = judged_rows(domain)
        label = domain.label[rows]
        if not is_enough(domain, label, ALMOST_ALONE):
            continue
        for column in _candidates(domain, rows, label):
            if told := what_it_tells(column, label, domain, ALMOST_ALONE):
                found.setdefault(column.name, []).append((*told, domain))
    return [_finding(name, places) for name, places in found.items()]


def _finding(name: str | int, places: list[tuple[str, str, Domain]]) -> Finding:
    kind = f"{places[0][0]}_tells"
    what = {"missing_tells": "whether column {} has a value", "value_tells": "column {}"}[kind]
    where = ", ".join(f"{said} in {place(domain)}" for _, said, domain in places)
    out = columns_to_drop([name])
    said = (
        f"{what.format(repr(name))} tells the label almost alone ({where}): is it known before the outcome? if "
        f"not, leave it out: {out}"
    )
    return Finding(kind, said, (name,), tuple(domain.name for *_, domain in places), why=where, way_out=out)


def judged_rows(domain: Domain) -> np.ndarray:
    """Return the numbers of the labelled rows that columns are judged by: equal ones once, at most `ROWS`."""
    return some_rows(len(domain), domain.has_label & _first_of_equals(domain))


def place(domain: Domain) -> str:
    """Name a domain, and how many of its labelled rows were read where it has more than `ROWS`."""
    labelled = int(domain.has_label.sum())
    sample = f", {ROWS:,} of {labelled:,} rows" if labelled > ROWS else ""
    return f"{domain.origin or domain.name}{sample}"


def _first_of_equals(domain: Domain) -> np.ndarray:
    """(n,) bool: rows that repeat no earlier one; all, where the rows were not compared."""
    if domain.row_hash is None:
        return np.ones(len(domain), dtype=bool)
    return ~pd.Series(domain.row_hash).duplicated().to_numpy()


def _candidates(domain: Domain, rows: np.ndarray, label: np.ndarray) -> Iterator[Column]:
    yield from columns(domain, rows)
    yield from correlated_columns(domain, rows, domain.label_kind.wide(label))
