"""The geodesic flow kernel between two subspaces."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tl_research.alignment.base import Alignment, Rows, register_alignment
from tl_research.alignment.linear import (
    ComponentsConfig,
    affine,
    chosen_components,
    expected_components,
    moments,
    signed,
    spectrum,
)
from tl_research.config import check_choice
from tl_research.errors import ConfigError

SOURCE_SUBSPACES = ("pca", "pls")


@dataclass
class GFKConfig(ComponentsConfig):
    """Options of `gfk`: the number of axes, and which subspace stands for the source."""

    source_subspace: str = "pca"  # or pls: partial least squares on the source's labels

    def __post_init__(self):
        super().__post_init__()
        check_choice("source_subspace", self.source_subspace, SOURCE_SUBSPACES)


@register_alignment("gfk", config=GFKConfig, paper="Gong et al. 2012, CVPR, eq. 3-6", gain=0.06)
class GFK(Alignment):
    """Geodesic flow kernel: compare rows in all subspaces on the way from the source's to the target's.

    k(x, z) = x G z' with G = ∫_0^1 Φ(t) Φ(t)' dt, Φ the geodesic from P_s to P_t. A row is mapped to (x - μ) L with
    L L' = G, μ the mean of its own domain: L is G^1/2 up to a rotation, which no distance or inner product sees, and
    has the smaller of 2 x `components` and d columns instead of d.

    Reference:
        Gong et al. 2012, CVPR, eq. 3 to 6.
    """

    def fit(self, source: Rows, target: Rows, *, labeled: Rows | None = None, classes: int, seed: int) -> None:
        from_, to = moments(source, "the source"), moments(target, "the target")
        axes_from, axes_to = spectrum(from_.root), spectrum(to.root)
        smaller = "the source" if axes_from.rank <= axes_to.rank else "the target"
        k = chosen_components(self.config.components, min(axes_from.rank, axes_to.rank), smaller)
        p_s = axes_from.vectors[:, :k]
        if self.config.source_subspace == "pls":
            if source.label is None:
                raise ConfigError("source_subspace: pls needs the source's classes")
            p_s = pls_directions(source, k, classes)
        root, angles = geodesic_flow_root(p_s, axes_to.vectors[:, :k])
        self.keep(source_mean=from_.mean, target_mean=to.mean, root=root)
        self.found = {
            "components": k,
            "source_rank": axes_from.rank,
            "target_rank": axes_to.rank,
            "largest_angle": float(angles.max()),
        }

    def source(self, x: Tensor) -> Tensor:
        return affine(x, self.source_mean, self.root, None)

    def target(self, x: Tensor) -> Tensor:
        return affine(x, self.target_mean, self.root, None)

    def width(self, features: int) -> int:
        return min(2 * expected_components(self.config.components, features), features)


def geodesic_flow_root(source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return L (d, min(d, 2k)) with L L' = G, its columns of falling norm, and the k principal angles.

    With P_s' P_t = U Γ V', the geodesic is Φ(t) = A cos(tθ) + N sin(tθ), A = P_s U, N the unit vectors along
    P_t V - A Γ. Then G = Σ_i [a_i n_i] [[λ1, λ2], [λ2, λ3]] [a_i n_i]' with
    λ1, λ3 = (1 ± sin 2θ / 2θ) / 2 and λ2 = sin² θ / 2θ.

    Args:
        source, target: (d, k) float64, orthonormal columns.

    Reference:
        Gong et al. 2012, CVPR, eq. 5 and 6 (their G without the factor 1/2 of λ, so that here G is the projector
        where the subspaces are the same).
    """
    u, cosine, vt = torch.linalg.svd(source.T @ target)
    a = source @ u
    apart = target @ vt.T - a * cosine
    # The residual's length is the sine: the arc cosine of a number near 1 would lose half the digits.
    sine = apart.norm(dim=0)
    theta = torch.atan2(sine, cosine)
    n = apart / sine.clamp_min(torch.finfo(sine.dtype).tiny)
    sinc = torch.sinc(2 * theta / torch.pi)
    first, third = (1 + sinc) / 2, (1 - sinc) / 2
    second = torch.sin(theta) * torch.sinc(theta / torch.pi) / 2
    # Cholesky of the 2 x 2 blocks.
    upper = first.sqrt()
    across = second / upper
    lower = (third - across.square()).clamp_min(0).sqrt()
    root = torch.cat((a * upper + n * across, n * lower), dim=1)
    left, scale, _ = torch.linalg.svd(root, full_matrices=False)
    return signed(left) * scale, theta


def pls_directions(source: Rows, components: int, classes: int) -> Tensor:
    """Orthonormal basis (d, components) of the weights of partial least squares on one-hot labels.

    SIMPLS: each weight is the leading left singular vector of X'Y, from which the loadings found so far are
    projected out.

    Raises:
        ConfigError: more components than partial least squares finds.

    Reference:
        de Jong 1993, Chemom. Intell. Lab. Syst. 18.
    """
    root = moments(source, "the source").root
    one_hot = torch.nn.functional.one_hot(source.label.long(), classes)
    response = moments(Rows(one_hot, weight=source.weight), "the source").root
    cross = root.T @ response
    size = cross.norm()
    weights, loadings = [], root.new_zeros(root.shape[1], 0)
    for index in range(components):
        if not cross.norm() > 1e-10 * size:
            raise ConfigError(f"components: got {components}, partial least squares finds only {index}")
        weight = signed(torch.linalg.svd(cross, full_matrices=False).U[:, :1])
        score = root @ weight
        loading = root.T @ score
        for _ in range(2):  # Gram-Schmidt twice is enough
            loading = loading - loadings @ (loadings.T @ loading)
        loadings = torch.cat((loadings, loading / loading.norm()), dim=1)
        cross = cross - loadings @ (loadings.T @ cross)
        weights.append(weight)
    return torch.linalg.qr(torch.cat(weights, dim=1)).Q
