"""Distance of the subspaces that two batches of features span."""

from __future__ import annotations

import torch
from torch import Tensor

#: Directions weaker than this share of the strongest are none.
WEAKEST = 1e-4
#: Cosines above this are of one direction: the sine has no gradient there.
SAME = 1 - 1e-6


def subspace_distance(source: Tensor, target: Tensor) -> Tensor:
    """Representation subspace distance: Σ_i sin θ_i of the principal angles between two batches' row spaces.

        cos θ = singular values of Q_Sᵀ Q_T,    Q orthonormal bases (d, r) of the rows of F_S and F_T

    0 for rows of one subspace, whatever their scale and number. Directions whose singular value is below 1e-4 of the
    largest are left out. Where the subspaces differ in dimension, min(r_S, r_T) angles count; rows of zeros have none.
    The gradient needs no singular vector's, so that equal singular values do no harm. In float32 or wider.

    Args:
        source: F_S (n, d) float, n >= 1.
        target: F_T (m, d) float, m >= 1.

    Returns:
        Scalar from 0 to min(n, m, d).

    Raises:
        ValueError: shapes that do not fit.

    Reference:
        Chen et al. 2021, ICML, equations 3 to 5 (RSD).
    """
    if source.ndim != 2 or target.ndim != 2 or source.shape[1] != target.shape[1]:
        shapes = tuple(source.shape), tuple(target.shape)
        raise ValueError(f"subspace_distance: got {shapes}, wants (n, d) and (m, d)")
    with torch.autocast(source.device.type, enabled=False):
        bases = [_basis(part.to(torch.promote_types(part.dtype, torch.float32))) for part in (source, target)]
        if not bases[0].shape[1] or not bases[1].shape[1]:
            return 0.0 * (bases[0].sum() + bases[1].sum())
        cosine = torch.linalg.svdvals(bases[0].T @ bases[1])
        sine = (1 - cosine.clamp(max=SAME).square()).sqrt()
        return torch.where(cosine >= SAME, torch.zeros_like(sine), sine).sum()


def _basis(features: Tensor) -> Tensor:
    """Orthonormal basis (d, r) of the rows' space."""
    with torch.no_grad():
        _, values, right = torch.linalg.svd(features.T, full_matrices=False)
        taken = values > (WEAKEST * values[0]).clamp_min(torch.finfo(values.dtype).tiny)
        mixed = right[taken].T / values[taken]
    # A constant mixture of rows is orthonormal here and spans their space nearby; Cholesky keeps it orthonormal there.
    basis = features.T @ mixed
    return torch.linalg.solve_triangular(torch.linalg.cholesky(basis.T @ basis), basis.T, upper=False).T
