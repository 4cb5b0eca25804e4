"""Rows that stand twice: in one domain, in two, or on both sides of a split."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from tl_research.data.audit.findings import Finding
from tl_research.data.audit.words import count
from tl_research.data.domain import Domain
from tl_research.data.modalities import Modalities
from tl_research.data.readers.duplicates import duplicate_rows, row_hashes
from tl_research.data.splits import Rows


def same_rows(domains: dict[str, Domain], target: str, ignored: Sequence[str | int]) -> list[Finding]:
    """Hash the rows of all domains (`Domain.row_hash`), count those that are the same, and say so.

    Args:
        domains: by name.
        target: name of the target.
        ignored: columns that number the rows, and so hide that two are the same.

    Returns:
        The findings. The counts are in each domain's `info`: `duplicate_rows`, `rows_also_in_target`.
    """
    for domain in domains.values():
        domain.row_hash = _keys(domain.inputs, domain.label, ignored)
    aside = f" (beside {', '.join(map(repr, ignored))})" if ignored else ""
    found = []
    for name, domain in domains.items():
        place = domain.origin or name
        repeated = duplicate_rows(domain.row_hash)
        shared = 0
        if name != target and target in domains:
            shared = int(pd.Series(domain.row_hash).isin(domains[target].row_hash).sum())
        counts = {"duplicate_rows": repeated, "rows_also_in_target": shared}
        domain.info.update({fact: number for fact, number in counts.items() if number})
        if repeated:
            said = (
                f"{place}: {repeated:,} of {count(len(domain), 'row')} repeat an earlier row, label and all{aside}; "
                "they are kept"
            )
            found.append(Finding("repeated_rows", said, domains=(name,), rows=repeated))
        copied = next((other for other in domains if other != name and _is_copy(domain, domains[other])), None)
        if copied is not None and (name != target) and (copied == target or copied < name):
            said = (
                f"{place} and {domains[copied].origin or copied} hold the same bytes: one is a copy of the other, so "
                "that between them there is nothing to transfer"
            )
            found.append(Finding("copied_file", said, domains=(name, copied), rows=len(domain)))
        elif shared:
            said = (
                f"{place}: {shared:,} of {count(len(domain), 'row')} stand in the target "
                f"{domains[target].origin or target} too, label and all{aside}; does one export hold the other?"
            )
            found.append(Finding("source_rows_in_target", said, domains=(name, target), rows=shared))
    return found


def _is_copy(one: Domain, other: Domain) -> bool:
    return one.split_name is not None and one.split_name == other.split_name


def tested_in_training(sources: Sequence[tuple[Domain, Rows]], target: Domain, rows: Rows) -> list[str]:
    """Say how many of the target's test rows stand, label and all, among the rows that train.

    Args:
        sources: each source and its rows.
        target, rows: the target and its rows.
    """
    if target.row_hash is None:
        return []
    tested = target.row_hash[rows.test]
    remarks = []
    for domain, trained in ((target, rows.train), *((domain, rows.train) for domain, rows in sources)):
        if domain.row_hash is None:
            continue
        seen = int(pd.Series(tested).isin(domain.row_hash[trained]).sum())
        if seen:
            remarks.append(
                f"{seen:,} of the {count(len(tested), 'test row')} of {target.origin or target.name} equal a training "
                f"row of {domain.origin or domain.name}, label and all: what is measured on them is memory; keep each "
                "row once, in one file, unless equal rows are of different customers"
            )
    return remarks


def feature_keys(domain: Domain, ignored: Sequence[str | int] = ()) -> np.ndarray:
    """Return (n,) uint64, equal for rows of equal features; texts are compared by their letters and digits alone.

    Args:
        domain: its labels are not read.
        ignored: columns that number the rows.
    """
    return _keys(domain.inputs, np.zeros(len(domain)), ignored, plain_text=True)


def _keys(inputs, label: np.ndarray, ignored: Sequence[str | int], *, plain_text: bool = False) -> np.ndarray:
    if isinstance(inputs, Modalities):
        return _keys_of_modalities(inputs, label, ignored, plain_text)
    if isinstance(inputs, np.ndarray):
        if inputs.ndim > 2:
            return row_hashes(inputs.reshape(len(inputs), -1), label)
        kept = [position for position in range(inputs.shape[1]) if position not in ignored]
        inputs = inputs[:, kept] if 0 < len(kept) < inputs.shape[1] else inputs
    elif isinstance(inputs, pd.DataFrame):
        kept = [name for name in inputs.columns if name not in ignored]
        inputs = inputs[kept] if kept else inputs
    return row_hashes(inputs, label)


def _keys_of_modalities(
    inputs: Modalities, label: np.ndarray, ignored: Sequence[str | int], plain_text: bool
) -> np.ndarray:
    own = np.zeros(len(inputs), dtype=np.uint64)
    nothing = np.zeros(len(inputs))
    for part in (inputs.image, inputs.text, inputs.table):
        if part is None:
            continue
        if isinstance(part, pd.DataFrame):
            kept = [name for name in part.columns if name not in ignored] or list(part.columns)
            hashed = row_hashes(part[kept], nothing)
        elif part.dtype == object:
            text = [_letters(text) for text in part] if plain_text else part
            hashed = row_hashes(pd.DataFrame({"text": text}), nothing)
        else:
            hashed = row_hashes(part.reshape(len(part), -1), nothing)
        own = own * np.uint64(1_000_003) + hashed
    return own * np.uint64(31) + row_hashes(np.zeros((len(inputs), 1)), label)


def _letters(text: str | None) -> str | None:
    return None if text is None else re.sub(r"[\W_]+", "", text.casefold())
