"""MEDA against its closed form on dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.alignment.test_mmd_projection import CLASSES, domains, mmd_by_loop
from tl_research.alignment.base import Rows
from tl_research.alignment.graph import cosine_laplacian
from tl_research.alignment.meda import MEDA, dynamic_balance
from tl_research.alignment.projection import Domains
from tl_research.alignment.tca import TCA
from tl_research.errors import ConfigError


def fitted(rows, **options) -> MEDA:
    meda = MEDA(**options)
    meda.fit(Rows(rows[0], rows[1]), Rows(rows[2]), classes=CLASSES, seed=0)
    return meda


def laplacian_by_loop(x: np.ndarray, neighbours: int) -> np.ndarray:
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, -np.inf)
    n = len(x)
    s = np.zeros((n, n))
    for i in range(n):
        for j in np.argsort(-cosine[i])[:neighbours]:
            s[i, j] = s[j, i] = max(cosine[i, j], 0)
    degree = s.sum(1)
    degree[degree == 0] = 1
    return np.eye(n) - s / np.sqrt(degree[:, None] * degree[None])


def by_formula(rows, kernel, sigma, *, rounds, balance=0.5, ridge=0.1, alignment=10.0, smoothness=1.0):
    """f on all rows: β = ((A + λM + ρL) K + ηI)⁻¹ A Y with whole matrices."""
    x = np.concatenate([rows[0], rows[2]])
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    square = ((x[:, None] - x[None]) ** 2).sum(-1)
    k = x @ x.T if kernel == "linear" else np.exp(-square / (2 * sigma**2))
    n, label = len(rows[0]), rows[1].numpy()
    a = np.diag(np.r_[np.ones(n), np.zeros(len(x) - n)])
    y = np.r_[np.eye(CLASSES)[label], np.zeros((len(x) - n, CLASSES))]
    graph = laplacian_by_loop(x, 10)
    pseudo = label[square[n:, :n].argmin(1)]
    for _ in range(rounds):
        m = mmd_by_loop(label, pseudo, balance=balance)
        m /= np.linalg.norm(m)
        system = (a + alignment * m + smoothness * graph) @ k + ridge * np.eye(len(x))
        f = k @ np.linalg.solve(system, a @ y)
        pseudo = f[n:].argmax(1)
    return f


@pytest.mark.parametrize("rounds", [1, 3])
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_outputs_are_those_of_the_closed_form(kernel, rounds):
    rows = domains()
    meda = fitted(rows, kernel=kernel, iterations=rounds)
    expected = by_formula(rows, kernel, float(meda.map.sigma), rounds=rounds)
    np.testing.assert_allclose(meda.source(rows[0]), expected[:35], atol=1e-8)
    np.testing.assert_allclose(meda.logits(rows[2]), expected[35:], atol=1e-8)


def test_landmarks_of_all_rows_are_exact():
    rows = domains()
    exact = fitted(rows)
    sampled = fitted(rows, exact_rows=1, landmarks=60)
    assert "60 landmarks" in sampled.facts()["path"]
    torch.testing.assert_close(sampled.logits(rows[2]), exact.logits(rows[2]), rtol=0, atol=1e-7)


@pytest.mark.parametrize("neighbours", [3, 10])
def test_the_graph_is_that_of_the_loop(neighbours):
    x, _, _, _ = domains()
    np.testing.assert_allclose(
        cosine_laplacian(x, neighbours=neighbours).to_dense(), laplacian_by_loop(x.numpy(), neighbours), atol=1e-12
    )


def test_classifies_a_moved_domain():
    rows = domains(150, 150, shift=1.0)
    assert (fitted(rows).logits(rows[2]).argmax(1) == rows[3]).double().mean() > 0.9


def test_the_balance_follows_what_differs():
    generator = torch.Generator().manual_seed(0)
    label = torch.arange(300) % 3
    x = torch.randn(300, 5, generator=generator).double()
    moved = torch.randn(300, 5, generator=generator).double()
    far = moved + 3
    # Of two classes the first axis changes sign: the domains as wholes have the same mean.
    turned = moved.clone()
    turned[:, 0] += 3.0 * (label == 0) - 3.0 * (label == 1)
    turned_source = x.clone()
    turned_source[:, 0] -= 3.0 * (label == 0) - 3.0 * (label == 1)

    def balance(a, b):
        return dynamic_balance(Domains(Rows(a, label), Rows(b), None, 3), label)

    assert balance(turned_source, turned) > 0.9
    # Moved as a whole: every class as far as all together.
    assert balance(x, far) == pytest.approx(0.75, abs=0.05)
    rows = domains()
    assert 0 <= fitted(rows, balance="dynamic").facts()["balance"] <= 1


def test_a_manifold_goes_before():
    rows = domains()
    manifold = TCA(components=4)
    meda = fitted(rows, manifold=manifold)
    inner = TCA(components=4)
    inner.fit(Rows(rows[0], rows[1]), Rows(rows[2]), classes=CLASSES, seed=0)
    plain = fitted((inner.source(rows[0]), rows[1], inner.target(rows[2]), rows[3]))
    torch.testing.assert_close(meda.logits(rows[2]), plain.logits(inner.target(rows[2])))


def test_state_dict_unseen_rows_and_repeatability():
    rows = domains()
    meda = fitted(rows, manifold=TCA(components=4))
    loaded = MEDA(manifold=TCA(components=4))
    loaded.load_state_dict(meda.state_dict())
    assert torch.equal(loaded.logits(rows[2]), meda.logits(rows[2]))
    assert torch.equal(fitted(rows, manifold=TCA(components=4)).logits(rows[2]), meda.logits(rows[2]))
    torch.testing.assert_close(meda.logits(rows[2][:2]), meda.logits(rows[2])[:2])


@pytest.mark.parametrize(
    ("key", "value"),
    [("ridge", 0.0), ("alignment", -1.0), ("smoothness", -1.0), ("neighbours", 0), ("balance", "auto")],
)
def test_a_value_out_of_range_is_refused(key, value):
    with pytest.raises(ConfigError, match=rf"^{key}: got "):
        MEDA(**{key: value})
