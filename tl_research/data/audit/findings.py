"""`Finding`: one suspicious thing about the user's files as facts, with the sentence that says it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tl_research.data.audit.words import listed

#: What a finding may be.
KINDS = {
    "value_tells": "a column tells the label almost alone",
    "missing_tells": "whether a column has a value tells the label almost alone",
    "later_date": "a date after another date of its row says much of the label: it may be written after the outcome",
    "empty_column": "a column without any value in one file, where another file has some",
    "numbers_rows": "a column that numbers the rows, or an identifier that hardly ever repeats",
    "shared_identifier": "an identifier that several rows share",
    "repeated_rows": "rows of one file that are equal, label and all",
    "copied_file": "two files that hold the same bytes",
    "source_rows_in_target": "source rows that stand in the target, label and all",
    "small_class": "a class of a handful of rows",
    "class_spelling": "classes that differ in case, blanks or accents alone",
    "dates_as_classes": "classes that are dates",
    "turned_label": "what speaks for a class in a source speaks against it in the target",
    "category_spelling": "categories that differ in case, blanks or accents alone",
    "unknown_category": "target rows with a category that no source row has",
}
#: Columns whose values, as they stand in the file, may be known after the outcome alone.
LEAKS = ("value_tells", "missing_tells", "later_date")
#: Of these kinds so many are said one by one; the rest are listed in one sentence.
_SAID_ONE_BY_ONE, _TELLS = 5, ("value_tells", "missing_tells")


@dataclass(frozen=True)
class Finding:
    """One suspicious thing.

    Fields:
        kind: of `KINDS`.
        said: the sentence for screen and record.
        columns: names (of a matrix, positions) of the columns that it is about.
        domains: names of the domains that it was found in.
        rows: how many rows it is about; 0 where it is about a column or a class.
        why: the evidence, such as `AUROC 1.00 in old.csv`.
        way_out: the setting that mends it; empty where none does.
    """

    kind: str
    said: str
    columns: tuple[str | int, ...] = ()
    domains: tuple[str, ...] = ()
    rows: int = 0
    why: str = ""
    way_out: str = ""

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"kind: got {self.kind!r}, wants one of {', '.join(KINDS)}")


def sentences(findings: Iterable[Finding]) -> list[str]:
    """Return the sentences of findings, in their order; of many columns that tell the label the last are only named."""
    findings = list(findings)
    telling = [finding for finding in findings if finding.kind in _TELLS]
    rest = telling[_SAID_ONE_BY_ONE:]
    said = []
    for finding in findings:
        if finding not in rest:
            said.append(finding.said)
        elif finding is rest[0]:
            names = [name for other in rest for name in other.columns]
            said.append(f"{len(rest)} more columns tell the label almost alone: {listed(names)}")
    return said
