"""`sscdr` against loops in float64: its metric space, its two losses, and the neighbourhoods of cold users."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.recommenders.test_bridges import COLD, ITEMS, USERS, WIDTH, learn_bridge, planted, put_source_vectors
from tl_research.methods.relation.sscdr import in_ball
from tl_research.methods.step import Step


def short(random: np.random.Generator, scale: float = 0.3) -> np.ndarray:
    """User vectors of which some lie outside the unit ball."""
    return random.normal(size=(USERS, WIDTH)) * scale


def ball(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(1, np.linalg.norm(vectors, axis=-1, keepdims=True))


def made(*options: str, seed: int = 0):
    random = np.random.default_rng(seed)
    source, target = short(random, 0.5), short(random, 0.5)
    module, batch = planted("sscdr", *options, target_vectors=target)
    put_source_vectors(module, source)
    return module, batch, source, target


def test_vectors_stay_in_the_ball_and_short_ones_where_they_are():
    random = np.random.default_rng(0)
    vectors = random.normal(size=(50, WIDTH)) * 0.5
    found = in_ball(torch.from_numpy(vectors)).numpy()
    np.testing.assert_allclose(found, ball(vectors), rtol=1e-12)
    inside = np.linalg.norm(vectors, axis=1) <= 1
    assert 5 < inside.sum() < 45
    assert np.array_equal(found[inside], vectors[inside])
    assert torch.equal(in_ball(torch.zeros(2, 3)), torch.zeros(2, 3))


def test_the_catalogue_is_scored_by_distances():
    module, _, source, target = made("method.blend=3", "method.hops=0")
    users = torch.tensor([4, 0, USERS - 1])
    with torch.no_grad():
        scores = module.score_catalogue(users).numpy()
        items = ball(module.encoder.items.weight[module.purchases.catalogue].double().numpy())
        bridged = module.bridge(torch.from_numpy(ball(source)).float()).double().numpy()
    own = ball(target)
    vectors = [(8 * own[4] + 3 * bridged[4]) / 11, (8 * own[0] + 3 * bridged[0]) / 11, bridged[-1]]
    for row, vector in zip(scores, vectors, strict=True):
        np.testing.assert_allclose(row, -np.square(ball(vector) - items).sum(1), rtol=0, atol=1e-5)


def test_tables_are_learnt_by_a_hinge():
    module, batch, source, target = made("method.margin=0.7")
    found = module.loss_terms(Step(module, batch, module.phase(0)))
    assert found.keys() == {"source_task", "target_task"}
    items = ball(module.encoder.items.weight.detach().double().numpy())
    hinges = 0
    for name, rows, users in (("source_task", batch.source, source), ("target_task", batch.target_labeled, target)):
        losses, drawn, users = [], module.draw(rows), ball(users)
        for row, (user, item) in enumerate(zip(rows.extra["user"], rows.extra["item"], strict=True)):
            near = np.square(users[user] - items[item]).sum()
            far = np.square(users[user] - items[drawn[row, 0]]).sum()
            losses.append(max(0.0, 0.7 + near - far))
        hinges += np.count_nonzero(np.array(losses) == 0)
        assert found[name].item() == pytest.approx(np.mean(losses) / 2, rel=1e-4)
    assert hinges > 0


def test_the_bridge_has_a_loss_of_users_and_one_of_items():
    module, batch, source, target = made("method.bridge_batch=200", "method.unlabelled=0.25", "method.margin=0.6")
    found = module.terms(Step(module, batch, module.phase(1)))
    users = module.histories.draw(200, seed=module.seed, step=0)
    with torch.no_grad():
        weight, bias = (part.double().numpy() for part in module.bridge.parameters())
        items = ball(module.encoder.items.weight.double().numpy())
        bought, drawn = (part.numpy() for part in module._purchases(users))
    wanted = ball(target)[users]
    mapped = ball(source)[users] @ weight.T + bias
    assert found["bridge"].item() == pytest.approx(np.square(mapped - wanted).sum(1).mean(), rel=1e-4)
    history = {*zip(*(batch.source.extra[name].tolist() for name in ("user", "item")), strict=True)}
    assert all(pair in history for pair in zip(users.tolist(), bought.tolist(), strict=True))
    assert drawn.min() >= ITEMS  # of the old shop
    assert np.mean([pair in history for pair in zip(users.tolist(), drawn[:, 0].tolist(), strict=True)]) < 0.02
    near, far = (np.square(wanted - (items[place] @ weight.T + bias)).sum(1) for place in (bought, drawn[:, 0]))
    expected = np.maximum(0, 0.6 + near - far).mean()
    assert found["unlabelled"].item() == pytest.approx(0.25 * expected, rel=1e-4)


@pytest.mark.parametrize("hops", [0, 1, 2, 3])
def test_a_neighbourhood_is_the_mean_over_its_hops(hops):
    module, batch, source, _ = made(f"method.hops={hops}")
    user, item = (batch.source.extra[name].numpy() for name in ("user", "item"))
    bought = np.zeros((USERS, 2 * ITEMS), bool)
    bought[user, item] = True
    with torch.no_grad():
        f = lambda vectors: module.bridge(torch.from_numpy(ball(vectors)).float()).double().numpy()  # noqa: E731
        of_users, of_items = f(source), f(module.encoder.items.weight.double().numpy())
        found = module.bridged(torch.arange(USERS)).numpy()
    total = of_users.copy()
    for _ in range(hops):
        nearer = np.zeros_like(of_items)
        for place in np.flatnonzero(bought.any(0)):
            nearer[place] = of_users[bought[:, place]].mean(0)
        of_users = np.stack([of_items[bought[one]].mean(0) for one in range(USERS)])
        of_items = nearer
        total += of_users
    np.testing.assert_allclose(found, total / (hops + 1), rtol=0, atol=1e-5)


def test_the_bridge_recovers_a_planted_map():
    random = np.random.default_rng(1)
    source = short(random, 0.1)
    matrix = random.normal(size=(WIDTH, WIDTH)) / 3
    target = source @ matrix.T
    module, batch = planted("sscdr", "method.unlabelled=0", "method.hops=0", target_vectors=target)
    put_source_vectors(module, source)
    learn_bridge(module, batch, steps=1500, lr=0.05)
    with torch.no_grad():
        np.testing.assert_allclose(module.bridge.weight, matrix, atol=0.01)
        np.testing.assert_allclose(module.vectors(torch.arange(USERS - COLD, USERS)), target[-COLD:], atol=0.01)


def test_items_alone_place_users_where_they_buy():
    """Without the loss of users: mapped items come nearer to the new vectors of those who bought them."""
    random = np.random.default_rng(2)
    kind = np.arange(USERS) % 2
    target = np.where(kind, 1, -1)[:, None] * np.full((USERS, WIDTH), 0.3) + short(random, 0.02)
    history = ITEMS + kind[:, None] * (ITEMS // 2) + random.integers(0, ITEMS // 2, (USERS, 3))
    module, batch = planted("sscdr", target_vectors=target, source_item=history)
    put_source_vectors(module, short(random))
    with torch.no_grad():  # which half an item is of can be read of its vector
        module.encoder.items.weight[ITEMS : ITEMS + ITEMS // 2, 0] = -3
        module.encoder.items.weight[ITEMS + ITEMS // 2 :, 0] = 3
    phase = module.phase(1)
    module._enter(phase)
    optimizer = torch.optim.Adam(module.bridge.parameters(), lr=0.02)
    for _ in range(300):
        optimizer.zero_grad()
        module.terms(Step(module, batch, phase))["unlabelled"].backward()
        optimizer.step()
    with torch.no_grad():
        mapped = module._mapped_items(torch.arange(ITEMS, 2 * ITEMS)).sum(1)
    assert (mapped[ITEMS // 2 :] > 0).float().mean() > 0.9
    assert (mapped[: ITEMS // 2] < 0).float().mean() > 0.9
