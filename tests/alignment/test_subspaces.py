"""Subspace alignment against numpy; the geodesic flow kernel against numerical integration along the geodesic."""

import numpy as np
import pytest
import torch
from scipy.integrate import quad_vec
from scipy.linalg import expm, logm, subspace_angles
from sklearn.cross_decomposition import PLSRegression

from tests.alignment.domains import CLASSES, fitted, two_domains
from tl_research.alignment.base import Rows
from tl_research.alignment.gfk import GFK, geodesic_flow_root, pls_directions
from tl_research.alignment.subspace_alignment import SubspaceAlignment


def axes(x: torch.Tensor, k: int) -> np.ndarray:
    x = x.numpy()
    return np.linalg.svd(x - x.mean(0), full_matrices=False)[2][:k].T


def basis(d: int, k: int, seed: int) -> torch.Tensor:
    rows = torch.randn(d, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.linalg.qr(rows).Q


def kernel(source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    root, _ = geodesic_flow_root(source, target)
    return root @ root.T


@pytest.mark.parametrize(("n", "m", "d"), [(60, 45, 7), (6, 9, 40), (60, 8, 20)])
def test_subspace_alignment_agrees_with_numpy(n, m, d):
    source, target = two_domains(n, m, d)
    p_s, p_t = axes(source.x, 4), axes(target.x, 4)
    wanted_s = (source.x.numpy() - source.x.numpy().mean(0)) @ p_s @ (p_s.T @ p_t)
    wanted_t = (target.x.numpy() - target.x.numpy().mean(0)) @ p_t
    alignment = fitted(SubspaceAlignment(components=4), source, target)
    # numpy's axes have another sign: one sign a column, the same for both sides.
    signs = np.sign((alignment.target_axes.numpy() * p_t).sum(0))
    np.testing.assert_allclose(alignment.source(source.x).numpy() * signs, wanted_s, rtol=0, atol=1e-9)
    np.testing.assert_allclose(alignment.target(target.x).numpy() * signs, wanted_t, rtol=0, atol=1e-9)


def test_a_rotated_copy_is_aligned_where_all_axes_are_kept():
    """With every axis kept P_s P_s' is the identity, so source rows only change their coordinates."""
    source, target = two_domains()
    alignment = fitted(SubspaceAlignment(components=7), source, target)
    moved, centred = alignment.source(source.x), source.x - source.x.mean(0)
    torch.testing.assert_close(moved @ moved.T, centred @ centred.T)


@pytest.mark.parametrize(("d", "k"), [(8, 3), (9, 1), (6, 5)])
def test_geodesic_flow_kernel_is_the_integral(d, k):
    """Geodesic through the matrix exponential of its own tangent, integrated by quadrature: no formula is shared."""
    p_s, p_t = basis(d, k, 0), basis(d, k, 1)
    a, b = p_s.numpy(), p_t.numpy()
    # The rotation that takes one projector to the other by the short way is the root of the product of reflections.
    reflections = (2 * b @ b.T - np.eye(d)) @ (2 * a @ a.T - np.eye(d))
    tangent = logm(reflections).real / 2

    def projector(t):
        phi = expm(t * tangent) @ a
        return phi @ phi.T

    np.testing.assert_allclose(projector(1.0), b @ b.T, atol=1e-8)
    integral, _ = quad_vec(projector, 0, 1, epsabs=1e-11)
    np.testing.assert_allclose(kernel(p_s, p_t).numpy(), integral, rtol=0, atol=1e-8)


def test_angles_are_the_principal_angles_down_to_tiny_ones():
    """Angles below the root of eps may be mixed among themselves, which their common length and G do not see."""
    p_s = basis(10, 3, 0)
    for size in (1.0, 1e-3, 1e-7, 1e-10):
        p_t = torch.linalg.qr(p_s + size * basis(10, 3, 1)).Q
        root, angles = geodesic_flow_root(p_s, p_t)
        expected = subspace_angles(p_s.numpy(), p_t.numpy())
        if size > 1e-5:
            np.testing.assert_allclose(np.sort(angles.numpy()), np.sort(expected), rtol=1e-8)
        assert angles.norm().item() == pytest.approx(np.linalg.norm(expected), rel=1e-4)
        assert root.isfinite().all()
        middle = (p_s @ p_s.T + p_t @ p_t.T) / 2
        assert (root @ root.T - middle).abs().max() < 2 * angles.max() ** 2 + 1e-12


def test_identical_subspaces_give_the_projector():
    p_s = basis(10, 3, 0)
    turned = p_s @ basis(3, 3, 2)
    torch.testing.assert_close(kernel(p_s, turned), p_s @ p_s.T, rtol=0, atol=1e-13)


def test_orthogonal_subspaces():
    """θ = π/2: λ1 = λ3 = 1/2 and λ2 = 1/π."""
    identity = torch.eye(4, dtype=torch.float64)
    got = kernel(identity[:, :1], identity[:, 1:2])[:2, :2]
    torch.testing.assert_close(got.diagonal(), torch.full((2,), 0.5, dtype=torch.float64))
    assert abs(got[0, 1].item()) == pytest.approx(1 / np.pi)


def test_kernel_is_symmetric_in_the_domains_and_between_zero_and_one():
    p_s, p_t = basis(9, 4, 0), basis(9, 4, 1)
    torch.testing.assert_close(kernel(p_s, p_t), kernel(p_t, p_s), rtol=0, atol=1e-12)
    values = torch.linalg.eigvalsh(kernel(p_s, p_t))
    assert values.min() > -1e-12
    assert values.max() < 1 + 1e-12
    assert kernel(p_s, p_t).trace().item() == pytest.approx(4)


def test_gfk_maps_rows_by_a_root_of_the_kernel_of_the_pca_subspaces():
    source, target = two_domains(50, 40, 12)
    alignment = fitted(GFK(components=3), source, target)
    g = kernel(*(torch.tensor(axes(rows.x, 3)) for rows in (source, target)))
    left, right = source.x - source.x.mean(0), target.x - target.x.mean(0)
    torch.testing.assert_close(alignment.source(source.x) @ alignment.target(target.x).T, left @ g @ right.T)
    assert alignment.source(source.x).shape[1] == 6


def test_partial_least_squares_spans_what_scikit_learn_finds():
    source, _ = two_domains(80, 10, 9)
    one_hot = np.eye(CLASSES)[source.label.numpy()]
    for k in (1, 2, 4):
        # scikit-learn takes one direction a class contrast at a time as SIMPLS does, up to a deflation that
        # differs from the second on where there are several responses; with one response they span the same.
        one = PLSRegression(n_components=k, scale=False, tol=1e-12, max_iter=10000)
        binary = Rows(source.x, (source.label == 0).long())
        one.fit(source.x.numpy(), np.eye(2)[binary.label.numpy()][:, 0])
        angles = subspace_angles(one.x_weights_, pls_directions(binary, k, 2).numpy())
        assert angles.max() < 1e-6
    first = PLSRegression(n_components=1, scale=False, tol=1e-12, max_iter=10000).fit(source.x.numpy(), one_hot)
    assert subspace_angles(first.x_weights_, pls_directions(source, 1, CLASSES).numpy()).max() < 1e-6


def test_partial_least_squares_needs_labels():
    source, target = two_domains()
    with pytest.raises(ValueError, match=r"^source_subspace: pls needs the source's classes"):
        fitted(GFK(components=2, source_subspace="pls"), Rows(source.x), target)
