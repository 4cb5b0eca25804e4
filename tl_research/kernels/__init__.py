"""Kernel two-sample statistics and their bandwidths."""

from tl_research.kernels.bandwidth import (
    Ladder,
    MovingBandwidth,
    bandwidth_ladder,
    mean_squared_distance,
    median_distance,
)
from tl_research.kernels.mmd import mmd2

__all__ = ["Ladder", "MovingBandwidth", "bandwidth_ladder", "mean_squared_distance", "median_distance", "mmd2"]
