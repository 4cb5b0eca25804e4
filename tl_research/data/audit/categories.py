"""Categories by domain: none shared, few, or the same ones spelled otherwise; columns that one domain leaves empty."""

from __future__ import annotations

import pandas as pd

from tl_research.data.audit.columns import table_of
from tl_research.data.audit.findings import Finding
from tl_research.data.audit.words import columns_to_drop, count, folded, listed
from tl_research.data.domain import Domain

#: Share of target rows with a category that no source row has, from which on it is said.
MOSTLY_NEW = 0.5
#: A column with more values than this share of its rows names rows rather than kinds of rows.
NAMES_ROWS = 0.9


def categories(domains: dict[str, Domain], target: str) -> list[Finding]:
    """Compare the categories of every column of text, and which columns have values at all, between the domains."""
    tables = {name: table for name, domain in domains.items() if (table := table_of(domain)) is not None}
    if target not in tables or len(tables) < 2:
        return []
    found: list[Finding] = []
    for name in tables[target].columns:
        parts = {key: table[name] for key, table in tables.items() if name in table.columns}
        empty = [key for key, column in parts.items() if column.isna().all()]
        if empty and len(empty) < len(parts):
            where = " and ".join(domains[key].origin or key for key in empty)
            said = (
                f"column {name!r} has no value in {where} but has some elsewhere: where it has none it tells nothing "
                "(a number is the median of the other rows); to leave it out: data.drop"
            )
            out = columns_to_drop([name])
            found.append(Finding("empty_column", said, (name,), tuple(empty), why=f"no value in {where}", way_out=out))
            continue
        sizes = {key: column.value_counts() for key, column in parts.items() if _is_text(column)}
        if target in sizes and len(sizes) > 1:
            alike = _spellings(name, sizes)
            found += alike + _unshared(name, sizes, domains, target, spelled_alike=bool(alike))
    return found


def _spellings(name: str, sizes: dict[str, pd.Series]) -> list[Finding]:
    """Values that are one where case, blanks and accents do not count."""
    total = pd.concat(list(sizes.values())).groupby(level=0).sum().sort_values(ascending=False, kind="stable")
    if len(total) > NAMES_ROWS * total.sum() and total.sum() >= 50:
        return []
    groups: dict[str, list[tuple[str, int]]] = {}
    for value, size in total.items():
        groups.setdefault(folded(str(value)), []).append((str(value), int(size)))
    alike = [group for group in groups.values() if len(group) > 1]
    if not alike:
        return []
    said = "; ".join(" and ".join(f"{value!r} ({count(size, 'row')})" for value, size in group) for group in alike[:3])
    more = f" and {len(alike) - 3} more" if len(alike) > 3 else ""
    sentence = (
        f"column {name!r}: {said}{more} differ in case, blanks or accents alone and are different categories; give "
        "them one spelling if they are one"
    )
    return [Finding("category_spelling", sentence, (name,), tuple(sizes), why=f"{said}{more}")]


def _unshared(
    name: str, sizes: dict[str, pd.Series], domains: dict[str, Domain], target: str, *, spelled_alike: bool
) -> list[Finding]:
    ours = sizes[target]
    known = set().union(*(column.index for key, column in sizes.items() if key != target))
    rows = int(ours.sum())
    if not known or not rows or (len(ours) > NAMES_ROWS * rows and rows >= 50):
        return []
    new = ours[[value not in known for value in ours.index]]
    unseen = int(new.sum())
    if unseen < MOSTLY_NEW * rows:
        return []
    place = domains[target].origin or target
    theirs = next(column for key, column in sizes.items() if key != target)
    what = "no value is" if unseen == rows else f"{len(new)} of {count(len(ours), 'value')} are not"
    sentence = (
        f"column {name!r}: {what} in a source ({listed(new.index[:3])} in {place}; {listed(theirs.index[:3])} in the "
        f"source): {unseen:,} of {count(rows, 'row')} of {place} hold a category that no source row has; are they "
        f"{'to be spelled as there' if spelled_alike else 'spelled otherwise'}?"
    )
    return [Finding("unknown_category", sentence, (name,), (target,), unseen, way_out=columns_to_drop([name]))]


def _is_text(column: pd.Series) -> bool:
    return not pd.api.types.is_numeric_dtype(column.dtype) or pd.api.types.is_bool_dtype(column.dtype)
