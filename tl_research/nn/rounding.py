"""The one rule by which a difference is rounding, and a variance, norm or distance counts as 0.

A tolerance is relative to the magnitude of the numbers whose difference it judges, so that the unit of a column does
not matter.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

#: Steps of float64 that count as rounding: such numbers are often results of arithmetic (0.1 + 0.2 for 0.3).
STEPS_OF_DOUBLE = 16
#: Steps of narrower floats that count as rounding: neighbouring numbers are often distinct measurements.
STEPS_OF_NARROW = 2


def relative_rounding(dtype: np.dtype | torch.dtype) -> float:
    """Return the share of a number's magnitude below which a difference is rounding; 0 for integers (exact)."""
    if isinstance(dtype, torch.dtype):
        if not dtype.is_floating_point:
            return 0.0
        steps = STEPS_OF_DOUBLE if dtype == torch.float64 else STEPS_OF_NARROW
        return steps * torch.finfo(dtype).eps
    if not np.issubdtype(dtype, np.floating):
        return 0.0
    narrow = np.dtype(dtype).itemsize < 8
    return float((STEPS_OF_NARROW if narrow else STEPS_OF_DOUBLE) * np.finfo(dtype if narrow else np.float64).eps)


def unit_rows(rows: Tensor, dim: int = 1) -> Tensor:
    """Scale rows to Euclidean length 1 along `dim`. A row of zeros stays as it is, with a gradient of 1."""
    length = torch.linalg.vector_norm(rows, dim=dim, keepdim=True)
    return rows / length.where(length > 0, 1.0)
