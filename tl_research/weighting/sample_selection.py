"""Selection of the source rows most like the target."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tl_research.config import at_least, check, one_of, share
from tl_research.registry import register_weighting
from tl_research.weighting.classifier import log_odds
from tl_research.weighting.neighbours import nearest
from tl_research.weighting.prepared import prepared
from tl_research.weighting.similarity_weight import SimilarityConfig, similarity

SCORES = ("domain_score", "neighbours", "gaussian", "euclidean", "mahalanobis")


@dataclass
class SampleSelectionConfig(SimilarityConfig):
    """Options of sample selection."""

    name: str = "sample_selection"
    share: float = share(zero=False, default=0.5)  # of the source rows that is kept
    score: str = one_of(SCORES, default="domain_score")
    k: int = at_least(1, default=5)  # neighbours: nearest target rows that the mean distance is taken over


@register_weighting(
    "sample_selection",
    config=SampleSelectionConfig,
    paper="in the spirit of Jiang & Zhai 2007, ACL, section 3.2",
    gain=0.09,
)
def sample_selection(
    source: Tensor, target: Tensor, config: SampleSelectionConfig, *, label: Tensor | None = None, seed: int
) -> tuple[Tensor, dict[str, Any]]:
    """Sample selection: keep the share of the source rows that is most like the target.

    w_i = 1 for the ceil(share · n) rows of the largest score, else 0. The score is the log odds of the target by a
    logistic regression between the domains (domain_score), minus the mean distance to the k nearest target rows
    (neighbours), or a similarity of `similarity_weight`. Exactly that many rows are kept, ties being drawn by seed. The
    paper leaves out the source rows that a model of the target's labels contradicts; here the inputs alone decide.

    Args:
        source: (n, d) standardised. target: (m, d), standardised alike.

    Returns:
        (n,) float64, 0 or 1; and facts for the record.

    Raises:
        DataError: rows that are not finite, or shapes that do not fit.

    Reference:
        Jiang & Zhai 2007, Instance weighting for domain adaptation in NLP (instances left out or kept): its spirit.
    """
    facts: dict[str, Any] = {}
    rows = prepared(source, target, seed, least=config.folds if config.score == "domain_score" else 1)
    if config.score == "domain_score":
        score = log_odds(rows, config, facts)
    elif config.score == "neighbours":
        m = len(rows.target)
        check(config.k <= m, "method.weighting.k", config.k, f"at most the {m} target rows")
        score = -nearest(rows.source, rows.target, config.k)[0].mean(dim=1)
    else:
        score = similarity(rows, config.score, config, facts)
    keep = math.ceil(config.share * len(score))
    facts.update(kept=keep)
    weight = torch.zeros_like(score)
    weight[score.argsort(descending=True, stable=True)[:keep]] = 1
    return rows.restored(weight), facts
