"""Bridges between shops against planted maps, loops in float64, and popularity for cold users."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from tests.contracts.chosen import proofs
from tl_research.config import compose
from tl_research.data.batch import PairedBatch, Samples
from tl_research.data.transforms.spec import InputSpec, InteractionSpec
from tl_research.errors import ConfigError
from tl_research.evaluation.measure import predict
from tl_research.interactions.log import Log
from tl_research.interactions.module import InteractionModule
from tl_research.interactions.training import Training
from tl_research.methods.bridging import Bridging
from tl_research.methods.build import build_method
from tl_research.methods.histories import Histories
from tl_research.methods.step import Step
from tl_research.metrics.preferences import AT
from tl_research.nn.counter_random import counted
from tl_research.outcomes import PreferenceOutcome
from tl_research.registry import METHODS
from tl_research.runs.experiment import run
from tl_research.runs.predictor import Predictor

USERS, ITEMS, WIDTH, COLD = 300, 80, 6, 60
BRIDGES = [entry.name for entry in METHODS.entries() if issubclass(entry.target, Bridging)]
SHOPS = {"name": "simulated_shops", "sources": ["old"], "target": "new"}


def side(user: np.ndarray, item: np.ndarray, domain: int) -> Samples:
    codes = {"user": torch.from_numpy(user), "item": torch.from_numpy(item)}
    rows = len(user)
    return Samples(codes, torch.ones(rows), torch.arange(rows), torch.full((rows,), domain), dict(codes))


def planted(method: str, *options: str, target_vectors: np.ndarray, source_item: np.ndarray | None = None):
    """A method whose tables are set by hand, and its batch.

    Every user has bought three items in the old shop, and all but the last `COLD` users eight in the new one: those
    that `target_vectors` rank highest.

    Args:
        method: name.
        options: overrides.
        target_vectors: (USERS, WIDTH); of the last `COLD` users the method learns nothing.
        source_item: (USERS, 3) items bought in the old shop, codes from ITEMS.
    """
    random = np.random.default_rng(0)
    words = [f"encoder.width={WIDTH}", f"method.name={method}", *options]
    config = compose({"data": SHOPS, "trainer": {"max_epochs": 2, "accelerator": "cpu"}}, words)
    torch.manual_seed(0)
    module = build_method(
        config, InputSpec(numeric=0, interactions=InteractionSpec(USERS, 2 * ITEMS)), PreferenceOutcome()
    )
    items = random.normal(size=(2 * ITEMS, WIDTH))
    best = np.argsort(-target_vectors @ items[:ITEMS].T, axis=1)[: USERS - COLD, :8]
    if source_item is None:
        source_item = ITEMS + random.integers(0, ITEMS, (USERS, 3))
    source = side(np.repeat(np.arange(USERS), source_item.shape[1]), source_item.ravel(), 0)
    target = side(np.repeat(np.arange(USERS - COLD), 8), best.ravel(), 1)
    module.prepare(source, target, target)
    with torch.no_grad():
        module.encoder.items.weight.copy_(torch.from_numpy(items))
        module.encoder.users.weight[USERS:] = torch.from_numpy(target_vectors).float()
        # No cold user's vector may be read: it would be seen.
        module.encoder.users.weight[2 * USERS - COLD :] = torch.nan
    return module, PairedBatch(source, target, target)


def put_source_vectors(module: Bridging, vectors: np.ndarray) -> None:
    with torch.no_grad():
        module.encoder.users.weight[:USERS] = torch.from_numpy(vectors).float()


def learn_bridge(module: Bridging, batch: PairedBatch, *, steps: int, lr: float) -> None:
    """Train in the phase of the bridge, as a run does, with a rate that falls to 0."""
    phase = module.phase(1)
    assert phase.name == "bridge"
    module._enter(phase)
    optimizer = torch.optim.Adam([part for part in module.parameters() if part.requires_grad], lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        sum(module.loss_terms(Step(module, batch, phase)).values()).backward()
        optimizer.step()
        schedule.step()
    module.eval()


@torch.no_grad()
def score_of_cold(module: Bridging, wanted: np.ndarray) -> float:
    """Mean over cold users of the correlation of their scores with those of `wanted` vectors (USERS, WIDTH)."""
    users = torch.arange(USERS - COLD, USERS)
    found = module.score_catalogue(users).double().numpy()
    items = module.encoder.items.weight[module.purchases.catalogue].double().numpy()
    return float(
        np.mean([np.corrcoef(line, own @ items.T)[0, 1] for line, own in zip(found, wanted[-COLD:], strict=True)])
    )


def test_a_linear_bridge_recovers_a_planted_map():
    random = np.random.default_rng(1)
    source, matrix, shift = (
        random.normal(size=(USERS, WIDTH)),
        random.normal(size=(WIDTH, WIDTH)),
        random.normal(size=WIDTH),
    )
    target = source @ matrix.T + shift
    module, batch = planted("emcdr", target_vectors=target)
    put_source_vectors(module, source)
    learn_bridge(module, batch, steps=1500, lr=0.05)
    np.testing.assert_allclose(module.bridge.weight.detach(), matrix, atol=1e-3)
    np.testing.assert_allclose(module.bridge.bias.detach(), shift, atol=1e-3)
    cold = torch.arange(USERS - COLD, USERS)
    with torch.no_grad():
        np.testing.assert_allclose(module.vectors(cold), target[-COLD:], atol=0.01)


def test_a_perceptron_bridges_what_no_line_does():
    random = np.random.default_rng(1)
    source = random.normal(size=(USERS, WIDTH))
    target = np.abs(source) - np.abs(source).mean(0)
    found = {}
    for bridge in ("linear", "mlp"):
        module, batch = planted("emcdr", f"method.bridge={bridge}", target_vectors=target)
        put_source_vectors(module, source)
        learn_bridge(module, batch, steps=600, lr=0.02)
        found[bridge] = score_of_cold(module, target)
    assert found["mlp"] > 0.6 > 0.3 > found["linear"], found


def planted_by_history() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Source and target vectors, and histories: who buys of the first half of the old shop's items has t = M s, the
    others have t = -M s, so that the best map for all is 0."""
    random = np.random.default_rng(2)
    kind = np.arange(USERS) % 2
    source, matrix = random.normal(size=(USERS, WIDTH)), random.normal(size=(WIDTH, WIDTH))
    history = ITEMS + kind[:, None] * (ITEMS // 2) + random.integers(0, ITEMS // 2, (USERS, 3))
    return source, np.where(kind, 1, -1)[:, None] * (source @ matrix.T), history


def test_a_personal_bridge_recovers_a_map_that_depends_on_the_history():
    source, target, history = planted_by_history()
    found = {}
    for method in ("emcdr", "ptupcdr"):
        module, batch = planted(method, target_vectors=target, source_item=history)
        put_source_vectors(module, source)
        with torch.no_grad():  # what a history is can be read of its items
            module.encoder.items.weight[ITEMS : ITEMS + ITEMS // 2] += 2
            module.encoder.items.weight[ITEMS + ITEMS // 2 :] -= 2
        learn_bridge(module, batch, steps=400, lr=0.01)
        found[method] = score_of_cold(module, target)
    assert found["ptupcdr"] > 0.8, found
    assert abs(found["emcdr"]) < 0.3, found


@pytest.mark.parametrize("blend", [0.0, 3.0])
def test_a_user_keeps_the_own_vector_by_purchases(blend):
    random = np.random.default_rng(3)
    source, target = random.normal(size=(2, USERS, WIDTH))
    module, _ = planted("emcdr", f"method.blend={blend}", target_vectors=target)
    put_source_vectors(module, source)
    module.histories.start[5:] -= module.histories.start[5] - module.histories.start[4]  # user 4: no history
    with torch.no_grad():
        found = module.vectors(torch.tensor([4, 0, USERS - 1]))
        bridged = module.bridged(torch.tensor([0, USERS - 1])).numpy()
    mean = target[: USERS - COLD].mean(0)
    wanted = [(8 * target[4] + blend * mean) / (8 + blend), (8 * target[0] + blend * bridged[0]) / (8 + blend)]
    np.testing.assert_allclose(found, [*wanted, bridged[1]], atol=1e-5)


def test_tables_are_of_the_shop_where_it_was_bought():
    """The loss of the first phase is that of a loop in float64 over both shops, each with vectors of its own."""
    random = np.random.default_rng(3)
    source, target = random.normal(size=(2, USERS, WIDTH))
    module, batch = planted("emcdr", "method.penalty=0.2", target_vectors=target)
    put_source_vectors(module, source)
    found = module.loss_terms(Step(module, batch, module.phase(0)))
    assert found.keys() == {"source_task", "target_task"}
    items = module.encoder.items.weight.detach().double().numpy()
    for name, rows, users in (("source_task", batch.source, source), ("target_task", batch.target_labeled, target)):
        losses = []
        drawn = module.draw(rows)
        for row, (user, item) in enumerate(zip(rows.extra["user"], rows.extra["item"], strict=True)):
            u, i, j = users[user], items[item], items[drawn[row, 0]]
            losses.append(np.log1p(np.exp(u @ j - u @ i)) + 0.1 * (u @ u + i @ i + j @ j))
        assert found[name].item() == pytest.approx(np.mean(losses) / 2, rel=1e-5)


def test_histories_are_the_latest_purchases():
    random = np.random.default_rng(4)
    logs = [
        Log(name, random.integers(0, 9, 40), random.integers(0, 30, 40), 12, 30, time=random.random(40))
        for name in ("one", "two", "new")
    ]
    histories = Histories()
    histories.learn(Training(logs[2], tuple(logs[:2])))
    joined = logs[0].joined(logs[1])
    items, is_item = histories.latest(torch.arange(12), 5)
    for user in range(12):
        rows = np.flatnonzero(joined.user == user)
        wanted = joined.item[rows[np.argsort(-joined.time[rows])]][:5]
        assert items[user][is_item[user]].tolist() == wanted.tolist()
        assert histories.has_source(torch.tensor([user])).item() == bool(len(rows))
    in_both = set(joined.user) & set(logs[2].user)
    assert set(histories.draw(2000, seed=1, step=2).tolist()) == in_both
    assert not torch.equal(histories.draw(9, seed=1, step=2), histories.draw(9, seed=1, step=3))


def softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(0, x)


def test_a_bridge_is_adapted_before_it_is_judged():
    """Of tmcdr: a step of the gradient of users a, written out in float64, then the loss of the others."""
    random = np.random.default_rng(5)
    source, target = random.normal(size=(2, USERS, WIDTH))
    module, batch = planted("tmcdr", "method.bridge_batch=50", "method.inner_lr=0.7", target_vectors=target)
    put_source_vectors(module, source)
    with torch.no_grad():
        users = module.histories.draw(50, seed=module.seed, step=0)
        differences = module._differences(users).double().numpy()[:, 0]
        weight, bias = (part.double().numpy() for part in module.bridge.parameters())
    adapts = counted(module.seed, users, 0, 0).numpy() % 2 == 0
    assert 10 < adapts.sum() < 40
    assert not set(users[adapts].tolist()) & set(users[~adapts].tolist())
    vectors = source[users]
    slope = 1 / (1 + np.exp(-((vectors @ weight.T + bias) * differences).sum(1)))  # of softplus
    pull = (slope[:, None] * differences)[adapts] / adapts.sum()
    weight, bias = weight - 0.7 * pull.T @ vectors[adapts], bias - 0.7 * pull.sum(0)
    wanted = softplus(((vectors @ weight.T + bias) * differences).sum(1))[~adapts].mean()
    loss = module.terms(Step(module, batch, module.phase(1)))["bridge"]
    assert loss.item() == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("dropped", [0.0, 0.5, 1.0])
def test_dropped_vectors_are_not_read(dropped):
    """Of dropoutnet: its loss is that of a loop in float64, in which each row has its own vector or none."""
    random = np.random.default_rng(6)
    source, target = random.normal(size=(2, USERS, WIDTH))
    module, batch = planted("dropoutnet", f"method.dropped={dropped}", target_vectors=target)
    put_source_vectors(module, source)
    rows = batch.target_labeled
    kept = counted(module.seed, rows.index, 0).numpy() >= dropped * 2**62
    assert kept.mean() == pytest.approx(1 - dropped, abs=0.05)
    items, drawn = module.encoder.items.weight.detach().double().numpy(), module.draw(rows)[:, 0].numpy()
    network = module.network.double()
    losses = []
    for row, (user, item) in enumerate(zip(*(rows.extra[name].numpy() for name in ("user", "item")), strict=True)):
        content = items[batch.source.extra["item"][batch.source.extra["user"] == user]].mean(0)
        own = target[user] if kept[row] else np.zeros(WIDTH)
        with torch.no_grad():
            found = network(torch.from_numpy(np.append(own, content))).numpy()
        losses += [((target[user] - found) @ items[place]) ** 2 for place in (item, drawn[row])]
    network.float()
    loss = module.terms(Step(module, batch, module.phase(1)))["bridge"]
    assert loss.item() == pytest.approx(np.mean(losses), rel=1e-4)


def test_attention_does_not_see_what_is_not_there():
    source, target, history = planted_by_history()
    module, _ = planted("ptupcdr", "method.history=5", target_vectors=target, source_item=history)
    put_source_vectors(module, source)
    items, is_item = module.histories.latest(torch.tensor([7]), 5)
    assert is_item.sum() == 3
    vectors = module.encoder.items.weight[items]
    with torch.no_grad():
        a = torch.softmax(module.attention.score(vectors[0, :3])[:, 0].double(), 0)
        wanted = (a[:, None] * vectors[0, :3].double()).sum(0)
        np.testing.assert_allclose(module.attention(vectors, is_item)[0], wanted, atol=1e-6)


def test_what_a_bridge_cannot_do_is_one_line():
    with pytest.raises(ConfigError, match=r"^method\.use_sources: got false; the bridge of method 'emcdr' "):
        compose({"data": SHOPS}, ["method.name=emcdr", "method.use_sources=false"])
    with pytest.raises(
        ConfigError, match=r"^encoder\.name: got 'embedding'; method 'ptupcdr' wants 'embedding_per_shop'"
    ):
        compose({"data": SHOPS}, ["method.name=ptupcdr", "encoder=embedding"])
    with pytest.raises(ConfigError, match=r"^trainer\.max_epochs: got 1, wants 2 or more: "):
        compose({"data": SHOPS, "trainer": {"max_epochs": 1}}, ["method.name=emcdr"])
    alone = Training(
        Log("new", np.zeros(2, int), np.arange(2), 3, 4), (Log("old", np.ones(2, int), np.arange(2), 3, 4),)
    )
    with pytest.raises(ValueError, match="no user has interactions in the target and in a source"):
        Histories().learn(alone)


def data_of(config) -> InteractionModule:
    data = InteractionModule(OmegaConf.to_object(config.data), seed=config.seed)
    data.setup()
    return data


@cache
def per_user(method: str, seed: int, kinship: float, output) -> np.ndarray:
    """NDCG@10 of each cold user of the new shop; repeated calls train once."""
    data = SHOPS | {"n_users": 600, "cold": True, "kinship": kinship, "batch_size": 1024}
    tree = {"data": data, "method": {"name": method}, "seed": seed, "output": str(output)}
    tree |= {"trainer": {"accelerator": "cpu"}, "wandb": {"mode": "disabled"}}
    if method != "popularity":
        tree |= {"encoder": {"name": "embedding_per_shop", "width": 16}, "optimizer": {"lr": 0.04}}
        tree["trainer"] |= {"max_epochs": 20, "checkpoint_every_seconds": None}
    config = compose(tree)
    record = run(config)
    module = Predictor.load(output / record.run_id).module
    rows = data_of(config).release_evaluation()["target_test"]
    _, outputs = predict(module, rows.inputs)
    ndcg, k = AT["ndcg10"]
    return ndcg(PreferenceOutcome().rows_of(outputs, rows.label), k)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folder of the runs that the methods are compared by: those of popularity are the same for all."""
    return tmp_path_factory.mktemp("runs")


@pytest.mark.slow
@pytest.mark.parametrize("kinship", [1.0, 0.0])
@pytest.mark.parametrize("method", proofs(BRIDGES))
def test_cold_users_gain_where_tastes_are_shared_and_only_there(method, kinship, runs):
    """The interval (95 %, of users) of the mean of three seeds, against popularity."""
    gains = []
    for seed in range(3):
        gains.append(per_user(method, seed, kinship, runs) - per_user("popularity", seed, kinship, runs))
    mean = np.mean([gain.mean() for gain in gains])
    error = np.sqrt(sum(gain.var(ddof=1) / len(gain) for gain in gains)) / len(gains)
    low = mean - 1.96 * error
    assert (low > 0) == (kinship == 1), (mean, low)
