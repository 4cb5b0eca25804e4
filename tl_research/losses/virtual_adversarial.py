"""Virtual adversarial training: the small change of a row that changes its prediction most."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def row_divergences(logits: Tensor, wanted: Tensor) -> Tensor:
    """KL(softmax(wanted_i) ‖ softmax(logits_i)) of each row, `wanted` taken as constant. In float32 or wider.

    Args:
        logits: (n, C) float.
        wanted: logits (n, C) float.

    Returns:
        (n,), in nats, 0 or more.

    Raises:
        ValueError: shapes that differ.

    Reference:
        Miyato et al. 2019, IEEE TPAMI 41(8), eq. 5.
    """
    if logits.ndim != 2 or logits.shape != wanted.shape:
        raise ValueError(f"row_divergences: got {tuple(logits.shape)} and {tuple(wanted.shape)}, wants (n, C) twice")
    wide = torch.promote_types(logits.dtype, torch.float32)
    log_p, log_q = wanted.detach().to(wide).log_softmax(dim=1), logits.to(wide).log_softmax(dim=1)
    return (log_p.exp() * (log_p - log_q)).sum(dim=1)


def unit_rows(change: Tensor) -> Tensor:
    """Scale every row (n, ...) to length 1; a row of zeros stays one."""
    flat = change.flatten(1)
    # By the largest entry first: squares of small gradients round to 0.
    flat = flat / flat.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(flat.dtype).tiny)
    return (flat / flat.norm(dim=1, keepdim=True).clamp_min(torch.finfo(flat.dtype).tiny)).view_as(change)


def adversarial_direction(
    divergence: Callable[[Tensor], Tensor], start: Tensor, *, probe: float = 1e-3, iterations: int = 1
) -> Tensor:
    """Direction in which a row's prediction changes most: power iteration d <- unit(∇_r D(r) at r = probe · d).

    D is the divergence of the predictions of a row and of the row changed by r. Its gradient at 0 is 0, so that
    its Hessian decides: the iteration goes to the Hessian's first eigenvector.

    Args:
        divergence: changes (n, ...) -> scalar, the sum of the rows' divergences.
        start: d (n, ...) float, not orthogonal to what is sought: random.
        probe: length of the change at which the gradient is taken: ξ, 1e-6 in the paper, where float32 loses digits.
        iterations: number of power iterations.

    Returns:
        (n, ...) rows of length 1 (0 where the prediction does not change), without a gradient.

    Reference:
        Miyato et al. 2019, IEEE TPAMI 41(8), section 3.3.
    """
    direction = unit_rows(start.detach())
    for _ in range(iterations):
        with torch.enable_grad():
            change = (probe * direction).requires_grad_()
            (gradient,) = torch.autograd.grad(divergence(change), change)
        direction = unit_rows(gradient.detach())
    return direction
