"""A linear map of kernel features, and the rows of both domains that it is fitted to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tl_research.alignment.base import Alignment, Rows
from tl_research.alignment.kernel_map import KernelConfig, KernelMap
from tl_research.config import check, check_choice
from tl_research.errors import DataError
from tl_research.nn.rounding import relative_rounding, unit_rows


@dataclass
class ProjectionConfig(KernelConfig):
    """The options of TCA, JDA, BDA and TJM."""

    components: int = 30  # columns of the embedding; fewer where the rows have fewer directions, which `facts` tells
    regularizer: float = 1.0  # λ
    #: Of the columns of A, which the objective leaves open. `weights` of length 1 keep a component's variance, as the
    #: authors' code does by the eigenvectors that it takes. `variance` makes it 1, as the papers' constraint does but
    #: for a factor N.
    scaling: str = "weights"
    #: Divide the MMD matrix by its Frobenius norm, as the authors' code does, so that λ bears no relation to N.
    unit_norm: bool = True
    unit_length: bool = False  # scale the embedded rows to length 1, as Long et al.'s code does before 1-NN
    #: Subtract the mean over both domains' rows, so that z is about 0. Distances do not see it, but the directions that
    #: `unit_length` keeps do; the authors' code takes z = AᵀΨ as it is.
    centred: bool = True

    def __post_init__(self):
        super().__post_init__()
        check(self.components >= 1, "components", self.components, "at least 1")
        check(self.regularizer > 0, "regularizer", self.regularizer, "a number above 0")
        check_choice("scaling", self.scaling, ("weights", "variance"))


class Projection(Alignment):
    """z(x) = Wᵀ(c(x) - mean) of the base features c of a `KernelMap`; the same for both domains."""

    def __init__(self, config: ProjectionConfig | None = None, **options: Any):
        super().__init__(config, **options)
        self.map = KernelMap(self.config)

    def check_spread(self, base: Tensor) -> None:
        """Refuse base features (N, p) whose rows are all equal up to rounding: there is no direction to keep.

        Raises:
            DataError: they are.
        """
        peak = base.abs().amax(dim=0)
        if not bool((base.amax(dim=0) - base.amin(dim=0) > relative_rounding(base.dtype) * peak).any()):
            wide = "" if self.map.kernel in ("primal", "linear") else ", or bandwidth is too wide to tell them apart"
            raise DataError(
                f"the training rows of source and target are all equal{wide}: there is no direction to keep"
            )

    def embed(self, base: Tensor, transform: Tensor | None, weights: Tensor) -> Tensor:
        """Keep the map of A, `weights` (r, components) on Ψ = base · transform, once scaled; return z of the rows."""
        scale = len(base) ** 0.5 if self.config.scaling == "variance" else 1 / weights.norm(dim=0)
        weights = weights * scale if transform is None else transform @ (weights * scale)
        embedded = base @ weights
        mean = embedded.mean(dim=0)
        self.keep(weights=weights, mean=mean if self.config.centred else torch.zeros_like(mean))
        return self._finish(embedded)

    def _finish(self, embedded: Tensor) -> Tensor:
        embedded = embedded - self.mean
        return unit_rows(embedded) if self.config.unit_length else embedded

    def target(self, x: Tensor) -> Tensor:
        return self._finish(self.map(x) @ self.weights).to(x.dtype)

    def width(self, features: int) -> int:
        components = self.config.components
        return min(components, features) if self.map.kernel in ("primal", "linear") else components

    def facts(self) -> dict[str, float | int | str]:
        return {
            "components": self.weights.shape[1],
            "kernel": self.map.kernel,
            "path": self.map.path,
            "bandwidth": float(self.map.sigma),
        } | self.found


class Domains:
    """The rows of both domains in one matrix, the source first; target rows with labels come last.

    Attributes:
        x: (N, d) float64.
        n: rows of the source.
        label: (N,) class index, -1 where hidden.
        known: (N,) bool, whether the row has a label and weighs something.
        weight: (N,) float64.
        classes: number of classes.
    """

    def __init__(self, source: Rows, target: Rows, labeled: Rows | None, classes: int):
        parts = [source, target._replace(label=None)] + ([labeled] if labeled is not None and len(labeled.x) else [])
        self.x = torch.cat([part.x.double() for part in parts])
        self.n, self.classes = len(source.x), classes
        self.label = torch.cat(
            [
                part.x.new_full((len(part.x),), -1, dtype=torch.long) if part.label is None else part.label.long()
                for part in parts
            ]
        )
        self.weight = torch.cat(
            [
                part.x.new_ones(len(part.x), dtype=torch.float64) if part.weight is None else part.weight.double()
                for part in parts
            ]
        )
        self.known = (self.label >= 0) & (self.weight > 0)

    @property
    def sides(self) -> tuple[Tensor, Tensor]:
        """Weights of the source rows and of the target rows."""
        return self.weight[: self.n], self.weight[self.n :]
