"""Class shares that differ between the labels that were shown and the market that is predicted (label shift).

Under label shift p(x | y) is the same on both sides and p(y) is not. Right probabilities p(y | x) under the shares π
then become right ones under the shares π' by p'(y | x) ∝ p(y | x) π'(y) / π(y). The shares π' are given, or estimated
from the predictions of rows without labels: by EM from probabilities that are right under π, or by BBSE from any
classifier whose confusions are known.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml
from scipy.optimize import nnls
from scipy.special import log_softmax
from torch import Tensor

from tl_research.errors import ConfigError
from tl_research.nn.fitted import Fitted

#: Least share of a class, so that no logarithm is infinite.
LEAST_SHARE = 1e-6


def log_shift(shown: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return ln π'(y) / π(y) (classes,), what is added to log probabilities.

    A class without a shown label keeps its place: its part is 0, and the others are shares of the rest.

    Args:
        shown: (classes,) shares π under which the probabilities are right.
        wanted: (classes,) shares π' of the rows that are predicted.
    """
    known = shown > 0
    if not known.any() or wanted[known].sum() <= 0:
        return np.zeros(len(shown))
    before, after = shown[known] / shown[known].sum(), wanted[known] / wanted[known].sum()
    shift = np.zeros(len(shown))
    shift[known] = np.log(np.maximum(after, LEAST_SHARE)) - np.log(before)
    return shift


def corrected(logp: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Return log p'(y | x) (n, classes) for log p(y | x) and the shift of `log_shift`.

    Reference:
        Saerens, Latinne & Decaestecker 2002, Neural Computation 14(1), equation 2.4.
    """
    return log_softmax(logp + shift, axis=1)


class Estimate(NamedTuple):
    """Shares estimated from rows without labels.

    Fields:
        share: (classes,) on the simplex.
        gain: how much higher the mean log likelihood of the rows is under these shares than under those shown.
        steps: until it stood still.
    """

    share: np.ndarray
    gain: float
    steps: int


def em_shares(logp: np.ndarray, shown: np.ndarray, *, steps: int = 10_000, tolerance: float = 1e-9) -> Estimate:
    """Estimate the class shares of rows without labels by expectation maximisation.

    π' maximises Σ_i ln Σ_y p(y | x_i) π'(y) / π(y), which is concave: E: q_i(y) ∝ p(y | x_i) π'(y) / π(y),
    M: π'(y) = mean q_i(y), from π' = π on. A class without a shown label keeps the share 0.

    Args:
        logp: (n, classes) log probabilities that are right under `shown`.
        shown: (classes,) shares π.
        steps: at most.
        tolerance: largest change of a share at which it stands still.

    Reference:
        Saerens, Latinne & Decaestecker 2002, Neural Computation 14(1), equation 2.9.
    """
    share = shown = shown / shown.sum()
    known = shown > 0
    ratio = np.exp(logp[:, known]) / shown[known]
    taken, moved = 0, np.inf
    while taken < steps and moved >= tolerance:
        weighted = ratio * share[known]
        found = np.zeros_like(shown)
        found[known] = (weighted / weighted.sum(axis=1, keepdims=True)).mean(axis=0)
        moved, share, taken = np.abs(found - share).max(), found, taken + 1
    gain = np.log(ratio @ share[known]).mean() - np.log(ratio @ shown[known]).mean()
    return Estimate(share, float(gain), taken)


def bbse_shares(predicted: np.ndarray, label: np.ndarray, unlabelled: np.ndarray, classes: int) -> np.ndarray:
    """Estimate the class shares of rows without labels from a classifier's confusions.

    Solves C w = q for w >= 0 with C_ij = share of labelled rows that are predicted as i and of class j, q_i = share of
    unlabelled rows predicted as i; π'(y) ∝ w(y) π(y). The classifier may be wrong, but not blind: C has full rank.

    Args:
        predicted: (n,) predicted classes of labelled rows that the classifier has not learnt from.
        label: (n,) their classes.
        unlabelled: (m,) predicted classes of the rows without labels.
        classes: their number.

    Returns:
        (classes,) shares on the simplex.

    Raises:
        ValueError: the classifier predicts in the same way whatever the class, so that nothing can be told.

    Reference:
        Lipton, Wang & Smola 2018, ICML, section 4 (black box shift estimation).
    """
    confusion = np.zeros((classes, classes))
    np.add.at(confusion, (predicted, label), 1 / len(label))
    share = confusion.sum(axis=0)
    known = np.flatnonzero(share)
    of_known = confusion[:, known]
    if np.linalg.matrix_rank(of_known, tol=1e-3) < len(known):
        raise ValueError("bbse: the classifier predicts two classes alike, so their shares cannot be told apart")
    seen = np.bincount(unlabelled, minlength=classes) / len(unlabelled)
    found = np.zeros(classes)
    found[known] = nnls(of_known, seen)[0] * share[known]
    return found / found.sum()


class PriorShift(Fitted):
    """Corrects log probabilities for a label shift; as long as it is not fitted they stay as they are."""

    def take(self, shift: np.ndarray, device: torch.device) -> None:
        """Keep the shift (classes,) on a device."""
        self.keep(shift=torch.as_tensor(shift, dtype=torch.float64, device=device))

    def forward(self, logp: Tensor) -> Tensor:
        """Return corrected log probabilities (n, classes)."""
        return (logp + self.shift.to(logp.dtype)).log_softmax(dim=1) if self.is_fitted else logp


def shares_of(given: Sequence[float] | Mapping[str, float], classes: Sequence[str], *, key: str) -> np.ndarray:
    """Return the shares (classes,) that a user gives.

    Args:
        given: one share for each class, in their order; or names of classes with their shares, where one class may be
            left out, which has the rest.
        classes: names of the classes.
        key: what a message calls the place where the user wrote it.

    Raises:
        ConfigError: another number of shares, a name that no class has, a share out of range, or a sum that is not 1.
    """
    if isinstance(given, Mapping):
        for name in given:
            if name not in classes:
                raise ConfigError(f"{key}: got {name!r}, wants one of the classes {', '.join(classes)}")
        lacking = [name for name in classes if name not in given]
        if len(lacking) > 1:
            raise ConfigError(f"{key}: the shares of {', '.join(lacking)} are missing; at most one may be left out")
        rest = 1 - sum(given.values())
        given = [given.get(name, rest) for name in classes]
    shares = np.array([float(share) for share in given])
    if len(shares) != len(classes):
        raise ConfigError(
            f"{key}: got {len(shares)} shares, wants {len(classes)}, one for each of {', '.join(classes)}"
        )
    if not (np.isfinite(shares).all() and (shares > 0).all() and abs(shares.sum() - 1) < 1e-6):
        said = ", ".join(f"{name}={share:g}" for name, share in zip(classes, shares, strict=True))
        raise ConfigError(f"{key}: got {said}, wants shares above 0 that add up to 1")
    return shares


def prior_texts(text: str, *, key: str = "--prior") -> tuple[str, ...]:
    """Return what a user writes in one text as items for `read_prior`.

    `yes=0.15,no=0.85` are two. A name may hold a comma or an equals sign: `{"red, blue": 0.2, "a=b": 0.8}`, in YAML or
    JSON, where every name is text (`yes` is no truth value).

    Raises:
        ConfigError: braces that hold no names with their shares, or a name twice.
    """
    if not text.lstrip().startswith("{"):
        return tuple(text.split(","))
    wants = 'wants names with their shares, such as {"red, blue": 0.2, "a=b": 0.8}'
    try:
        pairs = [(each.value, share.value) for each, share in yaml.compose(text, yaml.BaseLoader).value]
    except (yaml.YAMLError, ValueError, TypeError, AttributeError):
        raise ConfigError(f"{key}: got {text!r}, {wants}") from None
    if not pairs or not all(isinstance(each, str) for pair in pairs for each in pair):
        raise ConfigError(f"{key}: got {text!r}, {wants}")
    return tuple(f"{name}={share}" for name, share in pairs)


#: Instead of shares: estimate them.
EM = "em"


def read_prior(texts: str | Sequence[str], classes: Sequence[str], *, key: str = "--prior") -> np.ndarray:
    """Return the shares (classes,) that a user writes.

    Args:
        texts: `0.15` (of the second of two classes), `yes=0.15` (others by name, separated by commas or as items of a
            list), or `[0.85, 0.15]` (of each class, in their order).
        classes: names of the classes.
        key: what a message calls the place where the user wrote it.

    Raises:
        ConfigError: as of `shares_of`, or a text that is neither.
    """
    parts = texts.split(",") if isinstance(texts, str) else list(texts)
    said = ",".join(parts)
    numbers: list[tuple[str, float]] = []
    for part in parts:
        name, _, share = part.rpartition("=")
        try:
            numbers.append((name.strip(), float(share)))
        except ValueError:
            raise ConfigError(f"{key}: got {said!r}, wants a share such as 0.15, or {_named(classes[-1])}") from None
    names = [name for name, _ in numbers if name]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"{key}: got {said!r}, wants each name once; {twice!r} is there twice")
    if all(name for name, _ in numbers):
        return shares_of(dict(numbers), classes, key=key)
    if any(name for name, _ in numbers):
        raise ConfigError(f"{key}: got {said!r}, wants a name before each share, or before none")
    if len(numbers) > 1:
        return shares_of([share for _, share in numbers], classes, key=key)
    if len(classes) != 2:
        wants = f"NAME=SHARE for the classes {', '.join(classes)}"
        raise ConfigError(f"{key}: got {said!r} for {len(classes)} classes, wants {wants}")
    return shares_of({classes[1]: numbers[0][1]}, classes, key=key)


def _named(name: str) -> str:
    """Return how a user gives this class its share."""
    return f"{json.dumps({name: 0.15}, ensure_ascii=False)} in quotes" if set(",=") & set(name) else f"{name}=0.15"


def fit_shift(
    shift: PriorShift,
    prior: Sequence[str],
    believed: Tensor,
    *,
    said_of_unlabelled: Callable[[], Tensor],
    names: Sequence[str],
) -> dict[str, Any]:
    """Fit the correction, and return what a record says of it.

    Args:
        shift: takes it.
        prior: `["em"]`, or shares as of `read_prior`.
        believed: (n,) labels whose shares the probabilities are right under.
        said_of_unlabelled: returns log probabilities (m, classes) of rows without labels; called for `em` alone.
        names: of the classes; empty for numbers, which have no shares.

    Raises:
        ConfigError: shares that are none, or `em` without a row.
    """
    if len(names) < 2:
        raise ConfigError(f"prior: got {','.join(prior)!r}, wants null: a number has no class shares")
    shown = np.bincount(believed.cpu().numpy(), minlength=len(names)) / len(believed)
    facts: dict[str, Any] = {"shown": dict(zip(names, shown.tolist(), strict=True))}
    if list(prior) == [EM]:
        logp = said_of_unlabelled().detach().double().cpu().numpy()
        if len(logp) == 0:
            raise ConfigError("prior: em estimates the shares from target rows without labels, and there are none")
        found = em_shares(logp, shown)
        wanted = found.share
        facts["gain"] = found.gain
    else:
        wanted = read_prior(prior, names, key="prior")
    shift.take(log_shift(shown, wanted), believed.device)
    return facts | {"wanted": dict(zip(names, wanted.tolist(), strict=True))}
