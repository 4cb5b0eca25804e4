"""Float64 linear algebra that the linear alignments share: weighted moments, principal directions, matrix roots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from tl_research.alignment.base import Rows
from tl_research.config import check
from tl_research.errors import DataError
from tl_research.nn.fitted import Fitted
from tl_research.nn.rounding import relative_rounding

DEFAULT_COMPONENTS = 20


class Moments(NamedTuple):
    """Mean and a root of the covariance.

    Fields:
        mean: (d,) float64, μ = Σ w_i x_i with Σ w_i = 1.
        root: (n, d) float64, rows (w_i / (1 - Σ w²))^1/2 (x_i - μ), so that root' root is the unbiased covariance;
            0 in a column that is constant up to rounding.
    """

    mean: Tensor
    root: Tensor

    @property
    def covariance(self) -> Tensor:
        """C = root' root, (d, d) float64."""
        return self.root.T @ self.root


class Spectrum(NamedTuple):
    """Eigenvalues of a covariance, falling, and their directions.

    Fields:
        values: (k,) float64 >= 0, k the smaller of rows and columns.
        vectors: (d, k) float64, orthonormal columns, the largest entry of each positive.
        rank: how many values are above rounding.
    """

    values: Tensor
    vectors: Tensor
    rank: int


def moments(rows: Rows, side: str) -> Moments:
    """Weighted mean and unbiased covariance of the rows, in float64 and centred before anything is squared.

    Raises:
        DataError: fewer than two rows of positive weight.
    """
    x = rows.x.double()
    if rows.weight is None:
        weight = x.new_full((len(x),), 1 / max(len(x), 1))
    else:
        weight = rows.weight.to(x) / rows.weight.to(x).sum()
    unbiased = float(1 - weight.square().sum())
    if not unbiased > 1e-12:
        raise DataError(f"{side}: a covariance needs two rows of positive weight, got {len(x)} row(s)")
    mean = weight @ x
    root = x - mean
    mean = mean + weight @ root  # a second pass: a large offset costs no digits
    root = x - mean
    # A column that is constant up to the rounding of its own numbers does not vary: its noise is no direction.
    present = weight > 0
    noise = root[present].abs().amax(dim=0) <= relative_rounding(rows.x.dtype) * x[present].abs().amax(dim=0)
    root = root.masked_fill(noise, 0.0) * (weight / unbiased).sqrt().unsqueeze(1)
    return Moments(mean, root)


def spectrum(root: Tensor) -> Spectrum:
    """Eigen-decomposition of root' root through whichever side of (n, d) is smaller."""
    n, d = root.shape
    if n < d:
        # C = Q (R R') Q' with root' = Q R; directions stay orthonormal to rounding, which root' U / s would not be.
        q, r = torch.linalg.qr(root.T)
        values, vectors = torch.linalg.eigh(r @ r.T)
        vectors = q @ vectors
    else:
        values, vectors = torch.linalg.eigh(root.T @ root)
    values, vectors = values.flip(0).clamp_min(0), signed(vectors.flip(1))
    rounding = max(n, d) * torch.finfo(values.dtype).eps * values[0]
    return Spectrum(values, vectors, int((values > rounding).sum()))


def signed(vectors: Tensor) -> Tensor:
    """Flip columns so that the entry of largest magnitude is positive."""
    peak = vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True))
    return vectors * torch.where(peak < 0, -1.0, 1.0)


def chosen_components(components: int | None, rank: int, of: str) -> int:
    """Resolve `components`: None is 20, or the rank where that is smaller.

    Raises:
        ConfigError: more components than the rows span. DataError: they span nothing.
    """
    if rank == 0:
        raise DataError(f"{of}: every row is the same, there is no direction to keep")
    if components is None:
        return min(DEFAULT_COMPONENTS, rank)
    check(components <= rank, "components", components, f"at most {rank}, the rank of {of}")
    return components


@dataclass
class ComponentsConfig:
    """The option of every map onto principal axes."""

    components: int | None = None  # axes kept, of each domain where there are two; null: 20, or the rank if smaller

    def __post_init__(self):
        is_right = self.components is None or self.components >= 1
        check(is_right, "components", self.components, "an integer of 1 or more, or null")


def expected_components(components: int | None, columns: int) -> int:
    """What `chosen_components` returns where the rows span all columns: known before they are seen."""
    return min(DEFAULT_COMPONENTS, columns) if components is None else components


def matrix_power(symmetric: Tensor, exponent: float, ridge: float = 0.0) -> Tensor:
    """(C + ridge I)^exponent of a symmetric positive semi-definite matrix; rounding below 0 counts as 0."""
    values, vectors = torch.linalg.eigh(symmetric)
    return (vectors * (values.clamp_min(0) + ridge) ** exponent) @ vectors.T


def joint_basis(source: Tensor, target: Tensor) -> Tensor | None:
    """Orthonormal basis (d, n + m) of what the rows of both sides span, or None where that may be every column.

    A function of two ridged covariances leaves the rest of the space as it is, so that with fewer rows than columns
    no (d, d) matrix is needed.
    """
    if len(source) + len(target) >= source.shape[1]:
        return None
    return torch.linalg.qr(torch.cat((source, target)).T).Q


def keep_basis(part: Fitted, basis: Tensor | None) -> None:
    """Keep the joint basis, or drop that of an earlier fit."""
    part._buffers.pop("basis", None)
    if basis is not None:
        part.keep(basis=basis)


def affine(x: Tensor, minus: Tensor, matrix: Tensor | None, plus: Tensor | None, basis: Tensor | None = None) -> Tensor:
    """(x - minus) A + plus in float32 or wider, returned in the dtype of x.

    A is `matrix` (d, k); where a `basis` Q (d, k) is given, A = I + Q (matrix - I) Q' with `matrix` of (k, k).
    """
    work = torch.promote_types(x.dtype, torch.float32)
    with torch.autocast(x.device.type, enabled=False):
        rows = x.to(work) - minus.to(work)
        if basis is not None:
            inside = rows @ basis.to(work)
            rows = rows + (inside @ matrix.to(work) - inside) @ basis.T.to(work)
        elif matrix is not None:
            rows = rows @ matrix.to(work)
        if plus is not None:
            rows = rows + plus.to(work)
        return rows.to(x.dtype)
