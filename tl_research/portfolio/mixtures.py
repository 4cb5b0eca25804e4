"""How what several parts say becomes one answer: a mixture of probabilities, or a weighted mean of numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from scipy.special import log_softmax, logsumexp
from torch import Tensor

#: Least probability that a part is believed to give a class.
LEAST = 1e-6
#: Of numbers so many parts share the prior at most: what few labels cannot tell is shared out among the better ones.
BEST = 8


class Mixture(ABC):
    """Calibrates, weighs and adds up what parts say of rows, for one kind of outcome."""

    #: Whether folds share out the labels' values.
    stratified: bool
    #: The prior weights of the parts are their likelihoods to the power of 1 / temper.
    temper: float
    #: The gate shuts where the old data lose more than so many standard errors of their gain on unseen rows.
    doubt: float

    @abstractmethod
    def outputs(self, classes: int) -> int:
        """Return how many outputs a part has per row."""

    @abstractmethod
    def calibrated(self, said: np.ndarray, slope: float, bias: np.ndarray) -> np.ndarray:
        """Return calibrated outputs for what a part says (n, outputs), and bias (outputs,)."""

    @abstractmethod
    def slopes(self, said: np.ndarray, slope: float, bias: np.ndarray, label: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the summed loss of calibrated outputs, and its gradient (1 + outputs,) in log slope and bias."""

    @abstractmethod
    def row_losses(self, said: np.ndarray, label: np.ndarray) -> np.ndarray:
        """Return the loss (n,) of calibrated outputs (n, outputs)."""

    @abstractmethod
    def log_likelihood(self, losses: np.ndarray, count: np.ndarray) -> np.ndarray:
        """Return (parts,) the log likelihood of the labels by each part, up to a constant of all.

        Args:
            losses: (parts, n) of `row_losses`.
            count: (n,) how often each row counts.
        """

    @abstractmethod
    def weights(
        self,
        said: np.ndarray,
        label: np.ndarray,
        count: np.ndarray,
        *,
        prior: np.ndarray,
        prior_rows: float,
        steps: int,
    ) -> np.ndarray:
        """Return (parts,) weights on the simplex that lower the loss of the combination, begun at the prior.

        Args:
            said: (parts, n, outputs) calibrated outputs.
            label: (n,).
            count: (n,) how often each row counts.
            prior: (parts,) on the simplex.
            prior_rows: rows that vote for it.
            steps: of the fit.
        """

    @abstractmethod
    def combined(self, said: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Return the outputs (n, outputs) of all parts together, for calibrated outputs (parts, n, outputs)."""

    @abstractmethod
    def to_add(self, said: Tensor) -> Tensor:
        """Return what can be averaged over fits and parts, for outputs (n, outputs): probabilities, or numbers."""

    @abstractmethod
    def from_sum(self, total: Tensor) -> Tensor:
        """Return outputs (n, outputs) for an average of `to_add`."""

    @abstractmethod
    def moved(self, said: Tensor, slope: Tensor, bias: Tensor) -> Tensor:
        """Return `calibrated` of tensors, as `to_add` has it."""


class Probabilities(Mixture):
    """log Σ_k w_k p_k, with log p_k = log_softmax(slope · z_k + bias); the loss is -log p of the label."""

    # With two or three rows of the rarer class a shut gate is mostly chance, and costs more than an open one.
    stratified, temper, doubt = True, 4.0, 1.0

    def outputs(self, classes: int) -> int:
        return classes

    def calibrated(self, said: np.ndarray, slope: float, bias: np.ndarray) -> np.ndarray:
        return log_softmax(slope * _floored(said) + bias, axis=1)

    def slopes(self, said: np.ndarray, slope: float, bias: np.ndarray, label: np.ndarray) -> tuple[float, np.ndarray]:
        z = _floored(said)
        logp = log_softmax(slope * z + bias, axis=1)
        gap = np.exp(logp)
        gap[np.arange(len(label)), label] -= 1
        return self.row_losses(logp, label).sum(), np.concatenate([[slope * (gap * z).sum()], gap.sum(axis=0)])

    def row_losses(self, said: np.ndarray, label: np.ndarray) -> np.ndarray:
        return -np.take_along_axis(said, label[:, None], axis=1)[:, 0]

    def log_likelihood(self, losses: np.ndarray, count: np.ndarray) -> np.ndarray:
        return -(losses @ count)

    def weights(
        self,
        said: np.ndarray,
        label: np.ndarray,
        count: np.ndarray,
        *,
        prior: np.ndarray,
        prior_rows: float,
        steps: int,
    ) -> np.ndarray:
        """Maximum a posteriori of a mixture with a Dirichlet prior, by expectation maximisation.

        Reference:
            Dempster, Laird & Rubin 1977, JRSS B 39(1), section 4.3.
        """
        p = np.exp(np.take_along_axis(said, label[None, :, None], axis=2)[:, :, 0])
        weight = prior
        for _ in range(steps):
            weight = (weight * ((p / (weight @ p)) @ count) + prior_rows * prior) / (count.sum() + prior_rows)
        return weight / weight.sum()

    def combined(self, said: np.ndarray, weight: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore"):
            return logsumexp(said + np.log(weight)[:, None, None], axis=0)

    def to_add(self, said: Tensor) -> Tensor:
        return said.softmax(dim=1)

    def from_sum(self, total: Tensor) -> Tensor:
        return (total / total.sum(dim=1, keepdim=True)).log()

    def moved(self, said: Tensor, slope: Tensor, bias: Tensor) -> Tensor:
        floored = said.log_softmax(dim=1).clamp_min(float(np.log(LEAST)))
        return (slope * floored + bias).softmax(dim=1)


class Numbers(Mixture):
    """Σ_k w_k (slope · z_k + bias); the loss is half the squared error."""

    # A few rows with large errors say more by the normal likelihood than they know.
    # An unrelated market's parts lose much on numbers, which nothing bounds: no doubt in their favour.
    stratified, temper, doubt = False, 16.0, 0.0

    def outputs(self, classes: int) -> int:
        return 1

    def calibrated(self, said: np.ndarray, slope: float, bias: np.ndarray) -> np.ndarray:
        return slope * said + bias

    def slopes(self, said: np.ndarray, slope: float, bias: np.ndarray, label: np.ndarray) -> tuple[float, np.ndarray]:
        gap = slope * said + bias - label[:, None]
        return 0.5 * (gap**2).sum(), np.concatenate([[slope * (gap * said).sum()], gap.sum(axis=0)])

    def row_losses(self, said: np.ndarray, label: np.ndarray) -> np.ndarray:
        return 0.5 * (said[:, 0] - label) ** 2

    def log_likelihood(self, losses: np.ndarray, count: np.ndarray) -> np.ndarray:
        """Of normal errors whose variance is the part's own: -n / 2 · log of the mean squared error."""
        return -count.sum() / 2 * np.log(np.maximum(losses @ count, np.finfo(float).tiny))

    def weights(
        self,
        said: np.ndarray,
        label: np.ndarray,
        count: np.ndarray,
        *,
        prior: np.ndarray,
        prior_rows: float,
        steps: int,
    ) -> np.ndarray:
        """Least squares on the simplex by exponentiated gradient steps, then moved towards the prior of the best parts.

        (n w + prior_rows · p) / (n + prior_rows), p the prior of the `BEST` parts that it is largest for, and 0 else.

        Reference:
            Kivinen & Warmuth 1997, Information and Computation 132(1).
        """
        rows, z = count.sum(), said[:, :, 0]
        share = count / rows
        rate = 1.0 / max(1e-12, float(((z - label) ** 2 @ share).mean()))
        weight = prior
        for _ in range(steps):
            gradient = z @ (share * (weight @ z - label))
            weight = weight * np.exp(-rate * (gradient - gradient.min()))
            weight = weight / weight.sum()
        return (rows * weight + prior_rows * best_of(prior, BEST)) / (rows + prior_rows)

    def combined(self, said: np.ndarray, weight: np.ndarray) -> np.ndarray:
        return np.tensordot(weight, said, axes=1)

    def to_add(self, said: Tensor) -> Tensor:
        return said

    def from_sum(self, total: Tensor) -> Tensor:
        return total

    def moved(self, said: Tensor, slope: Tensor, bias: Tensor) -> Tensor:
        return slope * said + bias


#: By kind of outcome.
MIXTURES: dict[str, Mixture] = {"class": Probabilities(), "regression": Numbers()}


def _floored(said: np.ndarray) -> np.ndarray:
    return np.maximum(log_softmax(said, axis=1), np.log(LEAST))


def best_of(prior: np.ndarray, most: int) -> np.ndarray:
    """Return weights (parts,) on the simplex without all but the `most` largest."""
    if len(prior) <= most:
        return prior
    kept = np.zeros_like(prior)
    places = np.argsort(-prior, kind="stable")[:most]
    kept[places] = prior[places]
    return kept / kept.sum()


def as_labels(label: Tensor) -> np.ndarray:
    """Return labels (n,) on the host: classes as int64, numbers as float64."""
    return label.cpu().numpy().astype(np.float64 if label.dtype in (torch.float32, torch.float64) else np.int64)
