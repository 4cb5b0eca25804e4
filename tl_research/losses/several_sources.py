"""Parts of methods of several sources: moments between all pairs of domains, mixtures of heads, weights of sources."""

from __future__ import annotations

from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor

from tl_research.losses.classifier_games import classifier_discrepancy
from tl_research.losses.sides import checked_sides


def shares_of_sources(domain: Tensor, sources: int) -> Tensor:
    """Return the share (S, n) of each row in the mean over its source's rows: 1 / n_j or 0.

    `shares @ x` has the mean of x for each source, and 0 for a source without a row.

    Args:
        domain: (n,) int64, number of each row's source.
        sources: S.
    """
    own = (domain == torch.arange(sources, device=domain.device)[:, None]).float()
    return own / own.sum(dim=1, keepdim=True).clamp_min(1)


def moment_distance(source: Tensor, shares: Tensor, target: Tensor, *, moments: int = 2) -> Tensor:
    """Distance of the raw moments of all pairs of domains, per feature.

    Σ_{k=1..K} [ 1/S Σ_i ||E x_i^k - E t^k||_2  +  2 / (S (S - 1)) Σ_{i<j} ||E x_i^k - E x_j^k||_2 ], x_i the rows of
    source i and t those of the target. A pair with a source that has no row counts 0. In float32 or wider.

    Args:
        source: (n, d) float, rows of all sources.
        shares: (S, n) of `shares_of_sources`, S >= 2.
        target: (m, d) float, m >= 1.
        moments: K >= 1.

    Returns:
        Scalar, with a gradient to both sides.

    Raises:
        ValueError: shapes that do not fit, a side without rows, fewer than two sources, or K below 1.

    Reference:
        Peng et al. 2019, ICCV, eq. 1 (there K = 2).
    """
    source, target = checked_sides("moment_distance", source, target)
    if moments < 1 or len(shares) < 2:
        raise ValueError(f"moment_distance: got moments={moments} and {len(shares)} source(s), wants 1 and 2 or more")
    shares, pairs = shares.to(source.dtype), list(combinations(range(len(shares)), 2))
    is_there = (shares.sum(dim=1) > 0).to(source.dtype)
    one, other = (torch.tensor(side, device=source.device) for side in zip(*pairs, strict=True))
    total = source.new_zeros(())
    with torch.autocast(source.device.type, enabled=False):
        for order in range(1, moments + 1):
            of_source, of_target = shares @ source**order, (target**order).mean(dim=0)
            to_target = torch.linalg.vector_norm(of_source - of_target, dim=1) * is_there
            between = torch.linalg.vector_norm(of_source[one] - of_source[other], dim=1)
            total = total + to_target.mean() + (between * is_there[one] * is_there[other]).mean()
    return total


def log_mixture(logits: Tensor, weight: Tensor) -> Tensor:
    """Logarithm of a weighted mean of several heads' class probabilities: ln Σ_j w_j softmax(z_j).

    Args:
        logits: (S, n, C) float, of each head.
        weight: (S,) float >= 0 of sum 1, or (S, n) for weights of each row.

    Returns:
        (n, C), log probabilities, which are logits of themselves. In float32 or wider.
    """
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    weight = weight.to(wide.dtype).reshape(len(logits), -1, 1)
    return (wide.log_softmax(dim=2) + weight.log()).logsumexp(dim=0)


def heads_discrepancy(logits: Tensor) -> Tensor:
    """Mean over all pairs of heads of the mean absolute difference of their probabilities.

    2 / (S (S - 1)) Σ_{i<j} Σ_rows Σ_c |p_i - p_j| / (n C): 0 where the heads agree.

    Args:
        logits: (S, n, C) float, S >= 2, n >= 1.

    Returns:
        Scalar from 0 to 2 / C.

    Reference:
        Zhu et al. 2019, AAAI, eq. 5.
    """
    pairs = combinations(logits.unbind(0), 2)
    return torch.stack([classifier_discrepancy(one, other) for one, other in pairs]).mean()


def worst_case_weights(value: Tensor, is_there: Tensor, *, gamma: float | None) -> Tensor:
    """Gradient of the maximum of the sources' values: softmax(γ v), or, without γ, 1 for the largest value.

    softmax(γ v) is the gradient of the smooth maximum (1/γ) ln Σ_i exp(γ v_i), so that Σ_i w_i v_i with w held
    constant has its gradient.

    Args:
        value: (S,) float.
        is_there: (S,) bool, whether the source has rows; at least one has. The others have weight 0.
        gamma: γ > 0, or None for the hard maximum.

    Returns:
        (S,) float, >= 0, of sum 1, without a gradient.

    Reference:
        Zhao et al. 2018, NeurIPS, section 4 (hard and smooth).
    """
    value = value.detach().masked_fill(~is_there, -torch.inf)
    if gamma is None:
        return F.one_hot(value.argmax(), len(value)).to(value.dtype)
    return (gamma * value).softmax(dim=0)


def uniform_bce(logit: Tensor) -> Tensor:
    """Cross-entropy (n, ...) of a binary discriminator with the answer "either": ½ softplus(z) + ½ softplus(-z).

    It is ln 2 where the discriminator knows nothing (z = 0), its minimum.

    Args:
        logit: (n, ...) float.

    Reference:
        Tzeng et al. 2015, ICCV, eq. 4; Xu et al. 2018, CVPR, eq. 4 (multi-domain confusion).
    """
    return (F.softplus(logit) + F.softplus(-logit)) / 2


def perplexity_weights(logit: Tensor, concentration: Tensor) -> Tensor:
    """Weight of each source for each target row, by how much its discriminator takes the row for one of the source.

    S_j(x) = -ln(1 - D_j(x)) + α_j, D_j the probability that x is of source j; w_j = S_j / Σ_i S_i.

    Args:
        logit: (S, n) float, of the target against each source: 1 - D_j = sigmoid(logit).
        concentration: α (S,) float >= 0.

    Returns:
        (S, n) float, > 0; each column has the sum 1.

    Reference:
        Xu et al. 2018, CVPR, eq. 7 and 8.
    """
    score = F.softplus(-logit) + concentration[:, None]
    return score / score.sum(dim=0)
