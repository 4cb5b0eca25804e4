"""Multinomial logistic regression, in coordinates in which its Hessian is near the identity."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

#: Largest entry of the gradient, in coordinates in which the second derivatives are about 1.
TOLERANCE = 1e-5
MAX_STEPS = 2000
#: Typical second derivative of the cross-entropy in a logit: that of a probability of 0.9.
CURVATURE = 0.1
MEMORY = 10


def fit_logistic(
    x: Tensor, label: Tensor, weight: Tensor | None, *, classes: int, penalty: float
) -> tuple[Tensor, Tensor]:
    """Minimise Σ_i w_i CE(x_i W' + b, y_i) + penalty / 2 · ||W||²; b is not penalised.

    With two classes there is one vector, of the second class's margin, as in scikit-learn.

    Columns are centred (b takes that up) and turned to the rows' principal directions, at most as many as rows: what
    is orthogonal to all rows has no part in the optimum. Each direction is then divided by the root of its curvature
    at probabilities that are typical, so that L-BFGS meets a condition number that does not depend on the columns'
    scales. The optimum is that of the columns as they came.

    Args:
        x: (n, d) float64.
        label: (n,) class index, each of `classes` (2 or more) present.
        weight: (n,) float64 >= 0, or None for ones.
        classes: number of classes.
        penalty: > 0.

    Returns:
        (classes, d) coefficients and (classes,) intercepts, float64; those of two classes are ± half the margin.
    """
    weight = torch.ones(len(x), dtype=x.dtype, device=x.device) if weight is None else weight.to(x.dtype)
    total = weight.sum()
    mean = weight @ x / total
    directions, curvature = _principal(x - mean, weight)
    scale = (CURVATURE * curvature + penalty).rsqrt()
    scores = (x - mean) @ (directions * scale)
    unit = (CURVATURE * total).rsqrt()
    scores = torch.cat([scores, unit.expand(len(x), 1)], dim=1)  # the last column is the intercept's
    shrink = torch.cat([penalty * scale.square(), torch.zeros_like(scale[:1])])[:, None]
    margins = 1 if classes == 2 else classes
    goal = torch.nn.functional.one_hot(label.long(), classes).to(x.dtype)

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        slope = torch.as_tensor(flat, device=x.device).view(-1, margins)
        logits = scores @ slope
        if margins == 1:
            value = torch.nn.functional.softplus(logits[:, 0]) - goal[:, 1] * logits[:, 0]
            residual = logits.sigmoid() - goal[:, 1:]
        else:
            log_probability = logits.log_softmax(dim=1)
            value = -(goal * log_probability).sum(dim=1)
            residual = log_probability.exp() - goal
        gradient = ((residual * weight[:, None]).T @ scores).T + shrink * slope
        return float(weight @ value + (shrink * slope.square()).sum() / 2), gradient.flatten().cpu().numpy()

    options = {"maxiter": MAX_STEPS, "maxfun": 2 * MAX_STEPS, "maxcor": MEMORY, "gtol": TOLERANCE, "ftol": 0.0}
    start = np.zeros(scores.shape[1] * margins)
    found = torch.as_tensor(minimize(objective, start, jac=True, method="L-BFGS-B", options=options).x)
    found = found.to(x.device).view(-1, margins)
    slope = (directions * scale) @ found[:-1]
    offset = found[-1] * unit - mean @ slope
    if margins == 1:
        slope, offset = torch.cat([-slope, slope], dim=1) / 2, torch.cat([-offset, offset]) / 2
    return slope.T, offset


def _principal(centred: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Directions (d, r) that the weighted rows span and the sums of their squared scores (r,)."""
    rows = centred * weight.sqrt()[:, None]
    n, d = rows.shape
    if n >= d:
        values, vectors = torch.linalg.eigh(rows.T @ rows)
        return vectors, values.clamp_min(0)
    values, vectors = torch.linalg.eigh(rows @ rows.T)
    seen = values > values[-1] * n * torch.finfo(values.dtype).eps
    values = values[seen]
    return rows.T @ (vectors[:, seen] / values.sqrt()), values
