"""Which rows of a domain train, validate and test, and which target labels training may read."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from tl_research.data.domain import TEST, Domain
from tl_research.errors import DataError

#: In few_shot, this share of the shown target labels validates; the rest trains.
VALIDATION_SHARE = 0.2


@dataclass(frozen=True)
class Rows:
    """Row numbers (int64, sorted) of one domain; the three are disjoint."""

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray


def split_rows(domain: Domain, *, seed: int, val_fraction: float, test_fraction: float) -> Rows:
    """Split a domain's rows at random by (seed, `split_name`), without reading what a label is.

    A domain with a split of its own keeps its test rows. Rows without a label train. `test_fraction` is a share of all
    labelled rows, `val_fraction` (it may be 0) a share of the labelled rows that do not test.

    Raises:
        DataError: the domain is too small for a row in each part that was asked for.
    """
    rng = _generator(seed, domain, "split")
    order = rng.permutation(len(domain))
    known = domain.has_label[order]
    labelled, unlabelled = order[known], order[~known]
    if domain.split is None:
        cut = max(1, round(test_fraction * len(labelled)))
        test, rest = labelled[:cut], labelled[cut:]
    else:
        given = domain.split[labelled] == TEST
        test, rest = labelled[given], labelled[~given]
    cut = max(1, round(val_fraction * len(rest))) if val_fraction else 0
    rows = Rows(np.sort(np.concatenate([rest[cut:], unlabelled])), np.sort(rest[:cut]), np.sort(test))
    if not len(rows.train) or not len(rows.test):
        raise DataError(
            f"{domain.origin or domain.name}: domain {domain.name!r} has {len(domain)} rows ({int(known.sum())} with a "
            f"label), too few for training, validation and test rows (data.test_fraction={test_fraction:g}, "
            f"data.val_fraction={val_fraction:g}); it needs more rows with a label"
        )
    return rows


def refuse_few_test_rows(target: Domain, rows: Rows, test_fraction: float) -> None:
    """Raise `DataError` where the target has fewer than two test rows, which are too few to judge a model by."""
    if len(rows.test) > 1:
        return
    labelled = int(target.has_label.sum())
    drawn = f"data.test_fraction={test_fraction:g} of them is" if target.split is None else "its own split gives"
    remedy = "raise data.test_fraction, or label more rows" if target.split is None else "it needs more test rows"
    if labelled < 8:
        remedy = "label more rows of the target (8 at the least, better 100 or more)"
    raise DataError(
        f"{target.origin or target.name}: {labelled:,} of {len(target):,} rows have a label and {drawn} "
        f"{len(rows.test)} test row, by which no model can be judged; {remedy}"
    )


def classes_without_test_rows(target: Domain, rows: Rows, *, may_lack: bool = False) -> list[str]:
    """Return a remark on the classes that no test row of the target has, and on the metrics that this leaves open.

    Args:
        target: the target.
        rows: its split.
        may_lack: whether a class of the sources that the target lacks is meant to be so (`data.label_sets`).
    """
    tested, known = target.label_kind.sizes(target.label[rows.test]), target.label_kind.sizes(target.label)
    lacking = [code for code, size in enumerate(tested) if not size and (known[code] or not may_lack)]
    if not lacking:
        return []
    few = ", ".join(f"{target.classes[code]!r} ({known[code]:,})" for code in lacking[:5])
    more = f" and {len(lacking) - 5} more" if len(lacking) > 5 else ""
    binary = len(target.classes) == 2
    lost = "AUROC and average precision have no value, and accuracy says" if binary else "the metrics say"
    if binary and lacking == [0]:
        lost = "AUROC has no value, and accuracy says"
    return [
        f"none of the {len(rows.test):,} test rows of {target.origin or target.name} is of class {few}{more} (in "
        f"brackets: labelled rows in all): {lost} nothing of it; label more rows, or raise data.test_fraction"
    ]


def whole_domain(domain: Domain, *, is_target: bool) -> Rows:
    """The transductive protocol: every row trains, and every target row is a test row too, its label hidden."""
    rows, none = np.arange(len(domain)), np.zeros(0, dtype=np.int64)
    return Rows(rows, none, rows if is_target else none)


@dataclass(frozen=True)
class Shown:
    """Target rows whose labels may be read: those that train and those that validate."""

    train: np.ndarray
    val: np.ndarray


def draw_shots(domain: Domain, pool: np.ndarray, shots: float, *, seed: int) -> Shown:
    """Draw the target rows whose labels are shown in `few_shot`.

    Args:
        domain: the target.
        pool: its training rows.
        shots: labels per class (1, 2, ...), or a share of the pool (below 1, at least one row per class). Regression
            has no classes: there it is the number of labels in all, drawn at random from the pool's labelled rows.
        seed: seed of the run. The rows of a smaller draw are among those of a larger one of the same seed, so that
            learning curves are paired.

    These labels are the whole budget: a fifth of each class (for regression: of all), rounded down, validates, and the
    rest trains.

    Raises:
        DataError: a class that the target has, or the pool, has fewer labelled rows than `shots`.
    """
    rng = _generator(seed, domain, "shots")
    order = rng.permutation(pool)
    train, val = [], []
    for of_class, members in domain.label_kind.groups(domain.label[order]).items():
        if not domain.label_kind.groups(domain.label)[of_class].any():
            continue  # a class of the sources alone has no label to show
        rows = order[members]
        count = round(shots * len(rows)) if shots < 1 else int(shots)
        count = max(1, count)
        if len(rows) < count:
            raise DataError(
                f"data.shots: {count} labels{of_class} are wanted, but {domain.name!r} has {len(rows)} "
                f"such training rows ({domain.origin})"
            )
        held_out = int(count * VALIDATION_SHARE)
        # Taken from the end: rows that train at k shots then also train at any larger number of shots.
        train.append(rows[: count - held_out])
        val.append(rows[count - held_out : count])
    return Shown(np.sort(np.concatenate(train)), np.sort(np.concatenate(val)))


def _generator(seed: int, domain: Domain, purpose: str) -> np.random.Generator:
    name = domain.name if domain.split_name is None else domain.split_name
    return np.random.default_rng([seed, zlib.crc32(f"{name}/{purpose}".encode())])
