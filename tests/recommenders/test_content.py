"""Attributes of items: the matrix against scikit-learn, losses against loops in float64, gains on planted shops."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
import torch.distributed as dist
from omegaconf import OmegaConf
from sklearn.preprocessing import StandardScaler

from tests.contracts.chosen import proofs
from tests.two_ranks import run_two_ranks
from tl_research.config import compose, run_id
from tl_research.errors import ConfigError, DataError
from tl_research.evaluation.measure import predict
from tl_research.interactions.catalog.simulated_shops import SimulatedShopsConfig, attributes_of, draw
from tl_research.interactions.content import content_of, read_attributes
from tl_research.interactions.module import InteractionModule
from tl_research.methods.build import build_method
from tl_research.methods.step import Step
from tl_research.metrics.preferences import AT
from tl_research.outcomes import PreferenceOutcome
from tl_research.recommend.of_run import of_run
from tl_research.runs.experiment import run
from tl_research.runs.predictor import Predictor

SHOPS = {"name": "simulated_shops", "sources": ["old"], "target": "new"}
SMALL = SHOPS | {"n_users": 60, "n_items": 30, "attribute_noise": 0.5, "batch_size": 4096}
FAST = {"trainer": {"max_epochs": 2, "accelerator": "cpu", "checkpoint_every_seconds": None}}
IDS = np.array(["007", "7", "b", "c", "d"], dtype=object)


def items_file(folder, **columns):
    path = folder / "items.csv"
    frame = {"item": ["007", "7", "b", "c"], "price": [1.0, 2.0, 3.0, 10.0], "kind": ["x", "y", "x", "z"]}
    pd.DataFrame(frame | columns).to_csv(path, index=False)
    return str(path)


# The matrix


def test_numbers_are_standardised_and_categories_are_columns_by_the_items_that_train(tmp_path):
    attributes = read_attributes(items_file(tmp_path), "item", IDS)
    assert attributes.item.tolist() == [0, 1, 2, 3]
    content = content_of(attributes, 5, np.array([0, 1, 2, 4]))
    train = StandardScaler().fit([[1.0], [2.0], [3.0]])
    expected = train.transform([[1.0], [2.0], [3.0], [10.0]])[:, 0]
    np.testing.assert_allclose(content.matrix[:4, 0], expected, rtol=1e-5)
    # x and y train; z does not, and is no column.
    assert content.matrix[:, 1:].tolist() == [[1, 0], [0, 1], [1, 0], [0, 0], [0, 0]]
    assert not content.matrix[4].any()
    assert [line for line in content.remarks if "1 of 4 items that train have no row" in line]


def test_texts_become_columns(tmp_path):
    words = ["red wool coat for cold days", "blue wool hat", "red summer shoe for hot days", "blue summer shoe"]
    frame = pd.DataFrame({"item": [f"p{i}" for i in range(80)], "title": [f"{words[i % 4]} {i}" for i in range(80)]})
    frame.to_csv(tmp_path / "items.csv", index=False)
    ids = np.array(frame["item"], dtype=object)
    content = content_of(read_attributes(str(tmp_path / "items.csv"), "item", ids), 80, np.arange(80))
    matrix = torch.nn.functional.normalize(content.matrix, dim=1)
    same, other = matrix[0] @ matrix[4], matrix[0] @ matrix[1]
    assert same > other + 0.2


def test_what_is_left_out_is_counted(tmp_path):
    path = items_file(tmp_path, item=["007", "7", "7", "elsewhere"])
    attributes = read_attributes(path, "item", IDS)
    assert attributes.item.tolist() == [0, 1]
    assert attributes.table["price"].tolist() == [1.0, 2.0]
    said = "\n".join(attributes.remarks)
    assert "1 rows repeat an item; the first row of each is kept" in said
    assert "1 items have no interaction and are left out" in said


def test_mistakes_are_one_error_each(tmp_path):
    with pytest.raises(DataError, match=r"none\.csv: there is no such file"):
        read_attributes(str(tmp_path / "none.csv"), "item", IDS)
    with pytest.raises(DataError, match="has no column 'sku'"):
        read_attributes(items_file(tmp_path), "sku", IDS)
    with pytest.raises(DataError, match=r"row 2, column 'item': no id"):
        read_attributes(items_file(tmp_path, item=["007", None, "b", "c"]), "item", IDS)
    with pytest.raises(DataError, match=r"column 'item': none of its 4 ids is an item of the interactions"):
        read_attributes(items_file(tmp_path), "item", np.array(["q"], dtype=object))
    twice = np.array(["007", "b", "b"], dtype=object)
    with pytest.raises(DataError, match=r"'b' stands for another item in each shop \(1 such ids\)"):
        read_attributes(items_file(tmp_path), "item", twice)
    with pytest.raises(DataError, match="no item with a training interaction has a row"):
        content_of(read_attributes(items_file(tmp_path), "item", IDS), 5, np.array([4]))
    for method in ("two_tower", "vbpr"):
        with pytest.raises(ConfigError, match=rf"^method\.name: '{method}' reads attributes of items, and the data"):
            prepared(method, attribute_noise=None)
    with pytest.raises(ConfigError, match=r"^data\.attribute_noise: got -1"):
        compose({"data": SMALL | {"attribute_noise": -1}}, ["method.name=two_tower"])


def test_simulated_attributes_say_the_tastes_and_leave_the_purchases_alone():
    plain, described = (SimulatedShopsConfig(**SHOPS, attribute_noise=noise) for noise in (None, 0.1))
    assert attributes_of(plain, 0) is None
    for one, other in zip(draw(plain, 0), draw(described, 0), strict=True):
        assert np.array_equal(one.item, other.item)
    table = attributes_of(described, 0).table.to_numpy()
    assert table.shape == (600, 12)
    # Six tastes and little noise: the first six directions have nearly all of the variance.
    values = np.linalg.svd(table[:300] - table[:300].mean(0), compute_uv=False)
    assert (values[6:] ** 2).sum() < 0.02 * (values**2).sum()


@pytest.mark.parametrize(("overlap", "both"), [(0.0, 0), (1.0, 400), (0.5, 200)])
def test_the_overlap_is_that_of_the_users(overlap, both):
    old, new = draw(SimulatedShopsConfig(**SHOPS, n_users=400, overlap=overlap), 0)
    assert abs(len(np.intersect1d(old.user, new.user)) - both) <= 25 * (0 < overlap < 1)
    assert len(np.union1d(old.user, new.user)) == 400


# The losses


def prepared(method: str, *words: str, **data):
    config = compose({"data": SMALL | data, "encoder": {"width": 5}, **FAST}, [f"method.name={method}", *words])
    module_data = InteractionModule(OmegaConf.to_object(config.data), seed=0)
    module_data.setup()
    torch.manual_seed(0)
    module = build_method(config, module_data.spec, module_data.outcome).double()
    module.prepare(*(module_data.sides[side] for side in ("source", "target", "target_labeled")))
    return module, module_data


def first_losses(module, data, part=slice(None)):
    """The first batch's rows of the target, and the loss of each."""
    phase = module.phase(0)
    module._enter(phase)
    batch = next(iter(data.train_dataloader())).target_labeled.map(lambda tensor: tensor[part])
    module._tables = None
    rows = module.encode(batch)
    return batch, module.row_losses(rows)


def test_the_softmax_loss_equals_a_loop_in_float64():
    module, data = prepared("two_tower", "method.temperature=0.3")
    batch, losses = first_losses(module, data, slice(0, 40))
    user, item = batch.extra["user"].numpy(), batch.extra["item"].numpy()
    assert len(np.unique(item)) < len(item)
    vectors = module.encoder.users.weight.detach().numpy()
    tower = module.tower(module.content).detach().numpy()
    sold = data.sides["target_labeled"].extra["item"].numpy()
    expected = []
    for row in range(40):
        score, own = [], 0.0
        for other in range(40):
            if other != row and item[other] == item[row]:
                continue
            p, g = vectors[user[row]], tower[item[other]]
            cosine = p @ g / np.linalg.norm(p) / np.linalg.norm(g)
            score.append(cosine / 0.3 - np.log((sold == item[other]).mean()))
            own = score[-1] if other == row else own
        expected.append(np.log(np.exp(score).sum()) - own)
    np.testing.assert_allclose(losses.detach(), expected, rtol=1e-5)


def test_items_of_the_sources_have_their_own_shares():
    module, data = prepared("two_tower")
    old, new = (data.sides[side].extra["item"].numpy() for side in ("source", "target_labeled"))
    for place, items in enumerate((old, new)):
        counts = np.bincount(items, minlength=60)
        expected = np.log(counts[counts > 0] / len(items))
        np.testing.assert_allclose(module.shares.log_q[place][torch.from_numpy(counts > 0)], expected, rtol=1e-5)


def gradient_of(part: slice) -> dict[str, torch.Tensor]:
    module, data = prepared("two_tower")
    phase = module.phase(0)
    module._enter(phase)
    batch = next(iter(data.train_dataloader()))
    batch = type(batch)(*(side and side.map(lambda tensor: tensor[part]) for side in batch))
    sum(module.loss_terms(Step(module, batch, phase)).values()).backward()
    return {name: parameter.grad for name, parameter in module.named_parameters()}


def _rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    # The loader would share the batch out by itself.
    whole = {}
    module, data = prepared("two_tower")
    phase = module.phase(0)
    module._enter(phase)
    batch = next(iter(data.train_dataloader()))
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    part = slice(0, 40) if rank == 0 else slice(40, 80)
    batch = type(batch)(*(side and side.map(lambda tensor: tensor[part]) for side in batch))
    sum(module.loss_terms(Step(module, batch, phase)).values()).backward()
    for name, parameter in module.named_parameters():
        dist.all_reduce(parameter.grad)
        whole[name] = parameter.grad / 2
    if rank == 0:
        torch.save(whole, f"{folder}/gradient.pt")
    dist.barrier()
    dist.destroy_process_group()


def test_two_processes_have_the_negatives_and_the_gradient_of_one(tmp_path):
    run_two_ranks(_rank, str(tmp_path))
    found, expected = torch.load(tmp_path / "gradient.pt", weights_only=True), gradient_of(slice(0, 80))
    half = gradient_of(slice(0, 40))
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-10, msg=name)
        assert not torch.allclose(half[name], value, rtol=1e-2, atol=0), name


def test_vbpr_scores_as_a_loop_and_new_items_by_their_attributes_alone():
    module, _ = prepared("vbpr", "method.content_width=3")
    with torch.no_grad():
        module.bias.normal_()
        module.sold.sold[31] = 0.0
    module.eval()
    found = module.score_catalogue(torch.tensor([4]))[0].detach()
    p, t = module.encoder.users.weight[4], module.tastes.weight[4]
    for place, item in enumerate(module.purchases.catalogue.tolist()):
        a = module.content[item]
        by_content = t @ (module.project.weight @ a) + module.common.weight[0] @ a
        by_id = module.bias[item, 0] + p @ module.encoder.items.weight[item]
        torch.testing.assert_close(found[place], by_content + (by_id if item != 31 else 0))


# Runs of files


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Two shops without a common user or item, whose buyers like what is near a taste of theirs; and their items."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    tables = []
    for shop, (users, items, mean) in {"old": (200, 60, 12), "new": (120, 60, 6)}.items():
        place, taste = random.normal(size=(items, 2)), random.normal(size=(users, 2))
        score = 3 * taste @ place.T + random.gumbel(size=(users, items))
        bought = np.argsort(-score, axis=1)[:, :mean]
        rows = [(f"{shop} u{u}", f"{shop} i{i}", t) for u, line in enumerate(bought) for t, i in enumerate(line)]
        frame = pd.DataFrame(rows, columns=["user", "item", "ts"])
        frame["ts"] = random.permutation(len(frame))
        frame.to_csv(f"{shop}.csv", index=False)
        ids = [f"{shop} i{i}" for i in range(items)]
        tables.append(pd.DataFrame({"item": ids, "length": place[:, 0], "width": place[:, 1]}))
    pd.concat(tables).to_parquet("items.parquet")
    return tmp_path


def of_files(method: str, *words: str):
    tree = {
        "data": {"name": "interactions", "sources": ["old.csv"], "target": "new.csv", "batch_size": 256},
        "trainer": FAST["trainer"] | {"max_epochs": 20},
        "optimizer": {"lr": 0.01},
        "wandb": {"mode": "disabled"},
    }
    return compose(tree, [f"method.name={method}", *words])


@pytest.mark.parametrize("method", ["two_tower", "vbpr"])
def test_new_items_are_recommended_by_their_attributes_and_without_the_file(method, files):
    """Nobody has bought the held-out items, in either shop: all that is known of them are two numbers."""
    config = of_files(method, "data.items=items.parquet", "data.cold=items", "encoder.width=8")
    record = run(config)
    ndcg = record.metrics[record.selection_rule]["target_test/ndcg10"]
    popular = run(of_files("popularity", "data.items=items.parquet", "data.cold=items"))
    assert any("by the attributes of items alone" in line for line in record.data["remarks"])
    assert record.data["attributes"] == {"columns": 2, "described": 120}
    assert ndcg > 1.3 * popular.metrics[popular.selection_rule]["target_test/ndcg10"]
    with pytest.raises(DataError, match=r"data\.items"):
        run(of_files("popularity", "data.cold=items"))
    (files / "items.parquet").unlink()
    lists = of_run(files / "runs" / record.run_id)
    assert len(lists.recommender.catalogue) == 60
    scores = lists.recommender.score(np.arange(3))
    assert scores.shape == (3, 60)
    assert np.isfinite(scores).all()


def test_the_content_of_the_file_is_in_the_name_of_the_run(files):
    first = run_id(of_files("two_tower", "data.items=items.parquet"))
    assert first != run_id(of_files("two_tower"))
    pd.read_parquet("items.parquet").head(60).to_parquet("items.parquet")
    assert run_id(of_files("two_tower", "data.items=items.parquet")) != first


# Planted attributes


def ndcg_of(config) -> np.ndarray:
    """NDCG@10 of each user that tests."""
    record = run(config)
    module = Predictor.load(f"{config.output}/{record.run_id}").module
    rows = InteractionModule(OmegaConf.to_object(config.data), seed=config.seed)
    rows = rows.release_evaluation()["target_test"]
    _, outputs = predict(module, rows.inputs)
    ndcg, k = AT["ndcg10"]
    return ndcg(PreferenceOutcome().rows_of(outputs, rows.label), k)


def low_of(gains: list[np.ndarray]) -> float:
    """The lower end of the 95 % interval, over users, of the mean gain over seeds."""
    mean = np.mean([gain.mean() for gain in gains])
    return mean - 1.96 * np.sqrt(sum(gain.var(ddof=1) / len(gain) for gain in gains)) / len(gains)


@pytest.mark.slow
def test_two_tower_beats_popularity_where_attributes_say_the_tastes(tmp_path):
    """Between shops that share neither users nor items."""

    def per_user(method: str, seed: int) -> np.ndarray:
        data = SHOPS | {"n_users": 600, "n_items": 150, "overlap": 0.0, "attribute_noise": 0.5, "batch_size": 512}
        tree = {"data": data, "seed": seed, "output": str(tmp_path), "wandb": {"mode": "disabled"}}
        tree |= {"trainer": FAST["trainer"] | {"max_epochs": 10}, "optimizer": {"lr": 0.02}}
        return ndcg_of(compose(tree, [f"method.name={method}"]))

    assert low_of([per_user("two_tower", seed) - per_user("popularity", seed) for seed in range(4)]) > 0


def write_shops(seed: int, kinship: float) -> None:
    """Two shops without a common user or item. The buyers of a shop agree on what attributes are worth to them.

    With kinship 1 those of both shops agree; with 0 what they want in one shop says nothing of the other.
    """
    random, columns = np.random.default_rng([seed, 3]), 20
    size = 1.5 / np.sqrt(columns)
    old, own = size * random.normal(size=columns), size * random.normal(size=columns)
    wanted = {"old": old, "new": np.sqrt(kinship) * old + np.sqrt(1 - kinship) * own}
    tables = []
    for shop, (users, items, amount) in {"old": (200, 150, 15), "new": (80, 150, 4)}.items():
        attributes = random.normal(size=(items, columns))
        tastes = wanted[shop] + 0.3 * size * random.normal(size=(users, columns))
        order = np.argsort(-(tastes @ attributes.T + random.gumbel(size=(users, items))), axis=1)
        bought = random.permuted(order[:, :amount], axis=1)
        rows = [(f"{shop} u{user}", f"{shop} i{item}") for user, line in enumerate(bought) for item in line]
        pd.DataFrame(rows, columns=["user", "item"]).to_csv(f"{shop}.csv", index=False)
        ids = [f"{shop} i{item}" for item in range(items)]
        names = [f"a{place}" for place in range(columns)]
        tables.append(pd.DataFrame(attributes, columns=names).assign(item=ids))
    pd.concat(tables).to_csv("items.csv", index=False)


@pytest.mark.slow
@pytest.mark.parametrize(("cold", "kinship", "seeds"), [("none", 1.0, 6), ("none", 0.0, 3), ("items", 1.0, 3)])
def test_two_tower_gains_by_attributes_from_a_shop_that_shares_nothing_else(
    cold, kinship, seeds, tmp_path, monkeypatch
):
    """Against itself on the new shop alone, for known and for new items: where the old shop's buyers want the same."""
    monkeypatch.chdir(tmp_path)
    gains = []
    for seed in range(seeds):
        write_shops(seed, kinship)
        words = ["data.items=items.csv", f"data.cold={cold}", "trainer.max_epochs=15", f"seed={seed}"]
        ours, alone = (
            ndcg_of(of_files("two_tower", *words, f"method.use_sources={sources}")) for sources in ("true", "false")
        )
        gains.append(ours - alone)
    assert (low_of(gains) > 0) == (kinship == 1), low_of(gains)


@pytest.mark.slow
@pytest.mark.skipif("vbpr" not in proofs(("two_tower", "vbpr")), reason="of two_tower, and of what has changed")
@pytest.mark.parametrize(("kinship", "seeds"), [(1.0, 6), (0.0, 3)])
def test_vbpr_gains_by_attributes_from_a_shop_that_shares_nothing_else(kinship, seeds, tmp_path, monkeypatch):
    """Against itself on the new shop alone: where the old shop's buyers want the same, and only there."""
    monkeypatch.chdir(tmp_path)
    gains = []
    for seed in range(seeds):
        write_shops(seed, kinship)
        words = ["data.items=items.csv", "method.penalty=0.1", "trainer.max_epochs=15", f"seed={seed}"]
        ours, alone = (
            ndcg_of(of_files("vbpr", *words, f"method.use_sources={sources}")) for sources in ("true", "false")
        )
        gains.append(ours - alone)
    assert (low_of(gains) > 0) == (kinship == 1), low_of(gains)
