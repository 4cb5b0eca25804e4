"""What the methods that project by an MMD eigenproblem have in common in their configuration."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from tl_research.methods.closed_form import ClosedFormConfig


@dataclass
class ProjectionConfig(ClosedFormConfig):
    """Options of `tl_research.alignment.projection.Projection` and its `KernelMap`."""

    components: int = 30
    regularizer: float = 1.0
    kernel: str = "primal"
    bandwidth: float | str = "median"  # sigma, or the heuristic: median or mean
    scaling: str = "weights"
    unit_norm: bool = True
    centred: bool = True  # subtract the mapped rows' mean; the authors' code does not
    exact_rows: int = 5000  # of both domains together; above it kernels other than primal and linear use landmarks
    landmarks: int = 1000

    def options(self) -> dict[str, Any]:
        """The alignment's keyword arguments: all fields but those that every closed-form method has."""
        common = {field.name for field in dataclasses.fields(ClosedFormConfig)} - {"unit_length"}
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name not in common}
