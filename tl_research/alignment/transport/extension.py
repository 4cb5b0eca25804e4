"""Transport maps beyond the rows that they were fitted on."""

from __future__ import annotations

import torch
from torch import Tensor

from tl_research.alignment.transport.cost import squared_euclidean

#: Entries of one distance matrix.
CHUNK_ENTRIES = 1 << 20


def entropic_map(x: Tensor, y: Tensor, g: Tensor, regularization: float) -> Tensor:
    """Return T(x) = sum_j w_j(x) y_j, w(x) = softmax_j((g_j - |x - y_j|^2) / eps).

    On the rows of the fit it is their barycentric image, and it is smooth between them.

    Args:
        x: (n, d) rows to map.
        y: (m, d) target rows or centroids, float64.
        g: (m,) float64 potentials that `sinkhorn` gave.
        regularization: eps, in the unit of the cost.

    Returns:
        (n, d) float64.

    Reference:
        Pooladian & Niles-Weed 2021, arXiv:2109.12004, eq. 5.
    """
    # In the rows' precision: the softmax sees differences of centred distances, in units of the regularisation.
    work = torch.promote_types(x.dtype, torch.float32)
    centre = y.mean(dim=0)
    columns = (y - centre).to(work)
    bias = ((g - (y - centre).square().sum(dim=1)) / regularization).to(work)

    def images(part: Tensor) -> Tensor:
        rows = (part.double() - centre).to(work)
        # |x|² is the same for all columns, so that the softmax does not see it
        return (torch.softmax(torch.addmm(bias, rows, columns.T, alpha=2 / regularization), dim=1) @ columns).double()

    return _chunked(images, x, len(y)) + centre


def nearest_displacement(x: Tensor, rows: Tensor, displacement: Tensor) -> Tensor:
    """Return x + the displacement of the nearest row of the fit, (n, d) float64; the rows of the fit are their own.

    Args:
        x: (n, d) rows to move.
        rows: (k, d) rows of the fit.
        displacement: (k, d) their images less themselves.

    Reference:
        Ferradans et al. 2014, SIAM J. Imaging Sci. 7(3), section 4; Courty et al. 2017, IEEE TPAMI 39(9), eq. 16.
    """
    if x.shape == rows.shape and torch.equal(x, rows):
        return x.double() + displacement.double()

    def moved(part: Tensor) -> Tensor:
        return part.double() + displacement[squared_euclidean(part, rows).argmin(dim=1)].double()

    return _chunked(moved, x, len(rows))


def _chunked(function, x: Tensor, width: int) -> Tensor:
    if len(x) == 0:
        return x.double()
    return torch.cat([function(part) for part in x.split(max(1, CHUNK_ENTRIES // width))])
