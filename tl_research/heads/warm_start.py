"""Logistic regression of the target that begins at, and is held to, that of the source."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from tl_research.config import check, check_choice
from tl_research.heads.linear import Logistic
from tl_research.heads.support import refuse_unknown, support

PRIORS = ("proximal", "diagonal", "full")
#: Most parameters of prior=full, whose precision is a square matrix of them.
MOST_OF_FULL = 6000
#: The fit ends where no entry of the scaled gradient is larger.
TOLERANCE = 1e-10
MAX_STEPS = 20_000


@dataclass
class WarmStartConfig:
    """Options of logistic regression with a prior around the source's model: which prior, and how strong."""

    prior: str = "proximal"  # or the source's posterior by Laplace's approximation: diagonal, full
    strength: float = (
        1.0  # factor on the prior's precision; of diagonal and full, 1 counts a source row as a target row
    )
    penalty: float = 1.0  # of the source's model, as of the head `logistic`
    free_intercept: bool = False  # leave the intercept out of the prior

    def __post_init__(self):
        check_choice("prior", self.prior, PRIORS)
        is_right = self.strength > 0 and math.isfinite(self.strength)
        check(is_right, "strength", self.strength, "a number above 0")
        check(self.penalty > 0, "penalty", self.penalty, "a number above 0")


class WarmStartLogistic(Logistic):
    """Maximum a posteriori logistic regression on target rows under a Gaussian prior centred on the source's model.

    min_w  Σ_i CE(w; x_i, y_i) + (strength / 2) (w - w_S)' P (w - w_S)

    over labelled target rows, w the weights and the intercept, w_S the source's `Logistic` (its penalty is `penalty`).
    P is the identity (`proximal`), or the precision of the Laplace approximation of the source's posterior
    (`laplace_precision`), whole (`full`) or its diagonal (`diagonal`). As strength grows the model becomes the
    source's; as it goes to 0, plain logistic regression on the target.

    With two classes w are the weights and intercept of one margin; with more, those of every class.

    Reference:
        Chelba & Acero 2006, Adaptation of maximum entropy capitalizer, CSL 20(4), eq. 6 (proximal); MacKay 1992, Neural
        Computation 4(3), section 3 (Laplace approximation).
    """

    Config = WarmStartConfig

    def fit_transfer(
        self,
        features: Tensor,
        label: Tensor,
        weight: Tensor | None,
        target_features: Tensor,
        target_label: Tensor,
        *,
        classes: int,
        seed: int,
    ) -> None:
        """Fit the source's model to rows (n, d), then the target's to labelled rows (k, d).

        Raises:
            DataError: a class with target labels that no source row has, or none that weighs.
            ConfigError: too many parameters for prior=full.
        """
        self.fit(features.double(), label, weight, classes=classes, seed=seed)
        present = support(label, weight, classes).present
        refuse_unknown("warm_start_logistic", target_label, label, present)
        if len(present) < 2 or len(target_label) == 0:
            self.keep(**{name: part.to(features.dtype) for name, part in self._buffers.items()})
            return
        start = torch.cat([self.coefficient, self.intercept[:, None]], dim=1)[present]
        if len(present) == 2:
            start = start[1:] - start[:1]
        sizes = torch.searchsorted(present, target_label)
        precision = self._precision(features, start, weight)
        found = self.optimum(start, precision, target_features, sizes)
        if len(present) == 2:
            found = torch.cat([-found, found]) / 2
        coefficient, intercept = self.coefficient.clone(), self.intercept.clone()
        coefficient[present], intercept[present] = found[:, :-1], found[:, -1]
        self.keep(coefficient=coefficient.to(features.dtype), intercept=intercept.to(features.dtype))

    def _precision(self, features: Tensor, start: Tensor, weight: Tensor | None) -> Tensor:
        """strength · P, (p,) where it is diagonal and else (p, p); p = rows of `start` times its columns."""
        p = start.numel()
        if self.config.prior == "proximal":
            precision = start.new_ones(p)
        else:
            full = self.config.prior == "full"
            if full:
                wants = f"diagonal or proximal: full needs a matrix of {p} x {p}, and at most {MOST_OF_FULL} are taken"
                check(p <= MOST_OF_FULL, "prior", self.config.prior, wants)
            precision = laplace_precision(features, start, weight, penalty=self.config.penalty, full=full)
        precision = self.config.strength * precision
        if self.config.free_intercept:
            intercept = torch.zeros_like(start, dtype=torch.bool)
            intercept[:, -1] = True
            keep = (~intercept.flatten()).to(precision)
            precision = precision * keep if precision.ndim == 1 else precision * keep * keep[:, None]
        return precision

    def optimum(self, start: Tensor, precision: Tensor, features: Tensor, label: Tensor) -> Tensor:
        """Return w (rows, d + 1) of the least objective, by L-BFGS in float64 from `start`, each entry scaled.

        Args:
            start: w_S, (1, d + 1) for two classes or (classes, d + 1); the last column is the intercept.
            precision: as `_precision` gives it.
            features: (k, d). label: (k,) 0 .. classes - 1.
        """
        x, y, begin = with_one(features).cpu().numpy(), label.cpu().numpy(), start.double().cpu().numpy()
        held = precision.double().cpu().numpy()
        curvature = laplace_precision(features, start, None, penalty=0.0, full=False).cpu().numpy()
        diagonal = held if held.ndim == 1 else held.diagonal()
        total = curvature + diagonal
        # A direction without curvature keeps its place whatever its scale; the floor is relative to the others'.
        scale = np.sqrt(np.maximum(total, max(1e-24 * total.max(), np.finfo(float).tiny)))

        def value_and_gradient(scaled: np.ndarray) -> tuple[float, np.ndarray]:
            moved = scaled / scale
            pull = held * moved if held.ndim == 1 else held @ moved
            loss, gradient = _cross_entropy(begin + moved.reshape(begin.shape), x, y)
            return loss + 0.5 * moved @ pull, (gradient.ravel() + pull) / scale

        # ftol below the rounding of the loss: the gradient decides.
        options = {"maxiter": MAX_STEPS, "maxfun": 2 * MAX_STEPS, "maxcor": 30, "gtol": TOLERANCE, "ftol": 1e-18}
        found = minimize(value_and_gradient, np.zeros(begin.size), jac=True, method="L-BFGS-B", options=options)
        moved = torch.from_numpy(found.x / scale).reshape(start.shape)
        return start.double() + moved.to(start.device)


def laplace_precision(features: Tensor, w: Tensor, weight: Tensor | None, *, penalty: float, full: bool) -> Tensor:
    """Precision of the Laplace approximation of a logistic regression's posterior: the Hessian of its objective.

    H = Σ_i v_i S(p_i) ⊗ x_i x_i' + penalty · I (0 for the intercepts), with S = p (1 - p) for one margin and
    diag(p) - p p' for the softmax of all classes; x has a 1 for the intercept at its end.

    Args:
        features: (n, d). w: (1, d + 1) one margin, or (classes, d + 1). weight: v (n,), or None for 1.
        penalty: of ||W||² / 2.
        full: the whole matrix rather than its diagonal.

    Returns:
        float64 (p, p) or (p,), p = rows of w times d + 1, in the order of `w.flatten()`.
    """
    x, w = with_one(features), w.double()
    v = x.new_ones(len(x)) if weight is None else weight.to(x)
    score = x @ w.T
    p = torch.sigmoid(score) if len(w) == 1 else score.softmax(dim=1)
    rows, columns = w.shape
    shrink = torch.full_like(w, penalty)
    shrink[:, -1] = 0.0
    if not full:
        return ((v[:, None] * p * (1 - p)).T @ x.square() + shrink).flatten()
    hessian = x.new_empty(rows, columns, rows, columns)
    for a in range(rows):
        for b in range(a, rows):
            s = p[:, a] * (float(a == b) - p[:, b])
            hessian[a, :, b] = hessian[b, :, a] = x.T @ (x * (v * s)[:, None])
    return hessian.reshape(rows * columns, -1) + shrink.flatten().diag()


def with_one(features: Tensor) -> Tensor:
    """Rows (n, d) as float64 (n, d + 1) with a 1 at their end."""
    x = features.detach().double()
    return torch.cat([x, x.new_ones(len(x), 1)], dim=1)


def _cross_entropy(w: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    """Sum of cross-entropies and its gradient (rows, d + 1)."""
    score = x @ w.T
    if len(w) == 1:
        sign = np.where(y == 1, 1.0, -1.0)
        margin = sign * score[:, 0]
        # 1 / (1 + e^m), without overflow
        wrong = np.exp(-np.logaddexp(0, margin))
        return float(np.logaddexp(0, -margin).sum()), -((sign * wrong) @ x)[None]
    largest = score.max(axis=1, keepdims=True)
    unnormalised = np.exp(score - largest)
    total = unnormalised.sum(axis=1, keepdims=True)
    residual = unnormalised / total
    rows = np.arange(len(y))
    loss = float((np.log(total) + largest)[:, 0].sum() - score[rows, y].sum())
    residual[rows, y] -= 1
    return loss, residual.T @ x
