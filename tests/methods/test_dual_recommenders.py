"""Recommenders of two domains that serve each other: limits, loops in float64, and the gain of a shared taste."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import t

from tests.contracts.test_recommending import config_of, first_step, prepared
from tests.methods.test_joint_recommenders import padded, random_vectors, shops, tables_of
from tl_research.runs.experiment import run

SEEDS = (0, 1, 2)
USERS, ITEMS = 24, 40  # of the simulated shops that `tables_of` makes


def two_sided(method: str, overlap: int, *words: str):
    """A `PerDomain` method on two shops of 12 users, `overlap` of them shared, with vectors of a seed per domain."""
    training = padded(shops(overlap=overlap))
    module = tables_of(method, training, random_vectors(1), "encoder.width=8", *words)
    for table, weight in zip((module.of_sources.users, module.of_sources.items), random_vectors(2), strict=True):
        table.weight.data = weight.clone()
    return training, module


def users_of(training) -> tuple[set[int], set[int]]:
    (old,) = training.sources
    return {*old.user.tolist()}, {*training.target.user.tolist()}


@pytest.mark.parametrize("pooling", ["attention", "average", "max"])
def test_dtcdr_without_shared_users_is_two_factorisations(pooling):
    training, module = two_sided("dtcdr", 0, f"method.pooling={pooling}")
    found, own = module.tables(), module.own_tables()
    for place, users in enumerate(users_of(training)):
        rows = USERS * place + torch.tensor(sorted(users))
        assert torch.equal(found.users[rows], own.users[rows])
    assert torch.equal(found.items, own.items)


@pytest.mark.parametrize("pooling", ["attention", "average", "max"])
def test_dtcdr_equals_loops(pooling):
    training, module = two_sided("dtcdr", 6, f"method.pooling={pooling}")
    if pooling == "attention":
        with torch.no_grad():
            module.attention.copy_(torch.randn(2, 8, generator=torch.Generator().manual_seed(3)))
    vectors = [random_vectors(seed)[0].double().numpy() for seed in (2, 1)]
    known = users_of(training)
    found = module.tables().users.detach().numpy()
    kinds = set()
    for domain, other in ((0, 1), (1, 0)):
        for user in range(USERS):
            own, theirs = vectors[domain][user], vectors[other][user]
            here, there = user in known[domain], user in known[other]
            kinds.add((here, there))
            if here and there:
                if pooling == "attention":
                    weight = 1 / (1 + np.exp(-module.attention[domain].detach().double().numpy()))
                    expected = weight * own + (1 - weight) * theirs
                else:
                    expected = (own + theirs) / 2 if pooling == "average" else np.maximum(own, theirs)
            else:
                expected = own if here else theirs
            np.testing.assert_allclose(found[USERS * domain + user], expected, rtol=0, atol=1e-6)
    assert {(True, True), (True, False), (False, True)} <= kinds


def gradients(module, data, domain_term: str) -> dict[str, torch.Tensor]:
    """Gradients of one task loss by the name of the parameter."""
    module.zero_grad()
    module.loss_terms(first_step(module, data, 0))[domain_term].backward()
    return {name: value.grad for name, value in module.named_parameters() if value.grad is not None}


@pytest.mark.parametrize("words", [("dtcdr",)], ids=" ".join)
def test_each_task_moves_the_other_domain_s_vectors_of_shared_users(words):
    module, data = prepared(
        config_of(words[0], "unused", "data.batch_size=100000", "data.dual_target=true", *words[1:])
    )
    counts = [np.bincount(data.sides[side].inputs["user"], minlength=120) for side in ("source", "target_labeled")]
    shared = torch.from_numpy((counts[0] > 0) & (counts[1] > 0))
    for term, table in (("target_task", "of_sources.users.weight"), ("source_task", "encoder.users.weight")):
        moved = gradients(module, data, term)[table].abs().sum(1) > 0
        assert moved[shared].all(), term


def ndcg(folder, kinship: float, seed: int, *words: str) -> float:
    method, *options = words
    options = (f"seed={seed}", "trainer.max_epochs=15", "optimizer.lr=0.02", "method.penalty=0.02", *options)
    data = {"n_users": 400, "n_items": 150, "batch_size": 1024, "kinship": kinship}
    record = run(config_of(method, folder, *options, **data))
    return record.metrics[record.selection_rule]["target_test/ndcg10"]


def gain(folder, kinship: float, method: tuple[str, ...], reference: tuple[str, ...]) -> tuple[float, float]:
    """Mean gain over the target alone, and half of its 95 % interval over the seeds."""
    gains = [ndcg(folder, kinship, seed, *method) - ndcg(folder, kinship, seed, *reference) for seed in SEEDS]
    return np.mean(gains), t.ppf(0.975, len(gains) - 1) * np.std(gains, ddof=1) / len(gains) ** 0.5


ALONE = ("bpr_mf", "method.use_sources=false")
#: Method and options -> whether a gain with a shared taste is held over bpr_mf on the target alone.
PLANTED = [("dtcdr",), ("dtcdr", "method.pooling=average"), ("dtcdr", "method.pooling=max")]


@pytest.mark.slow
@pytest.mark.parametrize("method", PLANTED, ids=" ".join)
def test_a_shared_taste_helps_over_the_target_alone(method, tmp_path):
    mean, half = gain(tmp_path, 1.0, method, ALONE)
    assert mean - half > 0, f"{mean} ± {half}"


@pytest.mark.slow
@pytest.mark.parametrize("method", PLANTED, ids=" ".join)
def test_other_tastes_do_no_harm_beyond_noise(method, tmp_path):
    mean, half = gain(tmp_path, 0.0, method, ALONE)
    assert mean + half >= 0, f"{mean} ± {half}"
