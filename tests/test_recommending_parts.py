"""The parts that recommenders stand on, each against a loop or a library."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from tl_research.config import compose
from tl_research.interactions.log import Log
from tl_research.interactions.training import Training
from tl_research.methods.purchases import Purchases
from tl_research.metrics.preferences import AT
from tl_research.nn.counter_random import counted
from tl_research.nn.lazy_adam import LazyAdam
from tl_research.nn.ranking import mask_rows, mean_ranks
from tl_research.nn.row_sums import row_sums
from tl_research.nn.sparse import SparseMatrix
from tl_research.outcomes import PreferenceOutcome, outcome_from

MASK = (1 << 64) - 1


def splitmix(state: int) -> int:
    """The finaliser, in Python's whole numbers."""
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & MASK
    return state ^ (state >> 31)


def test_counted_numbers_are_those_of_splitmix64():
    index = torch.tensor([0, 1, 5, 10**12])
    expected = []
    for one in index.tolist():
        state = 17
        for counter in (one, 3):
            state = splitmix(((state ^ counter) + 0x9E3779B97F4A7C15) & MASK)
        expected.append(state & ((1 << 62) - 1))
    assert counted(17, index, 3).tolist() == expected


def test_counted_numbers_are_even():
    drawn = counted(0, torch.arange(200_000), 4) % 10
    share = torch.bincount(drawn).double() / len(drawn)
    assert (share - 0.1).abs().max() < 5 * (0.09 / len(drawn)) ** 0.5
    other = counted(0, torch.arange(200_000), 5) % 10
    assert abs(float((drawn == other).double().mean()) - 0.1) < 0.005


@pytest.mark.parametrize("kinds", [4, 10**6])
def test_ranks_are_those_of_a_loop(kinds):
    """With many ties, and with none."""
    random = np.random.default_rng(0)
    scores = torch.from_numpy(random.integers(0, kinds, size=(7, 30)).astype(np.float32))
    scores[0, 3] = float("nan")
    start, place = torch.tensor([0, 2, 2, 3, 3, 3, 4, 4]), torch.tensor([5, 6, -1, 29])
    masked = mask_rows(scores.clone(), start, place)
    row, asked = torch.arange(7).repeat(31), torch.arange(-1, 30).repeat_interleave(7)
    found = mean_ranks(masked, row, asked)
    seen = {(0, 5), (0, 6), (5, 29)}
    for one, at, rank in zip(row.tolist(), asked.tolist(), found.tolist(), strict=True):
        line = [(-1.0 if (one, j) == (0, 3) else float(scores[one, j])) for j in range(30) if (one, j) not in seen]
        if at < 0 or (one, at) in seen:
            assert rank == len(line) + 1
            continue
        own = -1.0 if (one, at) == (0, 3) else float(scores[one, at])
        assert rank == 1 + sum(other > own for other in line) + (sum(other == own for other in line) - 1) / 2


def test_a_sparse_product_has_the_gradient_of_a_dense_one():
    matrix = sp.random(20, 30, density=0.2, random_state=0, format="csr")
    sparse = SparseMatrix()
    sparse.learn(matrix)
    dense = torch.from_numpy(matrix.toarray()).float()
    for product, expected, rows in ((sparse, dense, 30), (sparse.transposed, dense.T, 20)):
        x = torch.randn(rows, 4, requires_grad=True)
        other = x.detach().clone().requires_grad_()
        torch.testing.assert_close(product(x), expected @ other)
        (product(x) ** 2).sum().backward()
        ((expected @ other) ** 2).sum().backward()
        torch.testing.assert_close(x.grad, other.grad)


@pytest.mark.parametrize(("sparse", "decay"), [(False, 0.0), (False, 0.1), (True, 0.0)])
def test_lazy_adam_is_adam_and_of_sparse_gradients_sparse_adam(sparse, decay):
    torch.manual_seed(0)
    first = torch.randn(50, 4)
    tables = [torch.nn.Parameter(first.clone()) for _ in range(2)]
    other = (
        torch.optim.SparseAdam(tables[1:], lr=0.01)
        if sparse
        else torch.optim.Adam(tables[1:], 0.01, weight_decay=decay)
    )
    optimizers = LazyAdam(tables[:1], 0.01, weight_decay=decay), other
    for _ in range(20):
        rows, push = torch.randint(50, (8,)), torch.randn(8, 4)
        for table, optimizer in zip(tables, optimizers, strict=True):
            optimizer.zero_grad()
            torch.nn.functional.embedding(rows, table, sparse=sparse).mul(push).sum().backward()
            optimizer.step()
    torch.testing.assert_close(tables[0], tables[1], rtol=1e-5, atol=1e-6)
    assert not torch.equal(tables[0].detach(), first)


def test_row_sums_are_those_of_a_coalesced_gradient():
    torch.manual_seed(0)
    index, value = torch.randint(500, (1, 4000)), torch.randn(4000, 16)
    gradient = torch.sparse_coo_tensor(index, value, (600, 16), check_invariants=True)
    rows, found = row_sums(gradient)
    expected = gradient.coalesce()
    assert torch.equal(rows, expected.indices()[0])
    torch.testing.assert_close(found, expected.values(), rtol=1e-6, atol=1e-5)
    for part in (
        expected,
        gradient * 0,
        torch.sparse_coo_tensor(index[:, :0], value[:0], (600, 16), check_invariants=True),
    ):
        rows, found = row_sums(part)
        assert torch.equal(rows, part.coalesce().indices()[0])
        assert torch.equal(found, part.coalesce().values())


def two_shops() -> Training:
    random = np.random.default_rng(0)
    rows = [(random.integers(0, 30, 200), random.integers(first, first + 20, 200)) for first in (0, 20)]
    return Training(Log("new", *rows[1], 30, 40), (Log("old", *rows[0], 30, 40),))


def test_negatives_are_of_the_domain_and_not_bought():
    from tl_research.data.batch import Samples

    training, purchases = two_shops(), Purchases()
    purchases.learn(training)
    log = training.target
    user = torch.from_numpy(log.user)
    rows = Samples({}, torch.ones(200), torch.arange(200), torch.ones(200, dtype=torch.long), {"user": user})
    drawn = purchases.negatives(rows, count=3, seed=0, step=5)
    bought = {*zip(log.user.tolist(), log.item.tolist(), strict=True)}
    assert set(drawn.flatten().tolist()) <= set(log.item.tolist())
    crossed = [(u, j) in bought for u, line in zip(user.tolist(), drawn.tolist(), strict=True) for j in line]
    assert np.mean(crossed) < 0.02
    assert len({*drawn.flatten().tolist()}) == len(training.catalogue)
    part = rows.rows(torch.arange(100, 200))
    assert torch.equal(purchases.negatives(part, count=3, seed=0, step=5), drawn[100:])
    assert not torch.equal(purchases.negatives(rows, count=3, seed=0, step=6), drawn)
    assert not torch.equal(purchases.negatives(rows, count=3, seed=1, step=5), drawn)


def test_what_is_seen_is_what_the_target_has():
    training, purchases = two_shops(), Purchases()
    purchases.learn(training)
    users = torch.tensor([3, 0, 17])
    start, place = purchases.seen_by(users)
    for number, user in enumerate(users.tolist()):
        items = purchases.catalogue[place[start[number] : start[number + 1]]]
        assert items.tolist() == sorted(set(training.target.item[training.target.user == user].tolist()))
    assert purchases.place_in_catalogue(torch.tensor([0, 39])).tolist()[0] == -1


def test_a_preference_is_measured_by_its_users():
    outcome = PreferenceOutcome()
    assert outcome_from(outcome.state_dict()) == outcome
    outputs = torch.tensor([[1.0, 7], [12.0, 7], [3.0, 9]], dtype=torch.float64)
    metrics = outcome.metrics(outputs, torch.ones(3))
    assert metrics.keys() == AT.keys()
    assert metrics["recall10"] == pytest.approx((1 / 2 + 1) / 2)
    assert metrics["mrr10"] == pytest.approx((1 + 1 / 3) / 2)
    low, high = outcome.interval("recall10", metrics["recall10"], outputs, torch.ones(3))
    assert low < metrics["recall10"] < high
    assert outcome.figure("recall10", outputs[:2], torch.ones(2)) == 0.5


@pytest.mark.parametrize("twins", ["keep", "drop", "merge"])
def test_twins_are_kept_dropped_or_merged(twins):
    from omegaconf import OmegaConf

    from tl_research.interactions.module import InteractionModule

    words = [f"data.twins={twins}", "data.twin_items=100", "method.name=popularity"]
    config = compose({"data": {"name": "simulated_shops", "sources": ["old"], "target": "new"}}, words)
    data = InteractionModule(OmegaConf.to_object(config.data), seed=0)
    data.setup()
    facts = data.facts["twins"]
    assert facts["treated"] == twins
    assert facts["pairs"] >= 60
    test = data.release_evaluation()["target_test"]
    source = data.sides["source"]
    bought = {*zip(source.inputs["user"].tolist(), source.inputs["item"].tolist(), strict=True)}
    tested = [*zip(test.inputs["user"].tolist(), test.inputs["item"].tolist(), strict=True)]
    # The twin of the new shop's item 300 + k is the old shop's item k.
    twin_bought = sum((user, item - 300) in bought and item < 400 for user, item in tested)
    if twins == "keep":
        assert twin_bought >= facts["given_away"]["target_test"] > 50
        assert len(tested) == 600
    else:
        assert len(tested) == 600 - facts["given_away"]["target_test"]
        assert twin_bought < 20
    assert not bought.intersection(tested)
