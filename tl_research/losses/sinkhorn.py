"""Sinkhorn divergence: entropic optimal transport without its bias."""

from __future__ import annotations

import math

import torch
from torch import Tensor

#: Updates of the potentials between two looks at how far they moved, because a look waits for an accelerator.
CHECK_EVERY = 10


def sinkhorn_divergence(
    source: Tensor,
    target: Tensor,
    *,
    regularization: float | Tensor,
    tolerance: float = 1e-4,
    max_iterations: int = 200,
) -> Tensor:
    """OT_eps(S, T) - OT_eps(S, S)/2 - OT_eps(T, T)/2 of equally weighted rows, for the cost ||x - y||².

    OT_eps(a, b) = min_P <P, C> + eps KL(P | a b') over plans P with marginals a and b. It is 0 for equal samples and
    never negative. Potentials are updated in the log domain, so that no eps is too small; the gradient is that of
    the cost under the plan they give (envelope theorem), and no iteration is differentiated. Leading dimensions are
    problems solved together. In float32 or wider whatever autocast says. O(n m) memory per problem.

    Args:
        source: (..., n, d) float, n >= 1.
        target: (..., m, d) float, m >= 1, the same leading dimensions.
        regularization: eps > 0, in squared units of the features; a constant.
        tolerance: on the largest change of a potential, relative to eps, at which updates end.
        max_iterations: at most so many updates.

    Returns:
        (...) in squared units of the features, with a gradient to both sides.

    Raises:
        ValueError: shapes that do not fit, a side without rows, or an eps of 0 or less given as a float.

    Reference:
        Feydy et al. 2019, AISTATS, eq. 3 and 4 (divergence), 25 (averaged updates); Genevay et al. 2018, AISTATS.
    """
    shapes = f"{tuple(source.shape)} and {tuple(target.shape)}"
    fits = source.ndim >= 2 and source.shape[:-2] == target.shape[:-2] and source.shape[-1] == target.shape[-1]
    if not fits or 0 in (source.shape[-2], target.shape[-2]):
        raise ValueError(f"sinkhorn_divergence: got {shapes}, wants (..., n, d) and (..., m, d) with rows")
    if not isinstance(regularization, Tensor) and regularization <= 0:
        raise ValueError(f"sinkhorn_divergence: got regularization {regularization}, wants above 0")
    with torch.autocast(source.device.type, enabled=False):
        wide = torch.promote_types(torch.promote_types(source.dtype, target.dtype), torch.float32)
        source, target = source.to(wide), target.to(wide)
        eps = torch.as_tensor(regularization, dtype=wide, device=source.device).detach()
        values = [
            _transport(_cost(x, y), eps, tolerance, max_iterations, symmetric=x is y)
            for x, y in ((source, target), (source, source), (target, target))
        ]
        return values[0] - (values[1] + values[2]) / 2


def _cost(x: Tensor, y: Tensor) -> Tensor:
    # Centred, so that a common offset costs no digits of the expansion.
    centre = y.detach().mean(dim=-2, keepdim=True)
    x, y = x - centre, y - centre
    squares = x.square().sum(dim=-1)[..., :, None] + y.square().sum(dim=-1)[..., None, :]
    return squares - 2 * x @ y.mT


def _transport(cost: Tensor, eps: Tensor, tolerance: float, max_iterations: int, *, symmetric: bool) -> Tensor:
    """OT_eps of a cost (..., n, m), whose gradient is the plan."""
    with torch.no_grad():
        f, g = _potentials(cost, eps, tolerance, max_iterations, symmetric=symmetric)
        n, m = cost.shape[-2:]
        plan = ((f[..., :, None] + g[..., None, :] - cost) / eps - math.log(n * m)).exp()
        # After the last update of f the rows of the plan sum to 1 / n, if symmetric within the tolerance.
        value = f.mean(dim=-1) + g.mean(dim=-1)
    moving = (plan * cost).sum(dim=(-2, -1))
    return value + moving - moving.detach()


def _potentials(cost: Tensor, eps: Tensor, tolerance: float, max_iterations: int, *, symmetric: bool):
    n, m = cost.shape[-2:]
    f, g = cost.new_zeros(cost.shape[:-1]), cost.new_zeros((*cost.shape[:-2], m))
    for iteration in range(1, max_iterations + 1):
        last = f
        if symmetric:
            f = g = (f - eps * (((f[..., None, :] - cost) / eps).logsumexp(dim=-1) - math.log(m))) / 2
        else:
            g = -eps * (((f[..., :, None] - cost) / eps).logsumexp(dim=-2) - math.log(n))
            f = -eps * (((g[..., None, :] - cost) / eps).logsumexp(dim=-1) - math.log(m))
        if iteration % CHECK_EVERY == 0 and bool((f - last).abs().max() <= tolerance * eps.max()):
            break
    return f, g
