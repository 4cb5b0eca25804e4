"""Joint recommenders on planted shops: the gain of a shared taste, and what they are without anything shared."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import t

from tests.contracts.test_recommending import config_of, first_step, prepared
from tl_research.config import compose
from tl_research.errors import ConfigError, DataError
from tl_research.interactions.log import Log
from tl_research.interactions.training import Training
from tl_research.methods.build import build_method
from tl_research.methods.relation.bitgcf import taken
from tl_research.methods.step import Step
from tl_research.runs.experiment import run
from tl_research.storage.checkpoints import load_model_file

SEEDS = (0, 1, 2)
#: Joint method -> the same without the other shop.
ALONE = {
    "cmf": ("bpr_mf", "method.use_sources=false"),
    "bitgcf": ("lightgcn", "method.use_sources=false"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Of the runs, which a reference of two methods makes once."""
    return tmp_path_factory.mktemp("runs")


def ndcg(folder, kinship: float, seed: int, method: str, *words: str) -> float:
    words = (f"seed={seed}", "trainer.max_epochs=15", "optimizer.lr=0.02", "method.penalty=0.02", *words)
    shops = {"n_users": 400, "n_items": 150, "batch_size": 1024, "kinship": kinship}
    record = run(config_of(method, folder, *words, **shops))
    return record.metrics[record.selection_rule]["target_test/ndcg10"]


def gain(folder, kinship: float, method: tuple[str, ...], reference: tuple[str, ...]) -> tuple[float, float]:
    """Mean gain of a method over a reference, and half of its 95 % interval over the seeds."""
    gains = [ndcg(folder, kinship, seed, *method) - ndcg(folder, kinship, seed, *reference) for seed in SEEDS]
    return np.mean(gains), t.ppf(0.975, len(gains) - 1) * np.std(gains, ddof=1) / len(gains) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize("method", ALONE)
def test_a_shared_taste_helps_over_the_target_alone(method, folder):
    mean, half = gain(folder, 1.0, (method,), ALONE["cmf"])
    assert mean - half > 0, f"{mean} ± {half}"


@pytest.mark.slow
@pytest.mark.parametrize("method", ALONE)
def test_other_tastes_do_not_help_over_the_same_method_alone(method, folder):
    mean, half = gain(folder, 0.0, (method,), ALONE[method])
    assert mean - half <= 0, f"{mean} ± {half}"


def weights_of(folder, method: str, *words: str) -> dict[str, torch.Tensor]:
    record = run(config_of(method, folder, "trainer.max_epochs=2", "selection.rule=last", *words))
    return load_model_file(folder / record.run_id)["model"]


def test_cmf_without_weight_is_bpr_mf_on_the_target_alone(tmp_path):
    expected = weights_of(tmp_path, "bpr_mf", "method.use_sources=false")
    found = weights_of(tmp_path, "cmf", "method.weights=[0]")
    joint = weights_of(tmp_path, "cmf", "method.weights=[1]")
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert not torch.equal(joint["encoder.users.weight"], expected["encoder.users.weight"])


def test_cmf_with_weight_one_is_bpr_mf_on_all_domains(tmp_path):
    expected = weights_of(tmp_path, "bpr_mf")
    found = weights_of(tmp_path, "cmf", "method.weights=[1]")
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_cmf_weighs_the_rows_of_each_domain_by_its_own_number():
    words = ("data.name=xmarket", "data.sources=[uk,fr]", "data.target=de", "encoder=embedding", "method.name=cmf")
    with pytest.raises(ConfigError, match=r"^method\.weights: got \[1.0, 2.0, 3.0\], wants one number for all"):
        compose({}, [*words, "method.weights=[1,2,3]"])
    module, data = prepared(config_of("cmf", "unused", "method.weights=[0.25]"))
    step = first_step(module, data, 0)
    rows = step.local("source")
    assert module.source_weights(step).tolist() == [0.25] * len(rows.label)
    module.config.weights = [0.5, 2.0]
    rows.domain[::2] = 1
    assert module.source_weights(step).tolist() == [(2.0, 0.5)[row % 2] for row in range(len(rows.label))]
    term = module.loss_terms(Step(module, step.batch, step.phase))["source_task"]
    module._tables = module.tables()
    expected = (module.source_weights(step) * module.row_losses(rows)).mean() / 2
    assert term.item() == pytest.approx(expected.item(), rel=1e-5)


def test_lightgcn_without_layers_is_bpr_mf(tmp_path):
    expected = weights_of(tmp_path, "bpr_mf")
    found = weights_of(tmp_path, "lightgcn", "method.layers=0")
    for name in ("encoder.users.weight", "encoder.items.weight"):
        torch.testing.assert_close(found[name], expected[name], rtol=0, atol=1e-6)


def shops(*, overlap: int) -> Training:
    """Two shops of 12 users and 10 items each, of which the first users have bought in both."""
    random = np.random.default_rng(0)
    logs = []
    for place, name in enumerate(("old", "new")):
        bought = random.random((24, 20)) < 0.3
        known = np.zeros(24, bool)
        known[place * (12 - overlap) : place * (12 - overlap) + 12] = True
        user, item = np.nonzero(bought[:, :10] & known[:, None])
        logs.append(Log(name, user, item + 10 * place, 24, 20))
    return Training(logs[1], (logs[0],))


def tables_of(method: str, training: Training, weights, *words: str):
    """Tables in float64 of a method whose encoder has given weights."""
    data = {"n_users": 24, "n_items": 20}
    config = config_of(method, "unused", *words, **data)
    _, known = prepared(config)
    module = build_method(config, known.spec, known.outcome)
    module.learn(training)
    for table, weight in zip((module.encoder.users, module.encoder.items), weights, strict=True):
        table.weight.data = weight.clone()
    return module


def random_vectors(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(24, 8, generator=draw), torch.randn(40, 8, generator=draw)


def padded(training: Training) -> Training:
    """The logs in the 40 item codes of the simulated shops."""
    logs = [Log(log.name, log.user, log.item, 24, 40) for log in (training.target, *training.sources)]
    return Training(logs[0], tuple(logs[1:]))


def bitgcf_and_its_parts(overlap: int, *words: str):
    training = padded(shops(overlap=overlap))
    module = tables_of("bitgcf", training, random_vectors(1), *words)
    for table, weight in zip((module.of_sources.users, module.of_sources.items), random_vectors(2), strict=True):
        table.weight.data = weight.clone()
    return training, module


def test_bitgcf_without_shared_users_is_two_lightgcns():
    training, module = bitgcf_and_its_parts(0)
    found = module.tables()
    (old,) = training.sources
    for place, (log, seed) in enumerate(((old, 2), (training.target, 1))):
        alone = tables_of("lightgcn", Training(log), random_vectors(seed), "method.use_sources=false").tables()
        users, items = log.own_users(), log.own_items()
        torch.testing.assert_close(found.users[24 * place + users], alone.users[users], rtol=0, atol=1e-6)
        torch.testing.assert_close(found.items[40 * place + items], alone.items[items], rtol=0, atol=1e-6)


def test_bitgcf_equals_loops_in_float64():
    training, module = bitgcf_and_its_parts(6, "method.layers=2", "method.keep=0.7")
    logs = (*training.sources, training.target)
    bought = [log.matrix().toarray().astype(float) for log in logs]
    vectors = [[part.double().numpy() for part in random_vectors(seed)] for seed in (2, 1)]
    sums = [[part.copy() for part in side] for side in vectors]
    for _ in range(2):
        layer = [[np.zeros_like(part) for part in side] for side in vectors]
        for side, matrix in enumerate(bought):
            for user, item in np.argwhere(matrix):
                weight = 1 / np.sqrt(matrix[user].sum() * matrix[:, item].sum())
                layer[side][0][user] += weight * vectors[side][1][item]
                layer[side][1][item] += weight * vectors[side][0][user]
        vectors = [[part.copy() for part in side] for side in layer]
        for side, other in ((0, 1), (1, 0)):
            for kind, axis in ((0, 1), (1, 0)):
                own, theirs = bought[side].sum(axis), bought[other].sum(axis)
                for row in np.flatnonzero(theirs):
                    mine, your = layer[side][kind][row], layer[other][kind][row]
                    of_degrees = (own[row] * mine + theirs[row] * your) / (own[row] + theirs[row])
                    vectors[side][kind][row] = (0.7 * mine + 0.3 * your) / 2 + of_degrees / 2
        for side in (0, 1):
            sums[side] = [total + part for total, part in zip(sums[side], vectors[side], strict=True)]
    found = module.tables()
    expected = [np.concatenate([sums[0][kind], sums[1][kind]]) / 3 for kind in (0, 1)]
    for tensor, array in zip(found, expected, strict=True):
        np.testing.assert_allclose(tensor.detach().numpy(), array, rtol=0, atol=1e-5)


def test_a_domain_takes_half_of_the_other_s_share_and_of_what_it_does_not_keep():
    own, other = torch.tensor([3.0, 0.0, 5.0, 0.0]), torch.tensor([1.0, 4.0, 0.0, 0.0])
    expected = torch.tensor([1 - (0.8 + 0.75) / 2, 1 - 0.8 / 2, 0.0, 0.0])
    torch.testing.assert_close(taken(own, other, 0.8)[:, 0], expected)


def test_conet_scores_the_catalogue_as_its_pairs_and_crosses_in_prediction():
    module, data = prepared(config_of("conet"))
    side = data.sides["target_labeled"].rows(torch.arange(50))
    with torch.no_grad():
        scores = module.score_catalogue(side.inputs["user"])
        place = module.purchases.place_in_catalogue(side.inputs["item"])
        pairs = module.encode(side).logits[:, 0]
        torch.testing.assert_close(scores[torch.arange(50), place], pairs, rtol=1e-4, atol=1e-6)
        module.towers.cross[0].weight.zero_()
        assert not torch.allclose(module.score_catalogue(side.inputs["user"]), scores)
        # Without the crossing units the target's tower is a network of its own.
        users, items = module.encoder.users(side.inputs["user"]), module.encoder.items(side.inputs["item"])
        hidden = F.relu(module.towers.of_user[1](users) + module.towers.of_item[1](items))
        last = F.relu(module.towers.own[1][0](hidden))
        torch.testing.assert_close(module.encode(side).logits[:, 0], last @ module.towers.out[1])


def test_sasrec_reads_what_was_bought_before_and_no_more():
    module, data = prepared(config_of("sasrec", "unused", "method.length=4"))
    rows = data.sides["target_labeled"]
    user, item, time = (rows.extra[name].numpy() for name in ("user", "item", "time"))
    at = torch.arange(rows.size)
    found, is_there = module.sequences.before(rows.inputs["user"], module.sequences.place[at], 4)
    for row in range(rows.size):
        earlier = np.flatnonzero((user == user[row]) & (time < time[row]))
        expected = item[earlier[np.argsort(time[earlier])]][-4:]
        assert found[row][is_there[row]].tolist() == expected.tolist()


def test_sasrec_reads_both_shops_in_one_sequence():
    module, data = prepared(config_of("sasrec", "unused", "method.use_sources=true", "method.length=50"))
    sides = [data.sides[name] for name in ("source", "target_labeled")]
    user, item, time = (
        np.concatenate([side.extra[name].numpy() for side in sides]) for name in ("user", "item", "time")
    )
    row = sides[0].size + 7
    place = module.sequences.place[torch.tensor([row])]
    found, is_there = module.sequences.before(torch.tensor([user[row]]), place, 50)
    earlier = np.flatnonzero((user == user[row]) & (time < time[row]))
    assert found[is_there].tolist() == item[earlier[np.argsort(time[earlier])]].tolist()


@pytest.mark.slow
def test_sasrec_learns_an_order_that_bpr_mf_cannot(tmp_path):
    """Items go round a ring: the next one follows from the last one alone."""
    random = np.random.default_rng(0)
    users, items = 200, 30
    for name, shift in (("old", 0), ("new", 30)):
        begin = random.integers(0, items, users)
        lines = ["user,item,time"]
        lines += [f"u{u},i{shift + (begin[u] + k) % items},{k}" for u in range(users) for k in range(6)]
        (tmp_path / f"{name}.csv").write_text("\n".join(lines))

    files = {"sources": [str(tmp_path / "old.csv")], "target": str(tmp_path / "new.csv"), "time": "time"}

    def found(method: str) -> float:
        tree = {
            "data": {"name": "interactions", "batch_size": 256} | files,
            "method": {"name": method, "use_sources": False},
            "optimizer": {"lr": 0.01},
            "trainer": {"max_epochs": 15, "accelerator": "cpu", "checkpoint_every_seconds": None},
            "wandb": {"mode": "disabled"},
        }
        record = run(compose(tree, [f"output={tmp_path / 'runs'}"]))
        return record.metrics["last"]["target_val/ndcg10"]  # the next item; the test item is the one behind it

    sequence, sets = found("sasrec"), found("bpr_mf")
    assert sequence > 0.8, sequence
    assert sets < sequence - 0.1, sets


WITHOUT_TIMES = [
    ({"name": "amazon_cdr", "sources": ["electronic"], "target": "phone"}, "data.name: 'amazon_cdr' has no"),
    ({"name": "douban", "sources": ["music"], "target": "book"}, "data.name: 'douban' has no"),
    ({"name": "interactions", "sources": ["old.csv"], "target": "new.csv"}, "data.time: names no column of data.name"),
]


@pytest.mark.parametrize(("data", "message"), WITHOUT_TIMES, ids=[data["name"] for data, _ in WITHOUT_TIMES])
def test_data_without_times_are_named_before_anything_is_read(data, message):
    with pytest.raises(ConfigError, match=f"^{message}.*and method 'sasrec' orders purchases by their time"):
        compose({"data": data, "encoder": {"name": "embedding"}}, ["method.name=sasrec"])


def test_a_log_without_times_is_named():
    module, _ = prepared(config_of("sasrec"))
    with pytest.raises(DataError, match=r"^method\.name: 'new' has no times, and method 'sasrec' orders purchases"):
        module.learn(padded(shops(overlap=6)))
