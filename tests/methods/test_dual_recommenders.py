"""Recommenders of two domains that serve each other: limits, loops in float64, and the gain of a shared taste."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import t
from torch.distributions import Independent, Normal, kl_divergence

from tests.contracts.chosen import proofs
from tests.contracts.test_recommending import config_of, first_step, prepared
from tests.methods.test_joint_recommenders import padded, random_vectors, shops, tables_of
from tl_research.interactions.training import Training
from tl_research.nn.counter_random import counted
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


def test_disencdr_without_a_shared_part_is_two_lightgcns():
    training, module = two_sided("disencdr", 6, "method.layers=2")
    module.eval()
    with torch.no_grad():
        module.shared.zero_()
    found = module.tables()
    (old,) = training.sources
    for place, (log, seed) in enumerate(((old, 2), (training.target, 1))):
        words = ("encoder.width=8", "method.use_sources=false", "method.layers=2")
        alone = tables_of("lightgcn", Training(log), random_vectors(seed), *words).tables()
        users, items = log.own_users(), log.own_items()
        torch.testing.assert_close(found.users[USERS * place + users], alone.users[users], rtol=0, atol=1e-6)
        torch.testing.assert_close(found.items[ITEMS * place + items], alone.items[items], rtol=0, atol=1e-6)


def test_disencdr_shares_what_both_graphs_say():
    """The mean of the shared part, in loops; the new shop scores with it alone a user whom only the old one knows."""
    training, module = two_sided("disencdr", 6, "method.layers=1")
    module.eval()
    (old,) = training.sources
    vectors = module.shared.detach().double().numpy()
    expected, counts = np.zeros((2, USERS, 8)), np.zeros((2, USERS))
    for side, log in enumerate((old, training.target)):
        bought = log.matrix().toarray().astype(float)
        counts[side] = bought.sum(1)
        expected[side] = vectors[side]
        for user in range(USERS):
            for item in np.flatnonzero(bought[user]):
                for other in np.flatnonzero(bought[:, item]):
                    weight = 1 / np.sqrt(counts[side][user] * bought[other].sum()) / bought[:, item].sum()
                    expected[side][user] += weight * vectors[side][other]
    share = (counts[1] / np.maximum(counts.sum(0), 1))[:, None]
    mean = (share * expected[1] + (1 - share) * expected[0]) / 2
    np.testing.assert_allclose(module.beliefs().shared.mean.detach(), mean, rtol=0, atol=1e-6)
    of_target = module.tables().users[USERS:].detach()
    cold = (counts[0] > 0) & (counts[1] == 0)
    assert cold.any()
    np.testing.assert_allclose(of_target[cold], mean[cold], rtol=0, atol=1e-6)
    assert not np.allclose(of_target[counts[1] > 0], mean[counts[1] > 0])


def test_disencdr_draws_about_its_means():
    _, module = two_sided("disencdr", 6)
    with torch.no_grad():
        beliefs = module.beliefs()
        draws = torch.stack([beliefs.shared.drawn(torch.Generator().manual_seed(seed)) for seed in range(2000)])
    std = beliefs.shared.log_std.exp()
    assert ((draws.mean(0) - beliefs.shared.mean).abs() < 5 * std / 2000**0.5).all()
    torch.testing.assert_close(draws.std(0), std, rtol=0.1, atol=0)
    module.train()
    drawn = module.tables().users
    assert torch.equal(drawn, module.tables().users)  # of one step
    module.eval()
    assert not torch.equal(drawn, module.tables().users)
    assert torch.equal(module.tables().users, module.tables().users)


def test_disencdr_without_noise_and_weights_is_trained_on_its_means():
    module, data = prepared(config_of("disencdr", "unused", "method.exclusive=0", "method.informative=0"))
    with torch.no_grad():
        for part in module.spreads.values():
            part.weight.zero_()
            part.bias.fill_(-60)
    step = first_step(module, data, 0)
    found = module.loss_terms(step)
    assert found.keys() == {"source_task", "target_task"}
    module.eval()
    for name, side in (("source_task", "source"), ("target_task", "target_labeled")):
        module._tables = module.tables()
        rows = module.encode(getattr(step.batch, side))
        assert found[name].item() == pytest.approx(module.row_losses(rows).mean().item() / 2, rel=1e-5)


def test_the_terms_of_disencdr_are_divergences():
    training, module = two_sided("disencdr", 6, "method.exclusive=0.5", "method.informative=0.25")
    with torch.no_grad():
        for part in [*module.spreads.values(), *module.tells_spread]:
            part.weight.copy_(torch.randn(8, 8, generator=torch.Generator().manual_seed(4)) / 4)
    module._beliefs = None
    found = module.terms(None)
    beliefs = module.beliefs()
    known = [torch.tensor(sorted(users)) for users in users_of(training)]
    both = torch.tensor(sorted(set(known[0].tolist()) & set(known[1].tolist())))
    anyone = torch.tensor(sorted(set(known[0].tolist()) | set(known[1].tolist())))

    def of(belief, rows):
        return Independent(Normal(belief.mean[rows].double(), belief.log_std[rows].double().exp()), 1)

    def prior(rows):
        return Independent(Normal(torch.zeros(len(rows), 8, dtype=torch.float64), 1.0), 1)

    exclusive = kl_divergence(of(beliefs.shared, anyone), prior(anyone)).mean()
    for own, rows in zip(beliefs.users, known, strict=True):
        exclusive = exclusive + kl_divergence(of(own, rows), prior(rows)).mean()
    informative = sum(kl_divergence(of(beliefs.shared, both), of(told, both)).mean() for told in beliefs.told)
    assert found["exclusive"].item() == pytest.approx(0.5 * exclusive.item(), rel=1e-4)
    assert found["informative"].item() == pytest.approx(0.25 * informative.item(), rel=1e-4)
    assert beliefs.shared.kl(beliefs.shared).abs().max() < 1e-5


def gradients(module, data, domain_term: str) -> dict[str, torch.Tensor]:
    """Gradients of one task loss by the name of the parameter."""
    module.zero_grad()
    module.loss_terms(first_step(module, data, 0))[domain_term].backward()
    return {name: value.grad for name, value in module.named_parameters() if value.grad is not None}


def test_unicdr_of_own_numbers_alone_has_two_limits():
    training, module = two_sided("unicdr", 6, "method.keep=1", "method.contrast=0")
    own, known = module.own_tables(), [sorted(users) for users in users_of(training)]
    rows = torch.tensor(known[0] + [USERS + user for user in known[1]])
    shared = module.shared.detach().clone()
    with torch.no_grad():
        module.shared.zero_()
    assert torch.equal(module.tables().users[rows], own.users[rows, :8])
    assert torch.equal(module.tables().items, own.items)
    with torch.no_grad():
        module.shared.copy_(shared)
        for table in (module.encoder.users, module.of_sources.users):
            table.weight.zero_()
    assert torch.equal(module.tables().users, shared.repeat(2, 1))
    assert module.terms(None) == {}


def test_unicdr_equals_loops():
    training, module = two_sided("unicdr", 6, "method.keep=0.3", "method.masked=0.4")
    (old,) = training.sources
    bought = [log.matrix().toarray().astype(bool) for log in (old, training.target)]
    users, items = ([random_vectors(seed)[kind].double().numpy() for seed in (2, 1)] for kind in (0, 1))
    weights = [part.weight.detach().double().numpy() for part in module.of_bought]
    shared = module.shared.detach().double().numpy()
    for training_mode in (False, True):
        module.train(training_mode)
        seen = module._seen(module.encoder.items.weight)[:, 0].bool().numpy()
        assert seen.all() != training_mode
        found = module.tables().users.detach().numpy()
        for domain in (0, 1):
            for user in range(USERS):
                lists = [np.flatnonzero(matrix[user] & seen) for matrix in bought]
                both = [items[side][place] for side in (0, 1) for place in lists[side]]
                everything = np.mean(both, axis=0) if both else np.zeros(8)
                expected = 0.3 * shared[user] + 0.7 * weights[2] @ everything
                if bought[domain][user].any():
                    mean = items[domain][lists[domain]].mean(0) if len(lists[domain]) else np.zeros(8)
                    expected = expected + 0.3 * users[domain][user] + 0.7 * weights[domain] @ mean
                np.testing.assert_allclose(found[USERS * domain + user], expected, rtol=0, atol=1e-5)


def test_the_critic_of_unicdr_is_a_loss_of_rows():
    module, data = prepared(config_of("unicdr", "unused", "method.contrast=0.5"))
    step = first_step(module, data, 0)
    found = module.loss_terms(step)
    assert found.keys() == {"source_task", "target_task", "critic_source", "critic_target"}
    own, shared = (part for part in module.users())
    for domain, (name, side) in enumerate((("critic_source", "source"), ("critic_target", "target_labeled"))):
        rows, critic = getattr(step.batch, side), module.critics[domain].weight
        known = data.sides[side].inputs["user"].unique()
        draws = counted(module.seed, rows.index, rows.domain, 0, 1) % len(known)
        losses = []
        for user, other in zip(rows.extra["user"].tolist(), known[draws].tolist(), strict=True):
            asked = critic @ shared[user]
            near, far = own[domain][user] @ asked, own[domain][other] @ asked
            losses.append((F.softplus(-near) + F.softplus(far)).item())
        assert found[name].item() == pytest.approx(0.5 * np.mean(losses), rel=1e-4)


@pytest.mark.parametrize("method", ["dtcdr", "disencdr", "unicdr"])
def test_each_task_moves_the_other_domain_s_vectors_of_shared_users(method):
    module, data = prepared(config_of(method, "unused", "data.batch_size=100000", "data.dual_target=true"))
    counts = [np.bincount(data.sides[side].inputs["user"], minlength=120) for side in ("source", "target_labeled")]
    shared = torch.from_numpy((counts[0] > 0) & (counts[1] > 0))
    for term, other, table in (
        ("target_task", 0, "of_sources.users.weight"),
        ("source_task", 1, "encoder.users.weight"),
    ):
        found = gradients(module, data, term)
        gradient = {"dtcdr": found.get(table), "unicdr": found.get("shared")}.get(method)
        gradient = found["shared"][other] if gradient is None else gradient
        assert (gradient.abs().sum(1) > 0)[shared].all(), term


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
GRAPH_ALONE = ("lightgcn", "method.use_sources=false", "method.layers=1")
#: Method and options, and the same without the other shop.
PLANTED = [
    (("dtcdr",), ALONE),
    (("dtcdr", "method.pooling=average"), ALONE),
    (("dtcdr", "method.pooling=max"), ALONE),
    (("unicdr",), ALONE),
    (("disencdr",), ALONE),
    (("disencdr",), GRAPH_ALONE),
]
PROVEN = [pair for pair in PLANTED if pair[0][0] in proofs(("unicdr", "disencdr", "dtcdr"))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One folder for all: a finished run is not repeated."""
    return tmp_path_factory.mktemp("planted")


@pytest.mark.slow
@pytest.mark.parametrize(("method", "alone"), PROVEN, ids=" ".join)
def test_a_shared_taste_helps_over_the_target_alone(method, alone, folder):
    mean, half = gain(folder, 1.0, method, alone)
    assert mean - half > 0, f"{mean} ± {half}"


@pytest.mark.slow
@pytest.mark.parametrize(("method", "alone"), PROVEN, ids=" ".join)
def test_other_tastes_do_no_harm_beyond_noise(method, alone, folder):
    mean, half = gain(folder, 0.0, method, alone)
    assert mean + half >= 0, f"{mean} ± {half}"
