"""Kernel two-sample statistics and their bandwidths."""

from tl_research.kernels.bandwidth import (
    Ladder,
    MovingBandwidth,
    bandwidth_ladder,
    mean_squared_distance,
    median_distance,
)
from tl_research.kernels.joint import joint_mmd2
from tl_research.kernels.mmd import mmd2
from tl_research.kernels.null import PermutationTest, permutation_test
from tl_research.kernels.products import gram_product, witness

__all__ = [
    "Ladder",
    "MovingBandwidth",
    "PermutationTest",
    "bandwidth_ladder",
    "gram_product",
    "joint_mmd2",
    "mean_squared_distance",
    "median_distance",
    "mmd2",
    "permutation_test",
    "witness",
]
