"""Rows as features of a kernel: the rows themselves, their kernel with all training rows, or with landmarks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tl_research.config import check, check_choice
from tl_research.nn.fitted import Fitted
from tl_research.nn.rounding import relative_rounding

KERNELS = ("primal", "linear", "rbf", "laplacian")
#: Rows drawn for the median of their distances.
MEDIAN_ROWS = 1000
#: Kernel entries made at once beside the result.
BLOCK_ENTRIES = 2**20


@dataclass
class KernelConfig:
    """The options of every alignment on a `KernelMap`."""

    #: Which of `KERNELS` there are.
    kernels: ClassVar[tuple[str, ...]] = KERNELS

    kernel: str = "primal"  # or linear x·y, rbf exp(-||x - y||² / (2 sigma²)), laplacian exp(-||x - y|| / sigma)
    #: sigma, or the heuristic that finds it from the rows: 2 sigma² of rbf is the `median` or the `mean` of the squared
    #: distances of pairs, sigma of laplacian that of the distances.
    bandwidth: float | str = "median"
    exact_rows: int = 5000  # most rows, of both domains together, whose kernel matrix is made
    landmarks: int = 1000  # rows drawn for Nyström above that

    def __post_init__(self):
        check_choice("kernel", self.kernel, self.kernels)
        if isinstance(self.bandwidth, str):
            check_choice("bandwidth", self.bandwidth, ("median", "mean"))
        else:
            check(self.bandwidth > 0, "bandwidth", self.bandwidth, "a number above 0, median or mean")
        check(self.exact_rows >= 0, "exact_rows", self.exact_rows, "0 or more")
        check(self.landmarks >= 2, "landmarks", self.landmarks, "at least 2")


class KernelMap(Fitted):
    """Base features c(x) and a matrix T, such that Ψ = c(X) T is what an alignment with that kernel works on.

    An alignment of the dual form looks for z(x) = Σ_i k(x, x_i) w_i with the penalty ||w||². It is the same problem
    as z(x) = ψ(x)ᵀ a with the penalty ||a||² when ΨΨᵀ = K K on the training rows, so that

    - `primal`: ψ(x) = x; the penalty is on weights of the columns (Long et al.'s form for their tables), d unknowns;
    - `linear` with fewer columns than rows: ψ(x) = (XᵀX)^1/2 x, exact with d unknowns instead of N;
    - any kernel up to `exact_rows` rows: ψ(x) = k(x, X), exact;
    - above: Nyström, φ(x) = K_ll^-1/2 k(x, landmarks) and ψ(x) = (ΦᵀΦ)^1/2 φ(x), with all rows as landmarks the same.

    Args:
        config: its kernel, bandwidth, exact_rows and landmarks are read.

    Reference:
        Williams & Seeger 2001, NeurIPS (Nyström); Schölkopf et al. 1998, Neural Computation 10(5).
    """

    def __init__(self, config: KernelConfig):
        super().__init__()
        self.kernel, self.bandwidth = config.kernel, config.bandwidth
        self.exact_rows, self.landmarks = config.exact_rows, config.landmarks
        self.path = ""

    def fit(self, x: Tensor, *, seed: int) -> tuple[Tensor, Tensor | None]:
        """Choose bandwidth and landmarks for the rows (N, d), float64.

        Returns:
            Base features (N, p) and T (p, r); None stands for the identity.
        """
        generator = torch.Generator().manual_seed(seed)
        rows, columns = x.shape
        self.keep(sigma=self._bandwidth(x, generator))
        if self.kernel == "primal":
            self.path = "primal"
            return x, None
        if self.kernel == "linear" and (columns < rows or rows > self.exact_rows):
            self.use_columns(x)
            return x, root(x.T @ x)
        base, within = self._anchored(x, generator)
        if self.symmetric:
            return base, None
        whiten = root(within, inverse=True)
        return base, whiten @ root(whiten.T @ (base.T @ base) @ whiten)

    def fit_anchored(self, x: Tensor, *, seed: int) -> tuple[Tensor, Tensor]:
        """Choose for the rows (N, d) without leaving the kernel: also `linear` is a function of pairs of rows.

        Returns:
            k(x, anchors) (N, p) and k(anchors, anchors); the anchors are all rows, or drawn landmarks.
        """
        generator = torch.Generator().manual_seed(seed)
        self.keep(sigma=self._bandwidth(x, generator))
        return self._anchored(x, generator)

    def use_columns(self, x: Tensor) -> None:
        """Choose the rows themselves as base features: those of the linear kernel, k(x, y) = x·y."""
        self.keep(sigma=x.new_tensor(1.0))
        self.path = "linear, exact through the columns"

    def _anchored(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        if len(x) <= self.exact_rows:
            self.path = "exact"
            self.chosen = torch.arange(len(x), device=x.device)
            self.keep(anchors=x)
            gram = self(x)
            gram = (gram + gram.T) / 2
            return gram, gram
        drawn = torch.randperm(len(x), generator=generator)[: self.landmarks].sort().values.to(x.device)
        self.path = f"Nyström, {len(drawn)} landmarks"
        self.chosen = drawn
        self.keep(anchors=x[drawn])
        base = self(x)
        within = base[drawn]
        return base, (within + within.T) / 2

    @property
    def symmetric(self) -> bool:
        """Whether the base features of the training rows are a symmetric kernel matrix."""
        return self.path == "exact"

    def forward(self, x: Tensor) -> Tensor:
        """Base features (n, p) of rows (n, d), float64."""
        x = x.double()
        if "anchors" not in self._buffers:
            return x
        if self.kernel == "linear":
            return x @ self.anchors.T
        centre = self.anchors.mean(dim=0)  # nothing cancels in the expanded square of centred rows
        anchors = self.anchors - centre
        square = anchors.square().sum(dim=1)
        out = x.new_empty(len(x), len(anchors))
        step = max(1, BLOCK_ENTRIES // len(anchors))
        for start in range(0, len(x), step):
            block = x[start : start + step] - centre
            part = out[start : start + step]
            torch.addmm(square, block, anchors.T, alpha=-2, out=part)
            part += block.square().sum(dim=1, keepdim=True)
            part.clamp_(min=0)
            if self.kernel == "rbf":
                part.div_(-2 * self.sigma**2).exp_()
            else:
                part.sqrt_().div_(-self.sigma).exp_()
        return out

    def _bandwidth(self, x: Tensor, generator: torch.Generator) -> Tensor:
        if self.kernel in ("primal", "linear"):
            return x.new_tensor(1.0)
        if not isinstance(self.bandwidth, str):
            return x.new_tensor(float(self.bandwidth))
        drawn = x[torch.randperm(len(x), generator=generator)[:MEDIAN_ROWS].to(x.device)]
        distance = torch.nn.functional.pdist(drawn)
        if self.kernel == "rbf":
            distance = distance.square() / 2
        typical = distance.median() if self.bandwidth == "median" else distance.mean()
        rounding = relative_rounding(x.dtype) * drawn.abs().max()
        if self.kernel == "rbf":
            rounding = rounding.square()
        check(bool(typical > rounding), "bandwidth", self.bandwidth, "a number: typical rows are equal")
        return typical.sqrt() if self.kernel == "rbf" else typical


def root(matrix: Tensor, *, inverse: bool = False) -> Tensor:
    """V Λ^±1/2 of a positive semi-definite matrix, without its null space."""
    value, vector = torch.linalg.eigh(matrix)
    seen = value > value[-1].clamp_min(0) * len(value) * torch.finfo(value.dtype).eps
    value, vector = value[seen], vector[:, seen]
    return vector / value.sqrt() if inverse else vector * value.sqrt()
