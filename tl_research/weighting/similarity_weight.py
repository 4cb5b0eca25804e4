"""Weights by similarity to the target domain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tl_research.config import above, at_least, one_of
from tl_research.errors import DataError
from tl_research.registry import register_weighting
from tl_research.weighting.classifier import ClassifierConfig, log_odds
from tl_research.weighting.prepared import Prepared, gaussian_product, median_distance, prepared

SIMILARITIES = ("gaussian", "cosine", "euclidean", "mahalanobis", "domain_score")


@dataclass
class SimilarityConfig(ClassifierConfig):
    """Options of a similarity to the target domain; those of the classifier are for `domain_score`."""

    bandwidth: float | None = above(0, default=None)  # gaussian: sigma; None: the median distance of the pooled rows
    target_rows: int = at_least(1, default=10_000)  # gaussian: most target rows that the mean kernel is taken over


@dataclass
class SimilarityWeightConfig(SimilarityConfig):
    """Options of similarity weighting."""

    name: str = "similarity_weight"
    similarity: str = one_of(SIMILARITIES, default="gaussian")


@register_weighting(
    "similarity_weight",
    config=SimilarityWeightConfig,
    paper="w_i = sim(x_i, T) / Σ_j sim(x_j, T), five similarities",
    gain=0.005,
)
def similarity_weight(
    source: Tensor, target: Tensor, config: SimilarityWeightConfig, *, label: Tensor | None = None, seed: int
) -> tuple[Tensor, dict[str, Any]]:
    """Similarity weighting: each source row by its share of all similarity to the target domain.

    w_i = sim(x_i, T) / Σ_j sim(x_j, T), with sim(x, T), mu and C being the target's mean and covariance:

        gaussian      mean_j exp(-||x - z_j||² / (2 sigma²)), over at most `target_rows` target rows
        cosine        (1 + cos(x, mu)) / 2, of the rows as they come: it depends on their origin
        euclidean     1 / (1 + ||x - mu||)
        mahalanobis   1 / (1 + sqrt((x - mu)' C^-1 (x - mu)))
        domain_score  p(target | x) of a logistic regression between the domains

    Args:
        source: (n, d) standardised. target: (m, d), standardised alike.

    Returns:
        (n,) float64 >= 0, sum 1; and facts for the record.

    Raises:
        DataError: rows that are not finite, shapes that do not fit, or a similarity that these rows leave undefined.
    """
    facts: dict[str, Any] = {}
    rows = prepared(source, target, seed, least=config.folds if config.similarity == "domain_score" else 1)
    if config.similarity == "cosine":
        value = _cosine(source.double(), target.double())
    else:
        value = rows.restored(similarity(rows, config.similarity, config, facts))
    return value / value.sum(), facts


def similarity(rows: Prepared, name: str, config: SimilarityConfig, facts: dict[str, Any]) -> Tensor:
    """Similarity to the target of the prepared source rows (n,), any but the cosine."""
    if name == "domain_score":
        return log_odds(rows, config, facts).sigmoid()
    if name == "gaussian":
        return _mean_kernel(rows, config, facts)
    away = rows.source - rows.target.mean(dim=0)
    if name == "mahalanobis":
        away = _whitened(away, rows.target)
    return 1 / (1 + away.norm(dim=1))


def _mean_kernel(rows: Prepared, config: SimilarityConfig, facts: dict[str, Any]) -> Tensor:
    sigma = config.bandwidth or median_distance(rows.source, rows.target)
    seen = rows.target[: config.target_rows]
    facts.update(bandwidth=sigma, target_rows=len(seen))
    share = torch.full((len(seen),), 1 / len(seen), dtype=torch.float64, device=seen.device)
    return gaussian_product(rows.source, seen, share, sigma)


def _cosine(source: Tensor, target: Tensor) -> Tensor:
    mean = target.mean(dim=0)
    largest = max(float(source.abs().max()), float(target.abs().max()))
    for what, rows in (("the target mean", mean[None]), ("a source row", source)):
        if not bool((rows.norm(dim=1) > 1e-12 * largest).all()):
            raise DataError(f"method.weighting.similarity: {what} is 0, so that it has no cosine; use another one")
    return (1 + torch.nn.functional.cosine_similarity(source, mean[None], dim=1, eps=0)) / 2


def _whitened(away: Tensor, target: Tensor) -> Tensor:
    if len(target) < 2:
        raise DataError("method.weighting.similarity: mahalanobis needs 2 target rows or more")
    covariance = target.T.cov().reshape(target.shape[1], target.shape[1])
    factor, failed = torch.linalg.cholesky_ex(covariance)
    # What is left of a column's deviation behind those before it, as a share of it: no unit decides.
    left = factor.diagonal().abs() / covariance.diagonal().sqrt()
    if bool(failed) or not bool((left > 1e-7).all()):
        raise DataError(
            "method.weighting.similarity: the target's covariance is singular (columns that depend on one another, or "
            "too few rows), so that there is no mahalanobis distance; use euclidean"
        )
    return torch.linalg.solve_triangular(factor, away.T, upper=False).T
