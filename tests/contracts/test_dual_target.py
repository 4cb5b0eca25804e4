"""`data.dual_target`: both domains are measured in one run, and nothing that is held out of either trains."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.contracts.chosen import chosen
from tests.contracts.test_recommending import ALL, config_of, data_of, prepared
from tl_research.config import compose, run_id
from tl_research.errors import ConfigError
from tl_research.evaluation.measure import predict
from tl_research.interactions.catalog import simulated_shops
from tl_research.interactions.ranks import full_ranks
from tl_research.interactions.splits import leave_last_out
from tl_research.metrics.preferences import AT
from tl_research.recommend.of_run import of_run
from tl_research.registry import DATASETS, METHODS
from tl_research.runs.experiment import run
from tl_research.runs.predictor import Predictor
from tl_research.storage.checkpoints import load_model_file

BOTH = [name for name in ALL if METHODS.get(name).target.ranks_sources]
TARGET_ALONE = [name for name in ALL if name not in BOTH]


def dual(method: str, output="unused", *words: str, **data):
    return config_of(method, output, "data.dual_target=true", *words, **data)


def test_it_is_no_part_of_the_id_of_a_run_without_it():
    assert run_id(config_of("bpr_mf", "unused", "data.dual_target=false")) == run_id(config_of("bpr_mf"))
    assert run_id(dual("bpr_mf")) != run_id(config_of("bpr_mf"))


def test_the_sides_are_what_is_not_held_out():
    data = data_of(dual("bpr_mf"))
    logs = simulated_shops.draw(data.config, 0)
    splits = data.release_evaluation()
    for number, (log, side) in enumerate(zip(logs, ("source", "target_labeled"), strict=True)):
        split = leave_last_out(log, seed=0)
        rows = data.sides[side]
        assert (rows.domain == number).all()
        for part, found in (
            (split.train, rows),
            (split.val, splits["target_val"]),
            (split.test, splits["target_test"]),
        ):
            own = found.domain == number
            pairs = zip(found.inputs["user"][own].tolist(), found.inputs["item"][own].tolist(), strict=True)
            assert {*pairs} == {*zip(log.user[part].tolist(), log.item[part].tolist(), strict=True)}
            assert int(own.sum()) == len(part)
    assert torch.equal(splits["target_test"].inputs["domain"], splits["target_test"].domain)


def with_other_held_out_rows(monkeypatch, of_source: bool) -> None:
    """The same shops, but that other items validate and test in one of the domains."""
    load = DATASETS.get("simulated_shops").target

    def changed(config, seed):
        loaded = load(config, seed)
        task = loaded.task
        random = np.random.default_rng(1)
        held_out = task.of_source if of_source else task
        last = task.train.items // (2 if of_source else 1)
        for log in (held_out.val, held_out.test):
            object.__setattr__(log, "item", last - 1 - random.integers(0, 10, len(log)))
        return replace(loaded, task=task)

    monkeypatch.setattr(DATASETS, "_entries", dict(DATASETS._entries))
    DATASETS._entries["simulated_shops"] = replace(DATASETS.get("simulated_shops"), target=changed)


@pytest.mark.parametrize("of_source", [False, True])
@pytest.mark.parametrize("method", chosen(BOTH))
def test_held_out_rows_of_neither_domain_change_a_weight(method, of_source, tmp_path, monkeypatch):
    words = ("trainer.max_epochs=2", "selection.rule=last")
    configs = [dual(method, tmp_path / name, *words) for name in "ab"]
    first = run(configs[0])
    tested = data_of(configs[0]).release_evaluation()["target_test"].inputs["item"]
    with_other_held_out_rows(monkeypatch, of_source)
    record = run(configs[1])
    other = data_of(configs[1]).release_evaluation()["target_test"]
    is_other = tested != other.inputs["item"]
    assert is_other.any()
    assert ((other.domain == 0) == of_source)[is_other].all()
    one, two = (load_model_file(tmp_path / name / record.run_id)["model"] for name in "ab")
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    changed, kept = ("old", "new") if of_source else ("new", "old")
    assert first.metrics["last"][f"target_test/ndcg20@{kept}"] == record.metrics["last"][f"target_test/ndcg20@{kept}"]
    assert (
        first.metrics["last"][f"target_test/ndcg20@{changed}"]
        != record.metrics["last"][f"target_test/ndcg20@{changed}"]
    )


@pytest.mark.parametrize("method", BOTH)
def test_each_row_is_ranked_in_its_own_domain(method, tmp_path):
    """Against the ranks of the room `interactions`, of the logs and not of buffers, by the loaded run."""
    record = run(dual(method, tmp_path))
    chosen = record.metrics[record.selection_rule]
    for name in AT:
        of_domain = [chosen[f"target_test/{name}@{domain}"] for domain in ("old", "new")]
        assert chosen[f"target_test/{name}@mean"] == chosen[f"target_test/{name}"] == np.mean(of_domain)
        assert chosen[f"target_test/{name}@worst"] == min(of_domain)
    data = data_of(dual(method))
    test = data.release_evaluation()["target_test"]
    module = Predictor.load(tmp_path / record.run_id).module
    _, outputs = predict(module, test.inputs)
    for number, log in enumerate(simulated_shops.draw(data.config, 0)):
        train, _, held_out = leave_last_out(log, seed=0).logs(log)
        arguments = () if number else (number,)
        expected = full_ranks(
            lambda codes, of=arguments: module.score_catalogue(torch.from_numpy(codes), *of).detach().numpy().copy(),
            held_out,
            train.matrix(),
            train.own_items(),
        )
        rows = outputs[test.domain == number]
        assert np.array_equal(expected.rank, rows[:, 0].numpy())
        assert np.array_equal(expected.user, rows[:, 1].numpy())
        assert (rows[:, 2] == number).all()


@pytest.mark.parametrize("method", BOTH)
def test_what_ranks_in_a_domain_is_what_its_rows_train(method):
    module, data = prepared(dual(method))
    module.eval()
    for number, side in enumerate(("source", "target_labeled")):
        rows = data.sides[side].rows(torch.arange(40))
        user, item = rows.inputs["user"], rows.inputs["item"]
        with torch.no_grad():
            scores = module.score_catalogue(user, *(() if number else (0,)))
            place = module.purchases.shelf(number).place_in_catalogue(item)
            trained = module.encode(rows).logits[:, 0]
        torch.testing.assert_close(scores[torch.arange(40), place], trained, rtol=1e-4, atol=1e-6)
    assert len(scores.unique()) > 100


@pytest.mark.parametrize("method", chosen(BOTH))
def test_the_source_is_learnt_too(method, tmp_path):
    """In either shop the figure is above that of random ranks: 10 places among the 50 items that a user lacks."""
    shops = {"n_users": 300, "old_purchases": 8, "new_purchases": 8}
    record = run(dual(method, tmp_path, "trainer.max_epochs=20", **shops))
    for domain in ("old", "new"):
        assert record.metrics[record.selection_rule][f"target_test/recall10@{domain}"] > 1.2 * 10 / 50, domain


def test_the_mean_over_the_domains_chooses(tmp_path):
    record = run(dual("bpr_mf", tmp_path, "trainer.max_epochs=6", "optimizer.lr=0.1"))
    assert record.selection_rule == "target_val"
    chosen = record.metrics["target_val"]
    assert chosen["score"] == chosen["target_val/ndcg10@mean"]


def test_lists_and_rows_without_a_domain_are_of_the_target(tmp_path):
    config = dual("bitgcf", tmp_path)
    record = run(config)
    module, test = Predictor.load(tmp_path / record.run_id).module, data_of(config).release_evaluation()["target_test"]
    rows = test.rows((test.domain == 1).nonzero()[:, 0]).inputs
    told = predict(module, rows)[1]
    untold = predict(module, {name: rows[name] for name in ("user", "item")})[1]
    assert torch.equal(told[:, :2], untold)
    lists = of_run(tmp_path / record.run_id).lists(["0", "7"], top=10)["item"]
    assert len(lists) == 20
    assert {int(item) for item in lists} <= {*range(60, 120)}


def test_files_of_your_own_are_measured_by_their_names(tmp_path):
    random = np.random.default_rng(0)
    for name, first in (("old", 0), ("new", 20)):
        bought = [(u, first + i, k) for u in range(30) for k, i in enumerate(random.permutation(20)[:5])]
        lines = ["user,item,time", *(f"u{u},i{i},{k}" for u, i, k in bought)]
        (tmp_path / f"{name}.csv").write_text("\n".join(lines))
    files = {"sources": [str(tmp_path / "old.csv")], "target": str(tmp_path / "new.csv"), "time": "time"}
    tree = {
        "data": {"name": "interactions", "dual_target": True} | files,
        "method": {"name": "dtcdr"},
        "trainer": {"max_epochs": 2, "accelerator": "cpu", "checkpoint_every_seconds": None},
        "wandb": {"mode": "disabled"},
    }
    record = run(compose(tree, [f"output={tmp_path / 'runs'}"]))
    figures = record.metrics[record.selection_rule]
    assert all(
        f"target_test/ndcg10@{name}" in figures for name in (*files["sources"], files["target"], "mean", "worst")
    )
    assert record.data["rows"] == {"source": 90, "target": 90, "target_val": 60, "target_test": 60}
    with pytest.raises(ConfigError, match=r"^data\.dual_target: got True, wants false with data\.cold=users"):
        compose(tree, ["data.cold=users"])


@pytest.mark.parametrize("method", TARGET_ALONE)
def test_what_ranks_the_target_alone_says_so(method):
    with pytest.raises(ConfigError, match=rf"^data\.dual_target: got true; method '{method}' ranks the target's items"):
        dual(method)


def test_what_cannot_be_is_one_line():
    with pytest.raises(
        ConfigError, match=r"^method\.use_sources: got false; data\.dual_target=true measures the source"
    ):
        dual("lightgcn", "unused", "method.use_sources=false")
    with pytest.raises(ConfigError, match=r"^method\.weights: got \[0.0\], wants a weight above 0"):
        dual("cmf", "unused", "method.weights=[0]")
    with pytest.raises(ConfigError, match=r"^data\.dual_target: got True, wants false with data\.cold=true"):
        dual("bpr_mf", "unused", "data.cold=true")
    words = ["data.name=xmarket", "data.sources=[uk,fr]", "data.target=de", "encoder=embedding", "method.name=bpr_mf"]
    with pytest.raises(ConfigError, match=r"^data\.sources: got \['uk', 'fr'\], wants one source, where data\.dual"):
        compose({}, [*words, "data.dual_target=true"])
