"""Kernel two-sample statistics and their bandwidths."""

from tl_research.kernels.bandwidth import bandwidth_ladder, mean_squared_distance
from tl_research.kernels.mmd import mmd2

__all__ = ["bandwidth_ladder", "mean_squared_distance", "mmd2"]
