"""From domains to matrices: what the learners of an answer read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from tl_research.data.domain import Domain
from tl_research.data.matrix import as_matrix
from tl_research.data.paired import take
from tl_research.data.transforms.make import make_transform
from tl_research.data.transforms.spec import Transform


def fit_features(domains: Sequence[Domain], scale: str) -> Transform:
    """Fit the transform to the features of every row of all domains; no label is read."""
    return make_transform([domain.inputs for domain in domains], scale)


def features_of(transform: Transform, domain: Domain, rows: np.ndarray) -> Tensor:
    """Return the rows (k,) of a domain as a matrix (k, d) of numbers."""
    return as_matrix(transform.transform(take(domain.inputs, rows)), transform.spec)
