"""Rows of any data set of numbers and categories as one matrix."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tl_research.data.batch import Inputs
from tl_research.data.transform import InputSpec


def as_matrix(inputs: Inputs, spec: InputSpec) -> Tensor:
    """Rows (n, d) as they are; of a table the numbers beside one 0/1 column a category.

    Code 0 of a categorical column (not seen in training) has no column: all of its categories are 0.
    """
    if not isinstance(inputs, dict):
        return inputs.flatten(1)
    numeric, codes = inputs["numeric"], inputs["categorical"]
    parts = [F.one_hot(codes[:, c].long(), count)[:, 1:] for c, count in enumerate(spec.cardinalities)]
    return torch.cat([numeric, *(part.to(numeric.dtype) for part in parts)], dim=1)
