"""Which rows of a domain are for training, for validation and for test, and which target labels are shown."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from tl_research.data.domain import TEST, Domain
from tl_research.errors import DataError

#: Share of the shown target labels that validate instead of training (in few_shot).
VALIDATION_SHARE = 0.2


@dataclass(frozen=True)
class Rows:
    """Row numbers (int64, sorted) of one domain; the three are disjoint."""

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray


def split_rows(domain: Domain, *, seed: int, val_fraction: float, test_fraction: float) -> Rows:
    """Split a domain's rows at random by (seed, name); of a label only its presence is looked at.

    Rows with a split of their own keep their test rows. Rows without a label are training rows; the fractions are of
    the labelled ones: `test_fraction` of all, `val_fraction`, which may be 0, of those that are not test.

    Raises:
        DataError: the domain is too small for a row in each part that was asked for.
    """
    rng = _generator(seed, domain.name, "split")
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
            f"{domain.origin or domain.name}: domain {domain.name!r} has {len(domain)} rows, too few for training, "
            "validation and test rows"
        )
    return rows


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
        shots: labels a class (1, 2, ...), or a share of the pool (below 1, at least one row a class). For regression,
            which has no classes, labels in all, drawn at random from the pool's labelled rows.
        seed: run seed; smaller draws of one seed are contained in larger ones, so learning curves are paired.

    The labels are the whole budget: of each class (or of all) a fifth, rounded down, validates and the rest trains.

    Raises:
        DataError: a class, or the pool, has fewer labelled rows than `shots`.
    """
    rng = _generator(seed, domain.name, "shots")
    order = rng.permutation(pool)
    label = domain.label[order]
    if domain.regression:
        groups = {"": order[domain.has_label[order]]}
    else:
        groups = {f" of class {name!r}": order[label == code] for code, name in enumerate(domain.classes)}
    train, val = [], []
    for of_class, rows in groups.items():
        count = round(shots * len(rows)) if shots < 1 else int(shots)
        count = max(1, count)
        if len(rows) < count:
            raise DataError(
                f"data.shots: {count} labels{of_class} are wanted, but {domain.name!r} has {len(rows)} "
                f"such training rows ({domain.origin})"
            )
        held_out = int(count * VALIDATION_SHARE)
        # From the end, so that the rows that train at k shots also train at more.
        train.append(rows[: count - held_out])
        val.append(rows[count - held_out : count])
    return Shown(np.sort(np.concatenate(train)), np.sort(np.concatenate(val)))


def _generator(seed: int, name: str, purpose: str) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(f"{name}/{purpose}".encode())])
