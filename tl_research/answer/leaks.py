"""What may be a leak, and the rows and columns of a question without it.

The answer rests on no column that may be known after the outcome alone, and on no old row that is a row of the new
file; what was left out is said, with what the answer is with it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from tl_research.data.audit.coincidence import are_copies
from tl_research.data.audit.columns import table_of
from tl_research.data.audit.findings import LEAKS, Finding
from tl_research.data.audit.overlap import feature_keys
from tl_research.data.audit.words import count
from tl_research.data.domain import Domain
from tl_research.data.modalities import Modalities
from tl_research.errors import ConfigError, DataError, nearest

#: What a suspect column does, after "which".
_DOES = {
    "value_tells": "tells the label almost alone",
    "missing_tells": "tells the label almost alone by whether it has a value",
    "later_date": "is a date that may be written after the outcome",
    "empty_column": "has no value in one file",
}


class Suspect(NamedTuple):
    """A column that the answer leaves out unless it is asked to keep it.

    Fields:
        column: its name; of a matrix, its position.
        kind: of the finding; see `findings.KINDS`.
        why: the evidence.
    """

    column: str | int
    kind: str
    why: str

    @property
    def said(self) -> str:
        """The column and what it does: `` `won`, which tells the label almost alone (AUROC 1.00 in old.csv) ``."""
        return f"`{self.column}`, which {_DOES[self.kind]} ({self.why})"


def suspects(findings: Iterable[Finding], *, target: str, keep: Sequence[str] = ()) -> list[Suspect]:
    """Return the columns that may be leaks, each once, and those that the target has no value in.

    Args:
        findings: of the audit.
        target: name of the target; a column that is empty there says nothing of its rows.
        keep: columns that the user vouches for.
    """
    found: dict[str | int, Suspect] = {}
    for finding in findings:
        empty_in_target = finding.kind == "empty_column" and target in finding.domains
        if finding.kind in LEAKS or empty_in_target:
            for column in finding.columns:
                if str(column) not in keep:
                    found.setdefault(column, Suspect(column, finding.kind, finding.why))
    return list(found.values())


def refuse_unknown(keep: Sequence[str], domain: Domain) -> None:
    """Raise `ConfigError` where `--keep-column` names a column that there is not."""
    table = table_of(domain)
    known = list(map(str, range(domain.inputs.shape[-1]) if table is None else table.columns))
    for name in keep:
        if name not in known:
            raise ConfigError(
                f"--keep-column: {domain.origin or domain.name} has no column {name!r}{nearest(name, known)}"
            )


def without_columns(domains: Mapping[str, Domain], columns: Sequence[str | int]) -> dict[str, Domain]:
    """Return the domains without some columns; where nothing is left of a domain, all domains as they are.

    A column of a table is taken out, and the schema says why it is not read. A column of a matrix is 0 in every row, so
    that rows to be predicted keep their width; scaled by `standard`, whatever they hold there is then 0 too.
    """
    changed = {name: _without(domain, columns) for name, domain in domains.items()}
    if any(domain is None for domain in changed.values()):
        return dict(domains)
    return {name: domain for name, domain in changed.items() if domain is not None}


def _without(domain: Domain, columns: Sequence[str | int]) -> Domain | None:
    inputs, table = domain.inputs, table_of(domain)
    if table is None:
        positions = [column for column in columns if isinstance(column, int)]
        if isinstance(inputs, Modalities) or not positions:
            return domain
        return replace(domain, inputs=_zeroed(inputs, positions))
    schema = copy.deepcopy(domain.schema)
    origin = {} if schema is None else schema.origin_of_outputs()
    left = table.drop(columns=[name for name in table.columns if origin.get(name, name) in columns])
    for column in columns if schema is not None else ():
        if column in schema.columns:
            schema.leave_out(column, "it may be a leak")
    if isinstance(inputs, Modalities):
        others = inputs.image is not None or inputs.text is not None
        if not left.shape[1] and not others:
            return None
        return replace(domain, inputs=replace(inputs, table=left if left.shape[1] else None), schema=schema)
    return replace(domain, inputs=left, schema=schema) if left.shape[1] else None


def _zeroed(inputs, positions: Sequence[int]):
    if isinstance(inputs, np.ndarray):
        inputs = inputs.copy()
        inputs[:, positions] = 0
        return inputs
    kept = np.ones(inputs.shape[1])
    kept[list(positions)] = 0
    return inputs.multiply(kept[None, :]).tocsr()


def without_copies(
    domains: Mapping[str, Domain], target: str, *, ignored: Sequence[str | int] = ()
) -> tuple[dict[str, Domain], list[str]]:
    """Return the domains without the source rows that stand among the target's labelled rows, and what was taken out.

    Rows are the same where their features are, whatever their labels: taking out those of equal label alone would turn
    the old data against the target. Where equal rows are no copies but meet by chance (`are_copies`), none is taken.

    Args:
        domains: by name.
        target: name of the target.
        ignored: columns that number the rows.

    Raises:
        DataError: no source row is left.
    """
    new = domains[target]
    keys = {name: feature_keys(domain, ignored) for name, domain in domains.items()}
    labelled = keys[target][new.has_label]
    kept, remarks = dict(domains), []
    for name, domain in domains.items():
        if name == target:
            continue
        same = pd.Series(keys[name]).isin(labelled).to_numpy()
        if not same.any():
            continue
        found = f"{domain.origin or name}: {int(same.sum()):,} of {count(len(domain), 'row')}"
        place = new.origin or target
        if not are_copies(domain, keys[name], ignored):
            remarks.append(
                f"{found} equal a labelled row of {place}, as rows of so few values do by chance: they are kept"
            )
        elif same.all():
            del kept[name]
            remarks.append(f"{found} are labelled rows of {place} too: nothing is left of this file")
        else:
            kept[name] = rows_of(domain, np.flatnonzero(~same))
            remarks.append(f"{found} are labelled rows of {place} too, and are left out of the old data")
    if set(kept) == {target}:
        raise DataError(f"{'; '.join(remarks)}: there are no old data")
    return kept, remarks


def rows_of(domain: Domain, rows: np.ndarray) -> Domain:
    """Return some rows (k,) of a domain; messages name them by their number in the file, as before."""
    inputs = domain.inputs
    taken = {
        name: None if part is None else part[rows]
        for name, part in (("split", domain.split), ("row_hash", domain.row_hash))
    }
    return replace(
        domain,
        inputs=inputs.iloc[rows].reset_index(drop=True) if isinstance(inputs, pd.DataFrame) else inputs[rows],
        label=domain.label[rows],
        row_numbers=domain.numbers[rows],
        aside=None if domain.aside is None else domain.aside.iloc[rows].reset_index(drop=True),
        extra={name: column[rows] for name, column in domain.extra.items()},
        **taken,
    )
