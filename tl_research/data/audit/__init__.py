"""What is suspicious about the user's rows: counted in `Domain.info`, said in `Domain.remarks`, never mended.

Every check is a function that takes domains and returns sentences. It reads the labels of all rows, also of those that
will be test rows; what it finds is for the user's eyes alone, and no number of a run depends on it.
"""

from __future__ import annotations

from collections.abc import Collection

from tl_research.data.audit.categories import categories
from tl_research.data.audit.identifiers import identifiers
from tl_research.data.audit.labels import classes_as_they_look, turned_label
from tl_research.data.audit.leaks import label_leaks
from tl_research.data.audit.overlap import same_rows
from tl_research.data.audit.population import refuse_too_few
from tl_research.data.domain import Domain

__all__ = ["audit", "refuse_too_few"]


def audit(domains: dict[str, Domain], target: str, left_out: Collection[str] = ()) -> None:
    """Look at all rows of a task; counts go to each domain's `info`, sentences to the target's `remarks`.

    Args:
        domains: by name, as read, before any split.
        target: name of the target.
        left_out: columns that name rows and will be no features.
    """
    named, ids = identifiers(domains, left_out)
    same = same_rows(domains, target, ids)
    found = [
        *label_leaks(domains),
        *named,
        *same,
        *classes_as_they_look(domains),
        *turned_label(domains, target),
        *categories(domains, target),
    ]
    # A new list: domains of one file share the reader's.
    domains[target].remarks = [*domains[target].remarks, *found]
