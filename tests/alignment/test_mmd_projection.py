"""TCA, JDA and BDA against the textbook's dense matrices and an independent generalised eigen-solver."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch

from tl_research.alignment.base import Rows
from tl_research.alignment.bda import BDA
from tl_research.alignment.components import components
from tl_research.alignment.jda import JDA
from tl_research.alignment.mmd_matrix import conditional_factor, marginal_factor, unit_norm
from tl_research.alignment.tca import TCA
from tl_research.errors import ConfigError

CLASSES, COUNT, LAMBDA = 3, 4, 0.3


def domains(n: int = 35, m: int = 25, d: int = 8, seed: int = 0, shift: float = 1.0):
    """Three Gaussian classes; the target is moved and stretched."""
    rng = np.random.default_rng(seed)
    centre = 3 * rng.standard_normal((CLASSES, d))
    label = rng.integers(0, CLASSES, n), rng.integers(0, CLASSES, m)
    x = centre[label[0]] + rng.standard_normal((n, d))
    y = (centre[label[1]] + rng.standard_normal((m, d))) * (1 + 0.2 * shift) + shift
    return torch.tensor(x), torch.tensor(label[0]), torch.tensor(y), torch.tensor(label[1])


def fitted(kind, rows, **options):
    x, label, y, _ = rows
    alignment = kind(**({"components": COUNT, "regularizer": LAMBDA, "scaling": "variance"} | options))
    alignment.fit(Rows(x, label), Rows(y), classes=CLASSES, seed=0)
    return alignment


def gram(alignment, rows) -> np.ndarray:
    pooled = np.concatenate([rows[0], rows[2]])
    if alignment.map.kernel == "linear":
        return pooled @ pooled.T
    difference = pooled[:, None] - pooled[None]
    square = (difference**2).sum(-1)
    sigma = float(alignment.map.sigma)
    return np.exp(-square / (2 * sigma**2)) if alignment.map.kernel == "rbf" else np.exp(-np.sqrt(square) / sigma)


def mmd_by_loop(source_label, target_label, balance=None, weighted=False) -> np.ndarray:
    """Entry by entry, as the papers print it; `target_label` None for the marginal alone."""
    n, m = len(source_label), len(target_label)
    total = n + m

    def matrix(a, b, scale_a=1.0, scale_b=1.0):
        out = np.zeros((total, total))
        for i in range(total):
            for j in range(total):
                inside_a, inside_b = (i in a, j in a), (i in b, j in b)
                if all(inside_a):
                    out[i, j] = scale_a / len(a) ** 2
                elif all(inside_b):
                    out[i, j] = scale_b / len(b) ** 2
                elif any(inside_a) and any(inside_b):
                    out[i, j] = -((scale_a * scale_b) ** 0.5) / (len(a) * len(b))
        return out

    marginal = matrix(set(range(n)), set(range(n, total)))
    if target_label[0] < 0:
        return marginal
    conditional = np.zeros((total, total))
    for c in range(CLASSES):
        a = {i for i in range(n) if source_label[i] == c}
        b = {n + j for j in range(m) if target_label[j] == c}
        if a and b:
            shares = (len(a) / n, len(b) / m) if weighted else (1.0, 1.0)
            conditional += matrix(a, b, *shares)
    if balance is None:
        return marginal + conditional
    return (1 - balance) * marginal + balance * conditional


def textbook(psi: np.ndarray, mmd: np.ndarray) -> tuple[np.ndarray, float]:
    """Embedding by scipy's generalised solver on the dense pencil, and tr (WᵀSW)(Wᵀ(..)W)⁻¹."""
    n = len(psi)
    centring = np.eye(n) - 1 / n
    left = psi.T @ mmd @ psi + LAMBDA * np.eye(psi.shape[1])
    value, vector = scipy.linalg.eigh(psi.T @ centring @ psi, left)
    return centring @ psi @ vector[:, ::-1][:, :COUNT], value[::-1][:COUNT].sum()


def angle(a, b) -> float:
    a, b = np.asarray(a), np.asarray(b)
    return float(scipy.linalg.subspace_angles(a - a.mean(0), b - b.mean(0)).max())


def embedding(alignment, rows) -> np.ndarray:
    return torch.cat([alignment.source(rows[0]), alignment.target(rows[2])]).numpy()


def objective(psi, mmd, weights) -> float:
    """Sum of the generalised eigenvalues that the weights of a fit reach on the dense matrices."""
    embedded = psi @ weights
    embedded = embedded - embedded.mean(0)
    left = weights.T @ (psi.T @ mmd @ psi + LAMBDA * np.eye(psi.shape[1])) @ weights
    return float(np.trace(np.linalg.solve(left, embedded.T @ embedded)))


NORMALISED = (False, True)


@pytest.mark.parametrize("normalised", NORMALISED)
@pytest.mark.parametrize("kernel", ["primal", "linear", "rbf", "laplacian"])
@pytest.mark.parametrize("kind", [TCA, JDA, BDA])
def test_the_embedding_is_that_of_the_dense_pencil(kind, kernel, normalised):
    rows = domains()
    rounds = {} if kind is TCA else {"iterations": 2}
    alignment = fitted(kind, rows, kernel=kernel, unit_norm=normalised, **rounds)
    psi = np.concatenate([rows[0], rows[2]]) if kernel == "primal" else gram(alignment, rows)
    hidden = np.full(len(rows[2]), -1)
    mmd = mmd_by_loop(rows[1].numpy(), hidden)
    if kind is not TCA:
        first = textbook(psi, mmd / np.linalg.norm(mmd) if normalised else mmd)[0]
        # The papers' scale: every component has the same variance, under the left side's metric.
        first = first / first.std(0)
        source, target = first[: len(rows[0])], first[len(rows[0]) :]
        pseudo = rows[1].numpy()[((target[:, None] - source[None]) ** 2).sum(-1).argmin(1)]
        mmd = mmd_by_loop(rows[1].numpy(), pseudo, balance=0.5 if kind is BDA else None)
    if normalised:
        mmd = mmd / np.linalg.norm(mmd)
    expected, best = textbook(psi, mmd)
    got = embedding(alignment, rows)
    assert angle(got, expected) < 1e-6
    if kernel != "linear":  # solved in other unknowns
        assert objective(psi, mmd, alignment.weights.numpy()) == pytest.approx(best, rel=1e-7)
    np.testing.assert_allclose(got.T @ got / len(got), np.eye(COUNT), atol=1e-8)
    np.testing.assert_allclose(got.mean(0), 0, atol=1e-9)


def test_entries_of_the_mmd_matrix():
    _, label, _, target = domains()
    ones = torch.ones(len(label)).double(), torch.ones(len(target)).double()
    e = marginal_factor(*ones)
    np.testing.assert_allclose(e @ e.T, mmd_by_loop(label.numpy(), np.full(len(target), -1)), atol=1e-15)
    for weighted in (False, True):
        for present in (target, torch.where(target == 1, 0, target)):
            c = conditional_factor(label, present, *ones, classes=CLASSES, weighted=weighted)
            expected = mmd_by_loop(label.numpy(), present.numpy(), balance=1.0, weighted=weighted)
            np.testing.assert_allclose(c @ c.T, expected, atol=1e-15)
    assert torch.linalg.matrix_norm(unit_norm(c) @ unit_norm(c).T) == pytest.approx(1.0)


def test_weights_of_rows_count_as_repeated_rows():
    x, _, y, _ = domains()
    times = torch.arange(len(x)) % 3
    once = marginal_factor(times.double(), torch.ones(len(y)).double())
    repeated = torch.cat([x.repeat_interleave(times, dim=0).mean(0) - y.mean(0)])
    torch.testing.assert_close((torch.cat([x, y]).T @ once)[:, 0], repeated)


def test_linear_by_columns_is_linear_by_rows():
    """The d x d route is exact: the same as the kernel matrix of all rows."""
    rows = domains()
    by_columns = fitted(TCA, rows, kernel="linear")
    psi = gram(by_columns, rows)
    assert "columns" in by_columns.facts()["path"]
    dual = components(
        torch.tensor(psi),
        unit_norm(marginal_factor(torch.ones(35).double(), torch.ones(25).double())),
        count=COUNT,
        regularizer=LAMBDA,
    )
    assert angle(embedding(by_columns, rows), psi @ dual.numpy()) < 1e-7


@pytest.mark.parametrize("kernel", ["rbf", "laplacian"])
def test_nystroem_with_all_rows_is_exact(kernel):
    rows = domains()
    exact = fitted(JDA, rows, kernel=kernel)
    sampled = fitted(JDA, rows, kernel=kernel, exact_rows=0, landmarks=60)
    assert "60 landmarks" in sampled.facts()["path"]
    assert exact.facts()["path"] == "exact"
    assert angle(embedding(exact, rows), embedding(sampled, rows)) < 1e-6


def test_few_landmarks_are_near_to_exact():
    rows = domains(200, 200, d=4)
    exact, sampled = fitted(TCA, rows, kernel="rbf"), fitted(TCA, rows, kernel="rbf", exact_rows=100, landmarks=100)
    far = fitted(TCA, rows, kernel="rbf", exact_rows=100, landmarks=8)
    near = angle(embedding(exact, rows), embedding(sampled, rows))
    assert near < 0.2
    assert near < 0.5 * angle(embedding(exact, rows), embedding(far, rows))


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("columns", [1, 11])
def test_the_krylov_space_gives_the_whole_problems_components(symmetric, columns):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(700, 20, generator=generator).double()
    psi = (
        torch.exp(-torch.cdist(x, x).square() / 40)
        if symmetric
        else torch.randn(300, 700, generator=generator).double()
    )
    factor = torch.randn(len(psi), columns, generator=generator).double() / 20
    options = {"count": 10, "regularizer": 0.5, "symmetric": symmetric}
    whole = components(psi, factor, **options, dense_up_to=10_000)
    partial = components(psi, factor, **options, dense_up_to=0)
    assert not torch.equal(whole, partial)
    torch.testing.assert_close(partial, whole, rtol=0, atol=1e-7 * whole.abs().max())
    warm = components(psi, factor, **options, dense_up_to=0, start=whole)
    torch.testing.assert_close(warm, whole, rtol=0, atol=1e-7 * whole.abs().max())


def test_one_round_of_jda_is_tca():
    rows = domains()
    assert np.array_equal(embedding(fitted(JDA, rows, iterations=1), rows), embedding(fitted(TCA, rows), rows))


def test_the_ends_of_the_balance():
    rows = domains()
    tca = embedding(fitted(TCA, rows, unit_norm=False), rows)
    assert np.allclose(embedding(fitted(BDA, rows, balance=0.0, unit_norm=False), rows), tca)
    alignment = fitted(BDA, rows, balance=1.0, iterations=2, unit_norm=False)
    first = torch.tensor(tca)
    pseudo = rows[1][torch.cdist(first[35:], first[:35]).argmin(1)]
    expected, _ = textbook(
        np.concatenate([rows[0], rows[2]]), mmd_by_loop(rows[1].numpy(), pseudo.numpy(), balance=1.0)
    )
    assert angle(embedding(alignment, rows), expected) < 1e-6


@pytest.mark.parametrize("kind", [TCA, JDA, BDA])
def test_the_domains_come_nearer_than_under_pca(kind):
    rows = domains()
    pooled = torch.cat([rows[0], rows[2]])
    pooled = pooled - pooled.mean(0)
    pca = pooled @ torch.linalg.svd(pooled)[2][:COUNT].T
    pca = pca / pca.std(0)
    z = torch.tensor(embedding(fitted(kind, rows), rows))
    assert (z[:35].mean(0) - z[35:].mean(0)).norm() < 0.5 * (pca[:35].mean(0) - pca[35:].mean(0)).norm()


@pytest.mark.parametrize("kind", [TCA, JDA, BDA])
def test_equal_domains_give_kernel_pca(kind):
    x, label, _, _ = domains()
    alignment = fitted(kind, (x, label, x, label))
    expected, _ = textbook(np.concatenate([x, x]), np.zeros((70, 70)))
    assert angle(embedding(alignment, (x, label, x, label)), expected) < 1e-6


@pytest.mark.parametrize("kernel", ["primal", "linear", "rbf", "laplacian"])
def test_state_unseen_rows_and_repeatability(kernel):
    rows = domains()
    alignment = fitted(JDA, rows, kernel=kernel)
    again = fitted(JDA, rows, kernel=kernel)
    loaded = JDA(components=COUNT, regularizer=LAMBDA, kernel=kernel, scaling="variance")
    loaded.load_state_dict(alignment.state_dict())
    whole = alignment.target(rows[2])
    assert torch.equal(whole, again.target(rows[2]))
    assert torch.equal(whole, loaded.target(rows[2]))
    torch.testing.assert_close(alignment.target(rows[2][7:9].clone()), whole[7:9], rtol=1e-6, atol=1e-6)
    assert alignment.target(rows[2].float()).dtype == torch.float32
    assert whole.shape == (25, alignment.width(8))


@pytest.mark.parametrize("kernel", ["primal", "linear", "rbf"])
def test_more_columns_than_rows(kernel):
    rows = domains(20, 15, d=50)
    alignment = fitted(TCA, rows, kernel=kernel)
    psi = np.concatenate([rows[0], rows[2]]) if kernel == "primal" else gram(alignment, rows)
    mmd = mmd_by_loop(rows[1].numpy(), np.full(15, -1))
    expected, _ = textbook(psi, mmd / np.linalg.norm(mmd))
    assert angle(embedding(alignment, rows), expected) < 1e-6
    more = fitted(TCA, rows, kernel=kernel, components=40)
    assert more.facts()["components"] == 34 == embedding(more, rows).shape[1]


def test_a_class_that_no_target_row_is_given():
    x, label, y, _ = domains()
    far = y.clone()
    far[:] = x[label == 0].mean(0) + 0.01 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0)).double()
    z = embedding(fitted(JDA, (x, label, far, None)), (x, label, far, None))
    assert np.isfinite(z).all()


def test_labels_of_target_rows_are_used():
    x, label, y, target = domains(shift=6.0)
    alignment = JDA(components=COUNT, iterations=2)
    without = fitted(JDA, (x, label, y, target), regularizer=1.0, iterations=2).target(y)
    alignment.fit(Rows(x, label), Rows(y[:15]), labeled=Rows(y[15:], target[15:]), classes=CLASSES, seed=0)
    assert not torch.allclose(alignment.target(y), without)


def test_pseudo_labels_by_logistic_regression():
    rows = domains()
    alignment = fitted(JDA, rows, pseudo_labels="logistic")
    gap = alignment.source(rows[0])[rows[1] == 1].mean(0) - alignment.target(rows[2])[rows[3] == 1].mean(0)
    assert gap.norm() < 1


def test_rows_of_unit_length():
    z = embedding(fitted(JDA, domains(), unit_length=True), domains())
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1)


@pytest.mark.parametrize("weight", [3.0, "classes"])
def test_the_weight_of_the_domains_term(weight):
    """With C the matrix is that of the authors' code: C M_0 + Σ_c M_c, then divided by its norm."""
    rows = domains()
    alignment = fitted(JDA, rows, marginal_weight=weight, iterations=2)
    first = torch.tensor(embedding(fitted(TCA, rows), rows))
    pseudo = rows[1][torch.cdist(first[35:], first[:35]).argmin(1)].numpy()
    hidden = np.full(len(rows[2]), -1)
    mmd = 2.0 * mmd_by_loop(rows[1].numpy(), hidden) + mmd_by_loop(rows[1].numpy(), pseudo)
    expected, _ = textbook(np.concatenate([rows[0], rows[2]]), mmd / np.linalg.norm(mmd))
    assert CLASSES == 3
    assert angle(embedding(alignment, rows), expected) < 1e-6
    assert angle(embedding(fitted(JDA, rows, iterations=2), rows), expected) > 1e-4


@pytest.mark.parametrize("kernel", ["primal", "rbf"])
def test_an_uncentred_embedding_is_the_product_itself(kernel):
    """z = Aᵀψ(x): the same as the centred one but for a constant row."""
    rows = domains()
    centred, plain = (embedding(fitted(TCA, rows, kernel=kernel, centred=centred), rows) for centred in (True, False))
    np.testing.assert_allclose(plain - plain.mean(0), centred, atol=1e-9)
    assert np.abs(plain.mean(0)).max() > 0.1
    if kernel == "primal":
        weights = fitted(TCA, rows, centred=False).weights.numpy()
        np.testing.assert_allclose(plain, np.concatenate([rows[0], rows[2]]) @ weights)


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        (TCA, "components", 0),
        (TCA, "regularizer", 0.0),
        (JDA, "iterations", 0),
        (BDA, "balance", 1.5),
        (TCA, "kernel", "rbff"),
        (TCA, "bandwidth", -1.0),
        (TCA, "landmarks", 1),
        (JDA, "pseudo_labels", "none"),
        (JDA, "marginal_weight", 0.0),
        (JDA, "marginal_weight", "class"),
    ],
)
def test_a_value_out_of_range_is_refused(kind, key, value):
    with pytest.raises(ConfigError, match=rf"^{key}: got "):
        kind(**{key: value})
