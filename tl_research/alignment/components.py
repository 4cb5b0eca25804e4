"""The eigenproblem that TCA and its descendants share, solved through what is low-rank and symmetric in it."""

from __future__ import annotations

import torch
from torch import Tensor

#: Up to this many unknowns the whole symmetric eigenproblem is solved; above it a Krylov space.
DENSE_UP_TO = 1500
#: Up to this many columns of Ψ the scatter matrix ΨᵀHΨ is held; above it there are products with Ψ alone.
HELD_UP_TO = 2000
#: Largest residual of a component, relative to the largest eigenvalue.
TOLERANCE = 1e-9
BLOCK = 8
#: Rows centred at once for a scatter matrix.
BLOCK_ROWS = 4096
LARGEST_SPACE = 1200
RESTARTS = 10


def components(
    features: Tensor,
    factor: Tensor,
    *,
    count: int,
    regularizer: float,
    symmetric: bool = False,
    start: Tensor | None = None,
    dense_up_to: int = DENSE_UP_TO,
) -> Tensor:
    """A of  min tr(Aᵀ (Ψᵀ E Eᵀ Ψ + λ I) A)  subject to  Aᵀ Ψᵀ H Ψ A = I.

    These are the leading eigenvectors of M⁻¹S with M = λI + GGᵀ, G = ΨᵀE and S = ΨᵀHΨ. M is the identity but for as
    many directions as E has columns, so that M^-1/2 is known and M^-1/2 S M^-1/2 is an ordinary symmetric problem.
    Where Ψ has many columns, its leading eigenvectors are found in a block Krylov space, with products only.

    Args:
        features: (N, p) float64, Ψ; a kernel matrix for the dual form.
        factor: (N, c) float64, E of the MMD matrix E Eᵀ.
        count: number of components.
        regularizer: λ > 0.
        symmetric: Ψ is a symmetric kernel matrix; one product per step instead of two.
        start: (p, any) columns near the answer, as of the round before.
        dense_up_to: largest p that is solved whole.

    Returns:
        (p, count), sorted by decreasing eigenvalue; the largest entry of each column is positive. Fewer columns where
        the rank of the centred features is less.
    """
    mean = features.mean(dim=0)
    pulled = features.T @ factor
    settings = {"count": count, "regularizer": regularizer, "start": start, "dense_up_to": dense_up_to}
    if symmetric and features.shape[1] > dense_up_to:
        found = _krylov(features, None, [torch.ones_like(features[:, :1]), factor], pulled, **settings)
    elif features.shape[1] > HELD_UP_TO or dense_up_to == 0:

        def multiply(columns: Tensor) -> Tensor:
            image = features @ columns - mean @ columns
            return features.T @ image - mean[:, None] * image.sum(dim=0)

        found = _krylov(None, multiply, [pulled], pulled, **settings)
    else:
        return components_of_scatter(scatter_of(features), pulled, **settings)
    if found is None:
        found = _whole(scatter_of(features), pulled, count, regularizer)[0]
    return _signed(found)


def scatter_of(features: Tensor) -> Tensor:
    """S = ΨᵀHΨ (p, p) of features (N, p)."""
    mean = features.mean(dim=0)
    scatter = features.new_zeros(features.shape[1], features.shape[1])
    for block in features.split(BLOCK_ROWS):  # a centred copy of all rows would double the memory
        centred = block - mean
        scatter.addmm_(centred.T, centred)
    return scatter


def components_of_scatter(
    scatter: Tensor,
    pulled: Tensor,
    *,
    count: int,
    regularizer: float,
    start: Tensor | None = None,
    dense_up_to: int = DENSE_UP_TO,
) -> Tensor:
    """The same from S = ΨᵀHΨ (p, p) and G = ΨᵀE (p, c); S serves all rounds of a method."""
    found = None
    if len(scatter) > dense_up_to:
        found = _krylov(None, scatter.matmul, [pulled], pulled, count, regularizer, start, dense_up_to)
    if found is None:
        found = _whole(scatter, pulled, count, regularizer)[0]
    return _signed(found)


def _whitener(pulled: Tensor, regularizer: float):
    """v -> (λI + GGᵀ)^-1/2 v."""
    basis, size, _ = torch.linalg.svd(pulled, full_matrices=False)
    shrink = (regularizer / (regularizer + size.square())).sqrt() - 1

    def whiten(v: Tensor) -> Tensor:
        return (v + basis @ (shrink[:, None] * (basis.T @ v))) / regularizer**0.5

    return whiten


def _whole(scatter: Tensor, pulled: Tensor, count: int, regularizer: float) -> tuple[Tensor, Tensor]:
    whiten = _whitener(pulled, regularizer)
    symmetric = whiten(whiten(scatter).T)
    value, vector = torch.linalg.eigh((symmetric + symmetric.T) / 2)
    value, vector = value.flip(0), vector.flip(1)
    rank = int((value > value[0] * len(value) * torch.finfo(value.dtype).eps).sum())
    count = min(count, rank)
    value, vector = value[:count], vector[:, :count]
    return whiten(vector) / value.sqrt(), value


def _krylov(kernel, multiply, special, pulled, count, regularizer, start, dense_up_to) -> Tensor | None:
    """The same from a block Krylov space; None where it does not settle.

    The space is that of one symmetric operator, started at the directions by which M⁻¹S differs from its powers, so
    that it contains the Krylov space of M⁻¹S. That operator is S, by `multiply`, or, where S = K H K, K itself:
    half the products, and what they give is all that S on the space needs.
    """
    p = len(pulled)
    limit = min(LARGEST_SPACE, p // 2)
    width = sum(part.shape[1] for part in special) + max(BLOCK, count if start is None else start.shape[1] + BLOCK)
    if limit < 2 * width:
        return None
    random = torch.randn(p, BLOCK, generator=torch.Generator().manual_seed(0), dtype=pulled.dtype).to(pulled.device)
    whiten = _whitener(pulled, regularizer)
    guess = random if start is None else torch.cat([start, random], dim=1)
    for _ in range(RESTARTS):
        last = basis = _orthonormal(torch.cat([*special, guess], dim=1), None)
        images: list[Tensor] = []
        wanted = max(3 * count, 2 * basis.shape[1])
        while True:
            onward = kernel @ last if multiply is None else multiply(last)
            images.append(onward - onward.mean(dim=0) if multiply is None else onward)
            if basis.shape[1] >= min(wanted, limit):
                image = torch.cat(images, dim=1)
                inside = image.T @ image if multiply is None else basis.T @ image
                small, value = _whole(inside, basis.T @ pulled, count, regularizer)
                found = basis @ small
                across = kernel @ (image @ small) if multiply is None else image @ small
                residual = whiten(across - value * (regularizer * found + pulled @ (pulled.T @ found))) * value.sqrt()
                if residual.norm(dim=0).max() <= TOLERANCE * value[0]:
                    return found
                if basis.shape[1] >= limit:
                    guess = torch.cat([found, random], dim=1)
                    break
                wanted = int(1.25 * basis.shape[1])
            last = _orthonormal(onward, basis)
            basis = torch.cat([basis, last], dim=1)
    return None


def _orthonormal(block: Tensor, basis: Tensor | None) -> Tensor:
    # Twice, because a block that lies almost in the basis loses its orthogonality to it when scaled up.
    for _ in range(2):
        if basis is not None:
            block = block - basis @ (basis.T @ block)
        block = torch.linalg.qr(block)[0]
    return block


def _signed(vectors: Tensor) -> Tensor:
    largest = vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True))
    return vectors * torch.where(largest < 0, -1.0, 1.0)
