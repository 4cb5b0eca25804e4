"""How well one column alone tells the label."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from tl_research.data.audit.columns import Column
from tl_research.data.domain import Domain

#: Rows of a class (of a number: in all) from which on a column is judged.
FEWEST_OF_CLASS, FEWEST_NUMBERS = 5, 20
#: Groups that a column of many numbers is cut into at most, and the rows that a value has on average.
BINS, ROWS_OF_VALUE = 64, 10


class Limits(NamedTuple):
    """From where on a column is said to tell the label.

    Fields:
        auroc: of one column, for two classes.
        accuracy: share of rows whose class it tells.
        left_of_errors: the most that may be left of the errors of always the largest class.
        r2: squared correlation with a number to be predicted.
        orders: of the rows of the two largest classes, n and m of them, C(n + m, n) must be as many, so that no column
            of many separates a handful of rows by chance.
    """

    auroc: float
    accuracy: float
    left_of_errors: float
    r2: float
    orders: float


ALMOST_ALONE = Limits(auroc=0.99, accuracy=0.99, left_of_errors=0.1, r2=0.99, orders=1e4)


def _enough_of_classes(domain: Domain, label: np.ndarray, limits: Limits) -> bool:
    second, first = sorted([0, 0, *domain.label_kind.sizes(label)])[-2:]
    return second >= FEWEST_OF_CLASS and math.comb(int(first + second), int(second)) >= limits.orders


def _enough_numbers(domain: Domain, label: np.ndarray, limits: Limits) -> bool:
    return len(label) >= FEWEST_NUMBERS and label.min() < label.max()


def _how_well_classes(column: Column, label: np.ndarray, domain: Domain, limits: Limits) -> tuple[str, str] | None:
    classes = len(domain.classes)
    if column.missing.any() and (said := _tells_classes(column.missing.astype(np.int64), label, classes, limits)):
        return "missing", said
    said = _tells_class(column, label, classes, limits)
    return ("value", said) if said else None


def _how_well_numbers(column: Column, label: np.ndarray, domain: Domain, limits: Limits) -> tuple[str, str] | None:
    said = _tells_number(column, label, limits)
    return ("value", said) if said else None


#: By kind of label: whether there is enough to judge a column by, and what a column with values tells.
_JUDGES = {"class": (_enough_of_classes, _how_well_classes), "regression": (_enough_numbers, _how_well_numbers)}


def is_enough(domain: Domain, label: np.ndarray, limits: Limits) -> bool:
    """Whether these labels (n,) of a domain are enough to judge a column by."""
    return _JUDGES[domain.label_kind.name][0](domain, label, limits)


def what_it_tells(column: Column, label: np.ndarray, domain: Domain, limits: Limits) -> tuple[str, str] | None:
    """Say how well one column tells the label; None: not as well as `limits` ask.

    A column of numbers is judged by its AUROC in both directions. A column of few numbers or of text, and whether a
    value is missing, are judged by how well the classes of one half of the rows, by value, tell those of the other. A
    number to be predicted is told by the squared correlation, of values or of ranks.

    Args:
        column: of n rows.
        label: (n,) of the same rows, all known; `is_enough` of them.
        domain: whose rows they are.
        limits: from which on a column is named.

    Returns:
        `value` or `missing` (whether it has a value tells), and the evidence, such as `AUROC 1.00`.
    """
    if column.missing.all():
        return None
    return _JUDGES[domain.label_kind.name][1](column, label, domain, limits)


def _tells_class(column: Column, label: np.ndarray, classes: int, limits: Limits) -> str:
    present = ~column.missing
    if column.is_number and classes == 2:
        positive = label[present] == 1
        area = auroc(column.values[present], positive)
        if area is not None and max(area, 1 - area) >= limits.auroc:
            return f"AUROC {max(area, 1 - area):.2f}"
    codes = _codes(column)
    return "" if codes is None else _tells_classes(codes, label, classes, limits)


def _tells_classes(codes: np.ndarray, label: np.ndarray, classes: int, limits: Limits) -> str:
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
    if accuracy >= limits.accuracy and 1 - accuracy <= limits.left_of_errors * (1 - shares.max()):
        return f"right on {100 * accuracy:.1f} % of rows"
    if classes == 2:
        area = auroc(probability[:, 1], label == 1)
        if area is not None and area >= limits.auroc:
            return f"AUROC {area:.2f}"
    return ""


def _tells_number(column: Column, label: np.ndarray, limits: Limits) -> str:
    if not column.is_number:
        return ""
    present = ~column.missing
    x, y = column.values[present], label[present].astype(np.float64)
    if len(x) < FEWEST_NUMBERS or not x.min() < x.max() or not y.min() < y.max():
        return ""
    straight, ranked = (np.corrcoef(a, b)[0, 1] for a, b in ((x, y), (rankdata(x), rankdata(y))))
    best = max(abs(straight), abs(ranked))
    return f"correlation {best:.3f}" if best**2 >= limits.r2 else ""


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
