"""What is suspicious about the user's rows: counted in `Domain.info`, said in `Domain.remarks`, never mended.

Every check is a function that takes domains and returns findings, each with its sentence. It reads the labels of all
rows, also of those that will be test rows. What it finds is for the user's eyes, and no number of a run depends on it;
`compare` gives its answer without the columns that may be leaks, and says so.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from tl_research.data.audit.categories import categories
from tl_research.data.audit.findings import Finding, sentences
from tl_research.data.audit.identifiers import identifiers, shared_identifiers
from tl_research.data.audit.labels import classes_as_they_look, turned_label
from tl_research.data.audit.later_dates import later_dates
from tl_research.data.audit.leaks import label_leaks
from tl_research.data.audit.overlap import same_rows
from tl_research.data.audit.population import refuse_too_few
from tl_research.data.domain import Domain

__all__ = ["audit", "numbering", "refuse_too_few"]


def audit(domains: dict[str, Domain], target: str, left_out: Collection[str] = ()) -> None:
    """Look at all rows of a task.

    Counts go to each domain's `info`, findings to the target's `findings`, and their sentences to its `remarks`.

    Args:
        domains: by name, as read, before any split.
        target: name of the target.
        left_out: columns that name rows and will be no features.
    """
    named = identifiers(domains)
    same = same_rows(domains, target, numbering(named, left_out))
    named = [finding for finding in named if not set(left_out) & set(finding.columns)]
    leaks = label_leaks(domains)
    leaking = {name for finding in leaks for name in finding.columns}
    found = [
        *leaks,
        *(finding for finding in later_dates(domains) if leaking.isdisjoint(finding.columns)),
        *named,
        *(finding for finding in shared_identifiers(domains) if leaking.isdisjoint(finding.columns)),
        *same,
        *classes_as_they_look(domains),
        *turned_label(domains, target),
        *categories(domains, target),
    ]
    # New lists: domains of one file share the reader's.
    domains[target].findings = [*domains[target].findings, *found]
    domains[target].remarks = [*domains[target].remarks, *sentences(found)]


def numbering(findings: Iterable[Finding], left_out: Collection[str] = ()) -> list[str | int]:
    """Return the columns that number the rows, by which rows that are the same cannot be known."""
    named = [name for finding in findings if finding.kind == "numbers_rows" for name in finding.columns]
    return list(dict.fromkeys([*named, *left_out]))
