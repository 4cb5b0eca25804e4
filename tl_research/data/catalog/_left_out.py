"""Columns of the user's own files that are no features: those that not all files have, and those that name rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches

import pandas as pd

from tl_research.data.domain import Domain
from tl_research.data.readers.deciding import unknown_columns
from tl_research.data.readers.identifiers import identifier_reason
from tl_research.data.readers.rows import LabelledRows
from tl_research.data.readers.schema import RawRows
from tl_research.errors import DataError


def leave_out_unshared(raws: Sequence[RawRows]) -> dict[str, str]:
    """Take out the columns that not all files have, and return why, by name.

    Where the names of two such columns are nearly the same, one of them may be misspelled; where no column is shared,
    the names themselves may be missing: then nothing is taken out, and `decide_schema` refuses.
    """
    if not all(raw.is_table for raw in raws):
        return {}
    columns = {raw.origin: list(raw.features.columns) for raw in raws}
    shared = set.intersection(*map(set, columns.values()))
    unshared = {
        name: [origin for origin, own in columns.items() if name in own] for own in columns.values() for name in own
    }
    unshared = {name: holders for name, holders in unshared.items() if name not in shared}
    if not shared or any(_is_misspelled(name, unshared) for name in unshared):
        return {}
    for raw in raws:
        raw.features = raw.features[[name for name in raw.features.columns if name in shared]]
    return {name: f"only {' and '.join(holders)} has it" for name, holders in unshared.items()}


def _is_misspelled(name: str, unshared: Mapping[str, list[str]]) -> bool:
    """Whether a column that other files have is called nearly so."""
    plain = {other.casefold(): holders for other, holders in unshared.items() if other != name}
    near = get_close_matches(name.casefold(), plain, n=3, cutoff=0.8)
    return any(not set(plain[other]) & set(unshared[name]) for other in near)


def leave_out_unknown_columns(sources: Sequence[LabelledRows], target: LabelledRows) -> None:
    """Take out the columns that no source has a value in: nothing can be learnt about the target's values."""
    if not isinstance(target.inputs, pd.DataFrame):
        return
    unknown = unknown_columns([rows.inputs for rows in sources], target.inputs)
    origins = ", ".join(dict.fromkeys(rows.origin for rows in sources))
    found = [target.schema.leave_out(name, f"no value in {origins}") for name in unknown]
    target.remarks = [*target.remarks, *found]
    for rows in (*sources, target):
        rows.inputs = rows.inputs.drop(columns=unknown)


def identifiers_among(domains: dict[str, Domain], said: Collection[str]) -> dict[str, str]:
    """Return, for each column of a table that names its rows, why; but for those in `said`, which the user wants."""
    tables = [domain for domain in domains.values() if isinstance(domain.inputs, pd.DataFrame)]
    origin = {} if not tables or tables[0].schema is None else tables[0].schema.origin_of_outputs()
    found = {}
    for name in tables[0].inputs.columns if tables else ():
        if name in said or origin.get(name) != name or tables[0].schema.columns[name].kind == "date":
            continue
        columns = [domain.inputs[name] for domain in tables]
        if why := identifier_reason(name, columns, [domain.numbers for domain in tables]):
            found[name] = why
    return found


def leave_out_identifiers(domains: dict[str, Domain], target: str, reasons: Mapping[str, str]) -> None:
    """Take the columns that name rows out of the features, with a remark each.

    Raises:
        DataError: no other column is left.
    """
    schema = domains[target].schema
    where = ", ".join(dict.fromkeys(domain.origin or domain.name for domain in domains.values()))
    for name, why in reasons.items():
        kept = f"data.schema.{name}={schema.columns[name].kind}"
        said = schema.leave_out(name, f"it {why}", f" ({where}); {kept} keeps it")
        for domain in domains.values():
            domain.set_aside(name)
            domain.info["columns_dropped"] = sorted({*domain.info.get("columns_dropped", ()), name})
        domains[target].remarks = [*domains[target].remarks, said]
    if reasons and not domains[target].inputs.shape[1]:
        raise DataError(f"{where}: no column is left to learn from; {domains[target].remarks[-1]}")
