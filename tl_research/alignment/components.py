"""The eigenproblem that TCA and its descendants share, solved through what is low-rank and symmetric in it."""

from __future__ import annotations

import torch
from torch import Tensor

from tl_research.config import check

#: Up to this many unknowns the whole symmetric eigenproblem is solved; above it a Krylov space.
DENSE_UP_TO = 1000
#: Largest residual of a component, relative to the largest eigenvalue.
TOLERANCE = 1e-9
BLOCK = 8
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
        symmetric: Ψ is a symmetric kernel matrix; one product a step instead of two.
        start: (p, any) columns near the answer, as of the round before.
        dense_up_to: largest p that is solved whole.

    Returns:
        (p, count), sorted by decreasing eigenvalue; the largest entry of each column is positive.

    Raises:
        ConfigError: `count` is above the rank of the centred features.
    """
    wide = features.shape[1] > dense_up_to
    mean = features.mean(dim=0)
    pulled = features.T @ factor
    if wide:
        found = _krylov(features, factor, pulled, count, regularizer, symmetric, start)
        if found is not None:
            return _signed(found)
    centred = features - mean
    return _signed(_whole(centred.T @ centred, pulled, count, regularizer)[0])


def components_of_scatter(scatter: Tensor, pulled: Tensor, *, count: int, regularizer: float) -> Tensor:
    """The same from S = ΨᵀHΨ (p, p) and G = ΨᵀE (p, c), for features that are too many to hold."""
    return _signed(_whole(scatter, pulled, count, regularizer)[0])


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
    check(count <= rank, "method.components", count, f"at most {rank}, the rank of the features of the training rows")
    value, vector = value[:count], vector[:, :count]
    return whiten(vector) / value.sqrt(), value


def _krylov(features, factor, pulled, count, regularizer, symmetric, start) -> Tensor | None:
    """The same from a block Krylov space; None where it does not settle.

    The space is that of one symmetric operator, K or ΨᵀHΨ, started at the directions by which M and S differ from
    its powers, so that it contains the Krylov space of M⁻¹S: for a kernel matrix S = K H K costs one product with K.
    """
    p = features.shape[1]
    limit = min(LARGEST_SPACE, p // 2)
    if limit < 2 * (count + factor.shape[1] + 1 + BLOCK):
        return None
    generator = torch.Generator().manual_seed(0)
    random = torch.randn(p, BLOCK, generator=generator, dtype=features.dtype).to(features.device)
    special = [torch.ones_like(features[:, :1]), factor] if symmetric else [pulled]
    whiten = _whitener(pulled, regularizer)
    mean = features.mean(dim=0)

    def centred(columns: Tensor) -> Tensor:
        return features @ columns - mean @ columns

    guess = random if start is None else torch.cat([start, random], dim=1)
    for _ in range(RESTARTS):
        last = _orthonormal(torch.cat([*special, guess], dim=1), None)
        basis = last
        images: list[Tensor] = []
        wanted = max(4 * count, 120)
        while True:
            image = features @ last if symmetric else centred(last)
            images.append(image - image.mean(dim=0) if symmetric else image)
            if basis.shape[1] >= min(wanted, limit):
                mapped = torch.cat(images, dim=1)
                small, value = _whole(mapped.T @ mapped, basis.T @ pulled, count, regularizer)
                found = basis @ small
                across = features.T @ (mapped @ small)
                residual = whiten(across - value * (regularizer * found + pulled @ (pulled.T @ found))) * value.sqrt()
                if residual.norm(dim=0).max() <= TOLERANCE * value[0]:
                    return found
                if basis.shape[1] >= limit:
                    guess = torch.cat([found, random], dim=1)
                    break
                wanted = int(1.4 * basis.shape[1])
            onward = image if symmetric else features.T @ image
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
