"""Where a difference is no more than rounding: the one rule by which variances, norms and distances count as 0.

A tolerance is relative to the magnitude of the numbers whose difference it judges, so that no unit of a column decides.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

#: Of float64, in which numbers have been computed with before they came: 0.3 and 0.1 + 0.2, or 19.99 * 1.19 / 1.19.
STEPS_OF_DOUBLE = 16
#: Of narrower floats, whose neighbours are often distinct measurements.
STEPS_OF_NARROW = 2


def relative_rounding(dtype: np.dtype | torch.dtype) -> float:
    """Share of a number's magnitude below which a difference of two is rounding; 0 for integers, which are exact."""
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
    """Rows at Euclidean length 1 along `dim`, whatever their unit; a row of zeros stays one, with a gradient of 1."""
    length = torch.linalg.vector_norm(rows, dim=dim, keepdim=True)
    return rows / length.where(length > 0, 1.0)
