"""Columns that tell the label almost alone: a copy of it, under another name or as text, or what is known after it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from tl_research.data.audit.columns import ROWS, Column, columns, correlated_columns, some_rows
from tl_research.data.audit.words import columns_to_drop, listed
from tl_research.data.domain import Domain

#: AUROC of one column from which on it is named.
SUSPICIOUS_AUROC = 0.99
#: Share of rows whose class one column tells, and the most that may be left of the errors of always the largest class.
SUSPICIOUS_ACCURACY, LEFT_OF_ERRORS = 0.99, 0.1
#: Squared correlation with a number to be predicted.
SUSPICIOUS_R2 = 0.99
#: Rows of a class (of a number: in all) from which on a column is judged.
FEWEST_OF_CLASS, FEWEST_NUMBERS = 5, 20
#: Groups that a column of many numbers is cut into at most, and the rows that a value has on average.
BINS, ROWS_OF_VALUE = 64, 10


def label_leaks(domains: dict[str, Domain]) -> list[str]:
    """Name the columns of which one alone tells the label, by class or by number.

    A column of numbers is judged by its AUROC in both directions. A column of few numbers or of text, and whether a
    value is missing, are judged by how well the classes of one half of the rows, by value, tell those of the other.
    Rows that repeat an earlier one are passed over; of more than `ROWS` labelled rows a sample is read.

    Args:
        domains: by name; of each the labelled rows are read.
    """
    found: dict[str | int, list[tuple[str, str, Domain]]] = {}
    for domain in domains.values():
        rows = some_rows(len(domain), domain.has_label & _first_of_equals(domain))
        label = domain.label[rows]
        is_enough, how_well = JUDGES[domain.label_kind.name]
        if not is_enough(domain, label):
            continue
        for column in _candidates(domain, rows, label):
            for what, said in () if column.missing.all() else how_well(column, label, domain):
                found.setdefault(column.name, []).append((what, said, domain))
    remarks = []
    for name, places in found.items():
        what = "whether column {} has a value" if places[0][0] == "missing" else "column {}"
        where = ", ".join(f"{said} in {_place(domain)}" for _, said, domain in places)
        remarks.append(
            f"{what.format(repr(name))} tells the label almost alone ({where}): is it known before the outcome? if "
            f"not, leave it out: {columns_to_drop([name])}"
        )
    if len(remarks) > 5:
        rest = list(found)[5:]
        last = f"{len(rest)} more columns tell the label almost alone: {listed(rest)}"
        remarks = [*remarks[:5], last]
    return remarks


def _place(domain: Domain) -> str:
    labelled = int(domain.has_label.sum())
    sample = f", {ROWS:,} of {labelled:,} rows" if labelled > ROWS else ""
    return f"{domain.origin or domain.name}{sample}"


def _first_of_equals(domain: Domain) -> np.ndarray:
    """(n,) bool: rows that repeat no earlier one; all, where the rows were not compared."""
    if domain.row_hash is None:
        return np.ones(len(domain), dtype=bool)
    return ~pd.Series(domain.row_hash).duplicated().to_numpy()


def _enough_of_classes(domain: Domain, label: np.ndarray) -> bool:
    return int((domain.label_kind.sizes(label) >= FEWEST_OF_CLASS).sum()) >= 2


def _enough_numbers(domain: Domain, label: np.ndarray) -> bool:
    return len(label) >= FEWEST_NUMBERS and label.min() < label.max()


def _candidates(domain: Domain, rows: np.ndarray, label: np.ndarray) -> Iterator[Column]:
    yield from columns(domain, rows)
    yield from correlated_columns(domain, rows, domain.label_kind.wide(label))


def _how_well_classes(column: Column, label: np.ndarray, domain: Domain) -> Iterator[tuple[str, str]]:
    classes = len(domain.classes)
    if column.missing.any() and (said := _tells_classes(column.missing.astype(np.int64), label, classes)):
        yield "missing", said
    elif said := _tells_class(column, label, classes):
        yield "value", said


def _how_well_numbers(column: Column, label: np.ndarray, domain: Domain) -> Iterator[tuple[str, str]]:
    if said := _tells_number(column, label):
        yield "value", said


#: By kind of label: whether there is enough to judge a column by, and what a column with values tells.
JUDGES = {"class": (_enough_of_classes, _how_well_classes), "regression": (_enough_numbers, _how_well_numbers)}


def _tells_class(column: Column, label: np.ndarray, classes: int) -> str:
    present = ~column.missing
    if column.is_number and classes == 2:
        positive = label[present] == 1
        area = auroc(column.values[present], positive)
        if area is not None and max(area, 1 - area) >= SUSPICIOUS_AUROC:
            return f"AUROC {max(area, 1 - area):.2f}"
    codes = _codes(column)
    return "" if codes is None else _tells_classes(codes, label, classes)


def _tells_classes(codes: np.ndarray, label: np.ndarray, classes: int) -> str:
    """Say how well the classes of one half of the rows, by code, tell those of the other half; empty: not well."""
    label = label.astype(np.int64)
    halves = np.random.default_rng(0).permutation(len(label)) % 2
    shares = np.bincount(label, minlength=classes) / len(label)
    probability = np.zeros((len(label), classes))
    for half in (0, 1):
        known = halves == half
        cells = np.bincount(codes[known] * classes + label[known], minlength=(int(codes.max()) + 1) * classes)
        table = cells.reshape(-1, classes) + shares
        probability[~known] = (table / table.sum(axis=1, keepdims=True))[codes[~known]]
    accuracy = float(np.mean(probability.argmax(axis=1) == label))
    if accuracy >= SUSPICIOUS_ACCURACY and 1 - accuracy <= LEFT_OF_ERRORS * (1 - shares.max()):
        return f"right on {100 * accuracy:.1f} % of rows"
    if classes == 2:
        area = auroc(probability[:, 1], label == 1)
        if area is not None and area >= SUSPICIOUS_AUROC:
            return f"AUROC {area:.2f}"
    return ""


def _tells_number(column: Column, label: np.ndarray) -> str:
    if not column.is_number:
        return ""
    present = ~column.missing
    x, y = column.values[present], label[present].astype(np.float64)
    if len(x) < FEWEST_NUMBERS or not x.min() < x.max() or not y.min() < y.max():
        return ""
    straight, ranked = (np.corrcoef(a, b)[0, 1] for a, b in ((x, y), (rankdata(x), rankdata(y))))
    best = max(abs(straight), abs(ranked))
    return f"correlation {best:.3f}" if best**2 >= SUSPICIOUS_R2 else ""


def _codes(column: Column) -> np.ndarray | None:
    """Groups of equal values (n,), or of near ones where there are many numbers; missing is a group of its own.

    None for texts of a few rows each: they name who was met twice rather than tell a label.
    """
    codes, values = pd.factorize(column.values, use_na_sentinel=True)
    most = min(BINS, max(2, len(codes) // ROWS_OF_VALUE))
    if len(values) > most:
        if not column.is_number:
            return codes + 1 if len(values) <= len(codes) / ROWS_OF_VALUE else None
        present = codes >= 0
        edges = np.unique(np.quantile(column.values[present], np.arange(1, most) / most))
        codes = np.where(present, np.searchsorted(edges, column.values, side="left"), -1)
    return codes + 1


def auroc(score: np.ndarray, positive: np.ndarray) -> float | None:
    """P(score of a positive > of a negative) + ½ P(equal); None with fewer than `FEWEST_OF_CLASS` of a class."""
    n, m = int(positive.sum()), int((~positive).sum())
    if min(n, m) < FEWEST_OF_CLASS:
        return None
    return float((rankdata(score)[positive].sum() - n * (n + 1) / 2) / (n * m))
