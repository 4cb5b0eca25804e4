"""What is suspicious about the user's rows: counted in `Domain.info`, said in `Domain.remarks`, never mended."""

from __future__ import annotations

import numpy as np

from tl_research.data.domain import Domain
from tl_research.data.readers.duplicates import duplicate_rows, row_hashes


def audit(domains: dict[str, Domain], target: str) -> None:
    """Look at the rows of all domains of a task and add what was found to each domain's `info` and `remarks`.

    Args:
        domains: by name, as read, before any split.
        target: name of the target.
    """
    _same_rows(domains, target)


def _same_rows(domains: dict[str, Domain], target: str) -> None:
    hashes = {name: row_hashes(domain.inputs, domain.label) for name, domain in domains.items()}
    for name, domain in domains.items():
        counts = {"duplicate_rows": duplicate_rows(hashes[name])}
        if name != target and target in hashes:
            counts["rows_also_in_target"] = int(np.isin(hashes[name], hashes[target]).sum())
        domain.info.update({fact: count for fact, count in counts.items() if count})
