"""How the columns of the user's tables were read, in a line per kind: for the screen and the record."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from tl_research.data.readers.rules import ColumnRule
from tl_research.data.readers.schema import Schema

#: Columns that one line names before it only counts.
NAMED = 12
_KINDS = {"number": "numbers", "date": "dates", "category": "categories", "text": "texts", "drop": "left out"}


def columns_said(schema: Schema, tables: Sequence[pd.DataFrame], dropped: Iterable[str] = ()) -> list[str]:
    """Return one line per kind: `numbers: price ($), age`, `categories: country (12 values)`, `left out: id (...)`.

    Args:
        schema: how they were read.
        tables: typed columns of all domains.
        dropped: columns that the configuration leaves out by name.
    """
    found: dict[str, list[str]] = {kind: [] for kind in _KINDS}
    for name, rule in schema.columns.items():
        found[rule.kind].append(name + _more(name, rule, tables))
    found["drop"] += [f"{name} (data.drop)" for name in dropped]
    lines = []
    for kind, names in found.items():
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        lines += [f"{_KINDS[kind]}: {', '.join(names[:NAMED])}{more}"] if names else []
    return lines


def _more(name: str, rule: ColumnRule, tables: Sequence[pd.DataFrame]) -> str:
    """What a line says of one column behind its name."""
    if rule.kind == "category":
        values = set().union(*(table[name].dropna().unique() for table in tables if name in table))
        if rule.kept:
            return f" (the {len(rule.kept):,} most frequent values)"
        return f" ({len(values):,} value{'' if len(values) == 1 else 's'})"
    if rule.kind == "date":
        order = {"dmy": "day first", "mdy": "month first", "clock": "clock times"}.get(rule.order)
        parts = [*filter(None, [order]), *rule.parts]
        return f" ({', '.join(parts)})" if parts else ""
    said = rule.reason.removeprefix("it ") if rule.kind == "drop" else rule.unit
    return f" ({said})" if said else ""
