"""Weights of a run's source rows: from its training rows to `Weights`."""

from __future__ import annotations

import torch

from tl_research.config import WeightingConfig
from tl_research.data.batch import Samples
from tl_research.data.matrix import as_matrix
from tl_research.data.transforms.spec import InputSpec
from tl_research.nn.rounding import relative_rounding
from tl_research.weighting.base import Weights, weigh


def weigh_rows(source: Samples, target: Samples, spec: InputSpec, config: WeightingConfig, *, seed: int) -> Weights:
    """Weigh source rows by their inputs, as one matrix (a table's categories one-hot) of standardised columns.

    Mean and standard deviation are those of the source and target training rows together; a column that is constant up
    to rounding is 0.
    """
    x, y = as_matrix(source.inputs, spec), as_matrix(target.inputs, spec)
    pooled = torch.cat([x, y]).double()
    mean, std = pooled.mean(dim=0), pooled.std(dim=0)
    varies = pooled.amax(dim=0) - pooled.amin(dim=0) > relative_rounding(x.dtype) * pooled.abs().amax(dim=0)
    factor = torch.where(varies, 1 / std, 0.0)
    x, y = ((x.double() - mean) * factor), ((y.double() - mean) * factor)
    return weigh(x, y, config, label=source.label, seed=seed)
