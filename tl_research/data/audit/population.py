"""Which rows belong to the task at all: domains of a file that no key names, and too few labelled target rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tl_research.data.audit.words import LISTED, count, folded
from tl_research.data.readers.domain_file import LabelledRows
from tl_research.errors import DataError


def left_out(domain: np.ndarray, names: Sequence[str], origin: str, column: str) -> list[str]:
    """Say which rows of a file with a domain column are in no domain of the task.

    Args:
        domain: (n,) text, the domain of each row.
        names: domains that `data.sources` and `data.target` name.
        origin, column: file and domain column, for the sentences.
    """
    rows = pd.Series(domain).value_counts()
    others = {name: int(size) for name, size in rows.items() if name not in names}
    if not others:
        return []
    few = ", ".join(f"{name!r} ({size:,})" for name, size in list(others.items())[:LISTED])
    more = f" and {count(len(others) - LISTED, 'more domain')}" if len(others) > LISTED else ""
    remarks = [
        f"{origin}: {sum(others.values()):,} of {len(domain):,} rows are left out, as neither data.sources nor "
        f"data.target names their {column!r}: {few}{more}"
    ]
    for name in names:
        variants = [other for other in others if folded(other) == folded(name)]
        for other in variants:
            remarks.append(
                f"{origin}: {column!r} {other!r} ({count(others[other], 'row')}) is another domain than {name!r} "
                f"({count(int(rows.get(name, 0)), 'row')}), as it is spelled otherwise; one spelling makes them one"
            )
    return remarks


def refuse_too_few(target: LabelledRows) -> None:
    """Raise `DataError` where the target has labels, but too few of them to be split at all."""
    if target.label is None:
        return
    labelled = int((target.label != None).sum())  # noqa: E711
    if labelled == 1:
        raise DataError(
            f"{target.origin}: 1 of {count(len(target), 'row')} has a label, and no model can be measured on one row; "
            "label at least 8 rows of the target, of every class (better 100 or more)"
        )
