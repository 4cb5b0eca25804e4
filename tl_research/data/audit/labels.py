"""What the labels look like: classes of a row or two, misspelled ones, dates, and a coding that is turned round."""

from __future__ import annotations

import re
from difflib import get_close_matches

import numpy as np
import pandas as pd

from tl_research.data.audit.columns import Column, columns, some_rows
from tl_research.data.audit.findings import Finding
from tl_research.data.audit.strength import auroc
from tl_research.data.audit.words import LISTED, count, folded, listed
from tl_research.data.domain import Domain

#: Rows of a class below which it is named.
FEW_OF_CLASS = 5
#: How far from one half a column's AUROC must be in both domains to count: standard errors, and distance.
CLEAR, LEAST_DISTANCE = 4.0, 0.05
#: Share of the evidence of the clear columns that must point the other way.
TURNED = 0.8
_DATE = re.compile(
    r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}(?:[T ].*)?|\d{1,2}[-/.]\d{1,2}[-/.](?:\d{4}|\d{2})(?: .*)?|"
    r"(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])|"
    r"[A-Za-z]{3,9} \d{1,2},? \d{4}|\d{1,2}\.?[- ][A-Za-z]{3,9}[- ]\d{2,4}"
)


def classes_as_they_look(domains: dict[str, Domain]) -> list[Finding]:
    """Say which classes have a handful of rows, which are spelled alike, and whether they are dates."""
    classes = next(iter(domains.values())).classes
    found = []
    if 0 < sum(_DATE.fullmatch(name) is not None for name in classes) == len(classes):
        said = (
            f"the {len(classes)} classes of the label are dates ({listed(classes[:2])}): is this the column to be "
            "predicted (data.label)?"
        )
        found.append(Finding("dates_as_classes", said, domains=tuple(domains), way_out="data.label"))
    by_spelling: dict[str, list[str]] = {}
    for name in classes:
        by_spelling.setdefault(folded(name), []).append(name)
    alike = [names for names in by_spelling.values() if len(names) > 1]
    if alike:
        spelled = "; ".join(" and ".join(map(repr, names)) for names in alike[:LISTED])
        fewer = len(by_spelling)
        said = (
            f"the label has {len(classes)} classes, and would have {fewer} if case, blanks and accents did not count: "
            f"{spelled}; give them one spelling if they are one class"
        )
        found.append(Finding("class_spelling", said, domains=tuple(domains), why=spelled))
    return found + _small_classes(domains, classes)


def _small_classes(domains: dict[str, Domain], classes: tuple[str, ...]) -> list[Finding]:
    sizes = {name: domain.label_kind.sizes(domain.label) for name, domain in domains.items()}
    found = []
    for code, name in enumerate(classes):
        where = tuple(key for key, own in sizes.items() if own[code] < FEW_OF_CLASS)
        few = [
            f"{sizes[key][code]} of {count(int(sizes[key].sum()), 'labelled row')} of {domains[key].origin or key}"
            for key in where
        ]
        if few:
            others = [other for other in classes if other != name]
            near = get_close_matches(name, others, n=1, cutoff=0.75) if name.isalpha() else []
            hint = f": is it a misspelled {near[0]!r}?" if near else ": hardly enough to learn it or to measure it"
            said = f"class {name!r} has {', '.join(few)}{hint}"
            found.append(Finding("small_class", said, domains=where, why=", ".join(few)))
    if len(found) > LISTED:
        rest = f"{len(found) - LISTED} more classes have fewer than {FEW_OF_CLASS} rows in a file"
        found = [*found[:LISTED], Finding("small_class", rest)]
    return found


def turned_label(domains: dict[str, Domain], target: str) -> list[Finding]:
    """Say so where what speaks for a class in a source speaks against it in the target, column by column.

    Of each column its AUROC for the label is taken in both domains (a category counts as its share of positives in the
    source). Columns that are clearly off one half in both vote with their distance from it.
    """
    new = domains[target]
    if len(new.classes) != 2 or not new.has_label.any():
        return []
    found = []
    for name, old in domains.items():
        if name == target:
            continue
        agree, turned, voters = 0.0, 0.0, []
        rows = {d.name: some_rows(len(d), d.has_label) for d in (old, new)}
        for theirs, ours in zip(columns(old, rows[old.name]), columns(new, rows[new.name])):
            votes = _distances(theirs, old.label[rows[old.name]], ours, new.label[rows[new.name]])
            if votes is None:
                continue
            weight = min(map(abs, votes))
            if votes[0] * votes[1] > 0:
                agree += weight
            else:
                turned += weight
                voters.append(theirs.name)
        if turned and turned >= TURNED * (turned + agree):
            shares = [float(np.mean(d.label[d.has_label] == 1)) for d in (old, new)]
            positive = new.classes[1]
            said = (
                f"what speaks for class {positive!r} in {old.origin or name} speaks against it in "
                f"{new.origin or target} (column{'s' * (len(voters) > 1)} {listed(voters)}; {100 * shares[0]:.0f} % "
                f"and {100 * shares[1]:.0f} % of rows are of it): is the label coded the other way round in one?"
            )
            found.append(Finding("turned_label", said, tuple(voters), (name, target)))
    return found


def _distances(theirs: Column, their_label, ours: Column, our_label) -> tuple[float, float] | None:
    """AUROC - ½ of a column in source and target; None where one of them is not clear, or the columns differ."""
    if theirs.name != ours.name or theirs.is_number != ours.is_number:
        return None
    if theirs.is_number:
        scores = [theirs.values, ours.values]
    else:
        share = pd.Series(their_label == 1).groupby(pd.Series(theirs.values)).mean()
        scores = [pd.Series(part.values).map(share).to_numpy(dtype=np.float64) for part in (theirs, ours)]
    distances = []
    for score, label in zip(scores, (their_label, our_label), strict=True):
        present = ~np.isnan(score)
        positive = label[present] == 1
        area = auroc(score[present], positive)
        if area is None:
            return None
        n, m = int(positive.sum()), int((~positive).sum())
        error = np.sqrt((n + m + 1) / (12 * n * m))
        if abs(area - 0.5) < max(CLEAR * error, LEAST_DISTANCE):
            return None
        distances.append(area - 0.5)
    return distances[0], distances[1]
