"""Kernel mean matching."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tl_research.config import WeightingConfig, above, at_least, one_of, share
from tl_research.registry import register_weighting
from tl_research.weighting.prepared import gaussian_product, median_distance, prepared, squared_distances, tiles

PATHS = ("auto", "dense", "streaming", "nystrom")
#: Eigenvalues of the landmarks' Gram matrix below this share of the largest are left out of Nyström features.
NYSTROM_CUT = 1e-10
#: Steps between two looks at the duality gap.
LOOK_EVERY = 10

Product = Callable[[Tensor], Tensor]


@dataclass
class KMMConfig(WeightingConfig):
    """Options of kernel mean matching."""

    name: str = "kmm"
    # Sigma of the Gaussian kernel; None: the median distance of the pooled rows.
    bandwidth: float | None = above(0, default=None)
    bound: float = at_least(1, default=1000.0)  # B, the largest weight
    # eps: |mean weight - 1| <= eps; None: (sqrt(n) - 1) / sqrt(n), as in the paper.
    slack: float | None = share(one=False, default=None)
    # Of MMD²; None: (1/n + 1/m) / 2, the size of its own noise, or 1e-4 if larger.
    tolerance: float | None = above(0, default=None)
    max_steps: int = at_least(1, default=2000)
    # auto: dense while it fits in dense_mb, then streaming, nystrom from approximate_from rows.
    path: str = one_of(PATHS, default="auto")
    dense_mb: float = at_least(0, default=1024.0)  # most memory of a kept n x n Gram matrix
    approximate_from: int = at_least(1, default=10_000)  # source rows from which auto takes Nyström features
    landmarks: int = at_least(2, default=500)  # of the Nyström features, half from each domain


@register_weighting("kmm", config=KMMConfig, paper="Huang et al. 2006, NeurIPS, eq. 10", gain=0.06)
def kmm(
    source: Tensor, target: Tensor, config: KMMConfig, *, label: Tensor | None = None, seed: int
) -> tuple[Tensor, dict[str, Any]]:
    """Kernel mean matching: the weighted source mean meets the target mean in a Gaussian kernel's feature space.

    min_b  ½ b'Kb - κ'b,   0 <= b_i <= B,   |Σ b - n| <= n eps,
    K_ij = k(x_i, x_j),   κ_i = n/m Σ_j k(x_i, z_j),

    which is n²/2 times MMD²(weighted source, target) less a constant. Solved by accelerated projected gradient with
    restarts and an exact projection, until the duality gap bounds the distance to the least MMD² by `tolerance`;
    where `max_steps` end first, the facts say so in a warning.

    From `approximate_from` rows K is that of Nyström features (`landmarks`), on both sides alike.

    Args:
        source: (n, d) standardised. target: (m, d), standardised alike.

    Returns:
        (n,) float64 weights in [0, bound]; and facts for the record.

    Raises:
        DataError: rows that are not finite, or shapes that do not fit.

    Reference:
        Huang, Gretton, Borgwardt, Schölkopf & Smola 2006, Correcting sample selection bias by unlabeled data.
    """
    facts: dict[str, Any] = {}
    rows = prepared(source, target, seed)
    n, m = len(rows.source), len(rows.target)
    sigma = config.bandwidth or median_distance(rows.source, rows.target)
    path = chosen_path(n, config)
    facts.update(path=path, bandwidth=sigma)
    if path == "nystrom":
        features = nystrom_features(rows.source, rows.target, sigma, config.landmarks)
        facts.update(landmarks=min(config.landmarks, n + m), features=features[0].shape[1])
        product, curvature = _feature_product(features[0])
        kappa = (n / m) * (features[0] @ features[1].sum(dim=0))
    else:
        ones = torch.ones(m, dtype=torch.float64, device=rows.target.device)
        kappa = (n / m) * gaussian_product(rows.source, rows.target, ones, sigma)
        product = _dense_product(rows.source, sigma) if path == "dense" else _streaming_product(rows.source, sigma)
        curvature = largest_eigenvalue_bound(product, n, rows.source.device)
    slack = config.slack if config.slack is not None else (n**0.5 - 1) / n**0.5
    tolerance = config.tolerance if config.tolerance is not None else max(1e-4, (1 / n + 1 / m) / 2)
    weight = _minimise(
        product,
        kappa.double(),
        curvature,
        (config.bound, n * (1 - slack), n * (1 + slack)),
        tolerance=tolerance,
        max_steps=config.max_steps,
        facts=facts,
    )
    return rows.restored(weight), facts


def chosen_path(n: int, config: KMMConfig) -> str:
    """The path that `auto` takes at n source rows."""
    if config.path != "auto":
        return config.path
    if n >= config.approximate_from:
        return "nystrom"
    return "dense" if 8 * n * n <= config.dense_mb * 2**20 else "streaming"


def project(v: Tensor, bound: float, low: float, high: float) -> Tensor:
    """The nearest point of {0 <= b <= bound, low <= Σ b <= high}, exactly.

    It is clip(v - t, 0, bound), with t = 0 where the sum allows it. Else Σ clip(v - t, 0, bound) falls in t in
    straight pieces between the breakpoints v and v - bound; the piece that meets the nearer limit is found by sorting.
    """
    clipped = v.clamp(0, bound)
    total = clipped.sum()
    if bool(low <= total) and bool(total <= high):
        return clipped
    limit = low if bool(total < low) else high
    breaks, order = torch.cat([v - bound, v]).sort()
    n = len(v)
    active = torch.where(order < n, 1.0, -1.0).to(v.dtype).cumsum(dim=0)
    fall = torch.cat([v.new_zeros(1), (active[:-1] * breaks.diff()).cumsum(dim=0)])
    piece = int(torch.searchsorted(fall, torch.as_tensor(n * bound - limit, dtype=v.dtype, device=v.device)))
    piece = min(max(piece, 1), 2 * n - 1)
    middle = (breaks[piece - 1] + breaks[piece]) / 2
    inside, above = (v - middle > 0) & (v - middle < bound), v - middle >= bound
    # On this piece the sum is Σ_inside (v - t) + bound · |above|: solved for t without the rounding of the search.
    shift = (v[inside].sum() + bound * above.sum() - limit) / inside.sum() if bool(inside.any()) else middle
    return (v - shift).clamp(0, bound)


def duality_gap(b: Tensor, gradient: Tensor, bound: float, low: float, high: float) -> Tensor:
    """max over the feasible s of gradient'(b - s): at least the objective at b less its least value."""
    order = gradient.argsort()
    ranked = gradient[order]
    place = torch.arange(len(b), dtype=b.dtype, device=b.device) * bound
    # The least gradient's row is filled first: up to `low` whatever its sign, beyond while it still pays.
    limit = torch.where(ranked < 0, high, low)
    s = (limit - place).clamp(0, bound)
    return gradient @ b - ranked @ s


def largest_eigenvalue_bound(product: Product, n: int, device: torch.device, steps: int = 8) -> float:
    """An upper bound of the largest eigenvalue of a matrix >= 0: max_i (Kv)_i / v_i for any v > 0 (Collatz)."""
    v = torch.ones(n, dtype=torch.float64, device=device)
    bound = float("inf")
    for _ in range(steps):
        image = product(v)
        bound = min(bound, float((image / v).max()))
        v = image / image.max()
    return bound


def nystrom_features(source: Tensor, target: Tensor, sigma: float, landmarks: int) -> tuple[Tensor, Tensor]:
    """Float32 features whose inner products are K(·, c) K(c, c)^+ K(c, ·) for landmarks c, half from each domain."""
    half = min(landmarks // 2, len(source), len(target))
    centres = torch.cat([source[: landmarks - half], target[:half]])
    values, vectors = torch.linalg.eigh((squared_distances(centres, centres) / (-2 * sigma**2)).exp())
    keep = values > NYSTROM_CUT * values[-1]
    root = vectors[:, keep] / values[keep].sqrt()

    def features(rows: Tensor) -> Tensor:
        parts = tiles(len(rows), len(centres))
        made = [((squared_distances(rows[p], centres) / (-2 * sigma**2)).exp() @ root).float() for p in parts]
        return torch.cat(made)

    return features(source), features(target)


def _dense_product(rows: Tensor, sigma: float) -> Product:
    gram = squared_distances(rows, rows).div_(-2 * sigma**2).exp_()
    return lambda v: gram @ v


def _streaming_product(rows: Tensor, sigma: float) -> Product:
    return lambda v: gaussian_product(rows, rows, v, sigma)


def _feature_product(features: Tensor) -> tuple[Product, float]:
    curvature = float(torch.linalg.matrix_norm(features.T @ features, ord=2)) * (1 + 1e-5)
    return lambda v: (features @ (v.to(features.dtype) @ features)).double(), curvature


def _minimise(
    product: Product,
    kappa: Tensor,
    curvature: float,
    limits: tuple[float, float, float],
    *,
    tolerance: float,
    max_steps: int,
    facts: dict[str, Any],
) -> Tensor:
    n = len(kappa)
    b = torch.ones_like(kappa)
    image = product(b)  # K b; that of a combination of points is the combination of their images
    best, best_gap = b, float("inf")
    ahead, ahead_image, momentum = b, image, 1.0
    step = 0
    for step in range(1, max_steps + 1):
        moved = project(ahead - (ahead_image - kappa) / curvature, *limits)
        moved_image = product(moved)
        if bool((ahead - moved) @ (moved - b) > 0):  # the momentum leads uphill: start it anew
            momentum = 1.0
        following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        factor = (momentum - 1) / following
        ahead, ahead_image = moved + factor * (moved - b), moved_image + factor * (moved_image - image)
        b, image, momentum = moved, moved_image, following
        if step % LOOK_EVERY == 0 or step == max_steps:
            gap = float(duality_gap(b, image - kappa, *limits)) * 2 / n**2
            if gap < best_gap:
                best, best_gap = b, gap
            if gap <= tolerance:
                break
    facts.update(steps=step, gap=best_gap, tolerance=tolerance, converged=best_gap <= tolerance)
    if best_gap > tolerance:
        facts["warning"] = (
            f"kmm stopped after max_steps={max_steps} with MMD² up to {best_gap:.3g} above its least value, more than "
            f"tolerance={tolerance:.3g}"
        )
    return best
