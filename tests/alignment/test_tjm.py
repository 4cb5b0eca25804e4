"""TJM: rounds against the textbook's dense pencil, and the descent of its objective."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.linalg
import torch

from tests.alignment.test_mmd_projection import angle, domains, embedding, fitted, gram, mmd_by_loop
from tl_research.alignment.tca import TCA
from tl_research.alignment.tjm import TJM
from tl_research.errors import ConfigError

LAMBDA = 0.3


def by_rounds(psi: np.ndarray, n: int, rounds: int, unit: bool, count: int = 4) -> tuple[np.ndarray, list[float]]:
    """Dense matrices and scipy's solver; also the objective after each round."""
    rows = len(psi)
    mmd = mmd_by_loop(np.zeros(n), np.full(rows - n, -1))
    mmd /= np.linalg.norm(mmd)
    centring = np.eye(rows) - 1 / rows
    g, objectives = np.ones(rows), []
    for _ in range(rounds):
        left = psi @ mmd @ psi + LAMBDA * np.diag(g)
        value, vector = scipy.linalg.eigh(psi @ centring @ psi, left)
        a = vector[:, ::-1][:, :count] / np.sqrt(value[::-1][:count])
        if unit:
            a = a / np.linalg.norm(a, axis=0)
        length = np.linalg.norm(a, axis=1)
        objectives.append(np.trace(a.T @ psi @ mmd @ psi @ a) + LAMBDA * (length[:n].sum() + (length[n:] ** 2).sum()))
        g = np.concatenate([1 / (2 * length[:n]), np.ones(rows - n)])
    return centring @ psi @ a, objectives


@pytest.mark.parametrize("scaling", ["variance", "weights"])
@pytest.mark.parametrize("rounds", [1, 2, 3])
@pytest.mark.parametrize("kernel", ["linear", "rbf", "laplacian"])
def test_rounds_are_those_of_the_dense_pencil(kernel, rounds, scaling):
    rows = domains()
    alignment = fitted(TJM, rows, kernel=kernel, iterations=rounds, scaling=scaling)
    expected, _ = by_rounds(gram(alignment, rows), 35, rounds, unit=scaling == "weights")
    assert angle(embedding(alignment, rows), expected) < 1e-6


def test_the_objective_goes_down():
    rows = domains()
    alignment = fitted(TJM, rows, kernel="rbf", iterations=6)
    _, objectives = by_rounds(gram(alignment, rows), 35, 6, unit=False)
    assert all(later <= earlier for earlier, later in itertools.pairwise(objectives[1:]))
    psi, a = gram(alignment, rows), alignment.weights.numpy() / 60**0.5
    e = np.r_[np.full(35, 1 / 35), np.full(25, -1 / 25)]
    length = np.linalg.norm(a, axis=1)
    value = np.square(e @ psi @ a).sum() / (e @ e) + LAMBDA * (length[:35].sum() + (length[35:] ** 2).sum())
    assert value == pytest.approx(objectives[-1], rel=1e-6)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_one_round_is_tca(kernel):
    rows = domains()
    tca = fitted(TCA, rows, kernel=kernel)
    assert angle(embedding(fitted(TJM, rows, kernel=kernel, iterations=1), rows), embedding(tca, rows)) < 1e-6


def test_landmarks_of_all_rows_are_exact():
    rows = domains()
    exact = fitted(TJM, rows, kernel="rbf", iterations=3)
    sampled = fitted(TJM, rows, kernel="rbf", iterations=3, exact_rows=0, landmarks=60)
    assert angle(embedding(exact, rows), embedding(sampled, rows)) < 1e-6


def test_source_rows_are_let_go_and_target_rows_are_not():
    rows = domains()
    alignment = fitted(TJM, rows, kernel="rbf", iterations=20)
    length = alignment.weights.norm(dim=1)
    gone = length < 1e-3 * length[:35].max()
    assert gone[:35].sum() == alignment.facts()["source_rows_let_go"] > 5
    assert gone[35:].sum() == 0


def test_state_dict_and_unseen_rows():
    rows = domains()
    alignment = fitted(TJM, rows, kernel="rbf")
    loaded = TJM(components=4, kernel="rbf", scaling="variance")
    loaded.load_state_dict(alignment.state_dict())
    assert torch.equal(loaded.target(rows[2]), alignment.target(rows[2]))
    torch.testing.assert_close(alignment.target(rows[2][3:5]), alignment.target(rows[2])[3:5])
    assert torch.equal(alignment.target(rows[2]), fitted(TJM, rows, kernel="rbf").target(rows[2]))


def test_weights_by_column_have_no_instances():
    with pytest.raises(ConfigError, match=r"^kernel: got 'primal'"):
        TJM(kernel="primal")
