"""Kernel two-sample statistics and their bandwidths."""

from tl_research.kernels.bandwidth import bandwidth_ladder, mean_squared_distance
from tl_research.kernels.joint import joint_mmd2
from tl_research.kernels.mmd import mmd2
from tl_research.kernels.products import gram_product, witness

__all__ = ["bandwidth_ladder", "gram_product", "joint_mmd2", "mean_squared_distance", "mmd2", "witness"]
