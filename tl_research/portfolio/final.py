"""The last calibration: of the combination as a whole, chosen on rows that no part has seen.

The parts are calibrated one by one, but a mean of right probabilities is not right: it is too near to the middle
(Ranjan & Gneiting 2010, JRSS B 72(1)).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.isotonic import IsotonicRegression
from torch import Tensor

from tl_research.nn.fitted import Fitted
from tl_research.portfolio.mixtures import LEAST

#: Rows that say "the combination is right as it is", against which a calibration has to prove itself.
PRIOR_ROWS = 10.0
#: Folds, and standard errors by which a calibrator has to be better than a simpler one. Half of one, not the usual one:
#: each is held to the identity already, so that a needless one costs little (`benchmarks/calibration.py`, seed 0).
FOLDS, ERRORS = 5, 0.5


class Calibrator(ABC):
    """A monotone map of probabilities: fitted to arrays, kept as arrays, applied to tensors."""

    #: As records call it.
    name: ClassVar[str]
    #: Rows, and rows of the rarest class, below which it is not tried.
    fewest_rows: ClassVar[int]
    fewest_of_class: ClassVar[int]
    #: Whether it takes two classes only.
    two_classes: ClassVar[bool] = False

    @abstractmethod
    def fit(self, logp: np.ndarray, label: np.ndarray) -> dict[str, np.ndarray]:
        """Return what is kept of log probabilities (n, classes) and labels (n,)."""

    @abstractmethod
    def apply(self, logp: Tensor, kept: Mapping[str, Tensor]) -> Tensor:
        """Return log probabilities (n, classes), float64, for such ones."""

    def suits(self, label: np.ndarray, classes: int) -> bool:
        """Whether there are rows enough."""
        sizes = np.bincount(label, minlength=classes)
        enough = len(label) >= self.fewest_rows and sizes.min() >= self.fewest_of_class
        return enough and (classes == 2 or not self.two_classes)


class Temperature(Calibrator):
    """softmax(s ln p): one number, held to 1 as by `PRIOR_ROWS` rows.

    Reference:
        Guo et al. 2017, ICML, section 4.2.
    """

    name, fewest_rows, fewest_of_class = "temperature", 30, 5

    def fit(self, logp: np.ndarray, label: np.ndarray) -> dict[str, np.ndarray]:
        def objective(point: np.ndarray) -> tuple[float, np.ndarray]:
            slope = np.exp(point[0])
            loss, gap = _loss(slope * logp, label)
            gradient = slope * (gap * logp).sum() + PRIOR_ROWS * point[0]
            return loss + PRIOR_ROWS / 2 * point[0] ** 2, np.array([gradient])

        return {"slope": np.exp(minimize(objective, np.zeros(1), jac=True, bounds=[(-3, 3)]).x[0])}

    def apply(self, logp: Tensor, kept: Mapping[str, Tensor]) -> Tensor:
        return (kept["slope"] * logp).log_softmax(dim=1)


class Beta(Calibrator):
    """softmax(a_c ln p_c + b_c): of two classes the beta calibration, of more a Dirichlet calibration with a diagonal.

    min Σ_i loss_i + PRIOR_ROWS / 2 · (Σ_c ln² a_c + Σ_c b_c²).

    Reference:
        Kull, Silva Filho & Flach 2017, AISTATS (beta); Kull et al. 2019, NeurIPS (Dirichlet).
    """

    name, fewest_rows, fewest_of_class = "beta", 100, 20

    def fit(self, logp: np.ndarray, label: np.ndarray) -> dict[str, np.ndarray]:
        classes = logp.shape[1]

        def objective(point: np.ndarray) -> tuple[float, np.ndarray]:
            slope, bias = np.exp(point[:classes]), point[classes:]
            loss, gap = _loss(slope * logp + bias, label)
            gradient = np.concatenate([slope * (gap * logp).sum(axis=0), gap.sum(axis=0)]) + PRIOR_ROWS * point
            return loss + PRIOR_ROWS / 2 * (point**2).sum(), gradient

        bounds = [(-3, 3)] * classes + [(None, None)] * classes
        found = minimize(objective, np.zeros(2 * classes), jac=True, method="L-BFGS-B", bounds=bounds).x
        return {"slope": np.exp(found[:classes]), "bias": found[classes:]}

    def apply(self, logp: Tensor, kept: Mapping[str, Tensor]) -> Tensor:
        return (kept["slope"] * logp + kept["bias"]).log_softmax(dim=1)


class Isotonic(Calibrator):
    """The non-decreasing map of the second class's probability with the least squared error, made continuous.

    Each block of the map becomes one point, at the mean of its probabilities; its height is the share of positives in
    it, with `BLOCK_ROWS` rows that believe the probabilities. Between the points, and from (0, 0) and to (1, 1), it is
    linear, so that rows keep their order where the steps would tie them.

    Reference:
        Zadrozny & Elkan 2002, KDD; Oron & Flournoy 2017, Statistics in Biopharmaceutical Research 9(3) (the points).
    """

    name, fewest_rows, fewest_of_class, two_classes = "isotonic", 1000, 100, True
    BLOCK_ROWS = 2.0

    def fit(self, logp: np.ndarray, label: np.ndarray) -> dict[str, np.ndarray]:
        p = np.exp(logp[:, 1])
        steps = IsotonicRegression(y_min=0, y_max=1).fit_transform(p, label.astype(float))
        _, block = np.unique(steps, return_inverse=True)
        rows = np.bincount(block)
        said, happened = (np.bincount(block, weights=values) for values in (p, label.astype(float)))
        at = said / rows
        height = (happened + self.BLOCK_ROWS * at) / (rows + self.BLOCK_ROWS)
        return {
            "at": np.concatenate([[0.0], at, [1.0]]),
            "height": np.maximum.accumulate(np.concatenate([[0.0], height, [1.0]])),
        }

    def apply(self, logp: Tensor, kept: Mapping[str, Tensor]) -> Tensor:
        p, at, height = logp[:, 1].exp(), kept["at"], kept["height"]
        right = torch.searchsorted(at, p).clamp(1, len(at) - 1)
        left = right - 1
        width = (at[right] - at[left]).clamp_min(torch.finfo(at.dtype).tiny)
        found = height[left] + (p - at[left]) / width * (height[right] - height[left])
        found = found.clamp(LEAST, 1 - LEAST)
        return torch.stack([torch.log1p(-found), found.log()], dim=1)


def _loss(z: np.ndarray, label: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the summed log loss of logits (n, classes), and its gradient by them."""
    logp = log_softmax(z, axis=1)
    gap = np.exp(logp)
    gap[np.arange(len(label)), label] -= 1
    return -logp[np.arange(len(label)), label].sum(), gap


#: By kind of outcome, the simplest first. Numbers have a slope and a bias for each part already, and a mean of right
#: means is right.
CALIBRATORS: dict[str, tuple[Calibrator, ...]] = {"class": (Temperature(), Beta(), Isotonic()), "regression": ()}
NONE = "none"


class Choice(NamedTuple):
    """Which calibrator, and why.

    Fields:
        name: of the calibrator, or `none`.
        kept: what it keeps.
        loss: name -> mean log loss on rows outside the fold, of all that were tried.
    """

    name: str
    kept: dict[str, np.ndarray]
    loss: dict[str, float]


def choose_calibrator(kind: str, logp: np.ndarray, label: np.ndarray, *, seed: int) -> Choice:
    """Choose the simplest calibrator that no richer one clearly beats, by cross-validation.

    From none over temperature and beta to isotonic: a richer one takes the place of a simpler one where its log loss
    on rows outside the folds is lower by more than `ERRORS` standard errors of the difference.

    Args:
        kind: of the outcome.
        logp: (n, outputs) cross-fitted outputs of the combination; of classes log probabilities.
        label: (n,).
        seed: of the folds.
    """
    tried = [each for each in CALIBRATORS[kind] if each.suits(label, logp.shape[1])]
    if not tried:
        return Choice(NONE, {}, {})
    floored = np.maximum(logp, np.log(LEAST))
    rows, classes = np.arange(len(label)), logp.shape[1]
    fold = _folds(label, classes, seed)
    losses = {NONE: -floored[rows, label]}
    for each in tried:
        losses[each.name] = np.empty(len(label))
        for number in range(FOLDS):
            outside = fold == number
            moved = applied(each, floored[outside], each.fit(floored[~outside], label[~outside]))
            losses[each.name][outside] = -moved[np.arange(outside.sum()), label[outside]]
    best = NONE
    for each in tried:
        gain = losses[best] - losses[each.name]
        if gain.mean() > ERRORS * gain.std(ddof=1) / np.sqrt(len(gain)):
            best = each.name
    kept = next((each.fit(floored, label) for each in tried if each.name == best), {})
    return Choice(best, kept, {name: float(loss.mean()) for name, loss in losses.items()})


def _folds(label: np.ndarray, classes: int, seed: int) -> np.ndarray:
    """Return (n,) folds that share out every class."""
    order = np.random.default_rng(seed).permutation(len(label))
    order = order[np.argsort(label[order], kind="stable")]
    fold = np.empty(len(label), dtype=np.int64)
    fold[order] = np.arange(len(label)) % FOLDS
    return fold


def applied(calibrator: Calibrator, logp: np.ndarray, kept: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return `Calibrator.apply` of arrays."""
    numbers = {name: torch.as_tensor(value, dtype=torch.float64) for name, value in kept.items()}
    return calibrator.apply(torch.from_numpy(np.asarray(logp, dtype=np.float64)), numbers).numpy()


class FinalCalibration(Fitted):
    """The chosen calibrator of a portfolio, kept in its file; as long as it is not fitted outputs stay as they are.

    Args:
        kind: of the outcome.
    """

    def __init__(self, kind: str):
        super().__init__()
        self.calibrators = CALIBRATORS[kind]

    def take(self, choice: Choice, device: torch.device) -> None:
        """Keep a choice on a device; `none` keeps nothing."""
        names = [each.name for each in self.calibrators]
        if choice.name != NONE:
            numbers = {"which": names.index(choice.name), **choice.kept}
            self.keep(
                **{name: torch.as_tensor(value, dtype=torch.float64, device=device) for name, value in numbers.items()}
            )

    def forward(self, said: Tensor) -> Tensor:
        """Return calibrated outputs, float64, for outputs (n, outputs)."""
        if not self.is_fitted:
            return said
        floored = said.double().clamp_min(float(np.log(LEAST)))
        return self.calibrators[int(self.which)].apply(floored, dict(self.named_buffers()))
