import math
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf
from omegaconf.errors import ReadonlyConfigError

from tl_research.config import compose, run_id
from tl_research.errors import ConfigError
from tl_research.registry import DATASETS, METHODS
from tl_research.suites import suite as suite_module
from tl_research.suites.suite import Reference, Row, Suite, Task, load_suite

SUITES = Path(__file__).resolve().parents[2] / "benchmarks" / "suites"
PAIR = {"data": {"sources": ["upright"], "target": "noisy"}}
MARKET_PAIR = {"sources": ["old_market"], "target": "new_market"}
FEW = {"data": {"setting": "few_shot", "shots": 5}}
BASE = {
    "name": "small",
    "common": {"data": {"name": "digits"}},
    "tasks": ["upright->noisy"],
    "methods": ["source_only", "dann"],
    "seeds": 2,
}


@pytest.fixture
def load(tmp_path):
    def load(**changes) -> Suite:
        path = tmp_path / "suite.yaml"
        path.write_text(yaml.safe_dump({k: v for k, v in {**BASE, **changes}.items() if v != "absent"}))
        return load_suite(path)

    return load


def test_fields_and_defaults(load):
    suite = load()
    assert suite.tasks == (Task("upright->noisy", {"data": {"sources": ["upright"], "target": "noisy"}}),)
    assert suite.methods == (Row("source_only", "source_only"), Row("dann", "dann"))
    assert (suite.metric, suite.baseline, suite.seeds) == ("accuracy", "source_only", (0, 1))
    assert (suite.metrics, suite.rules, suite.reference, suite.notes) == ((), (), (), "")
    assert suite.path.endswith("suite.yaml")
    assert load(methods=["dann"]).baseline is None
    assert load(common={"data": {"name": "bank_marketing"}}, tasks=["telephone->cellular"]).metric == "auroc"


def test_cells_are_every_task_row_and_seed_with_all_tasks_of_a_seed_first(load):
    cells = load(tasks="all_pairs", seeds=[7, 3]).cells()
    assert len(cells) == 12 * 2 * 2
    assert [cell.seed for cell in cells] == [7] * 24 + [3] * 24
    domains = DATASETS.get("digits").domains
    pairs = {f"{s}->{t}" for s in domains for t in domains if s != t}
    assert {cell.task for cell in cells[:24]} == pairs
    assert {(c.task, c.label, c.seed) for c in cells} == {
        (p, m, s) for p in pairs for m in BASE["methods"] for s in (7, 3)
    }
    assert all(cell.task == f"{cell.config.data.sources[0]}->{cell.config.data.target}" for cell in cells)
    assert all((cell.config.seed, cell.config.method.name) == (cell.seed, cell.method) for cell in cells)


def test_a_cell_is_what_compose_makes_of_the_same_keys(load):
    row = {"name": "fine_tune", "label": "ft", "with": {**FEW, "method": {"lr_scale": 0.5}}}
    for cell in load(methods=[row]).cells("elsewhere"):
        alone = compose(
            {"data": {"name": "digits", "sources": ["upright"], "target": "noisy"}},
            {**FEW, "method": {"name": "fine_tune", "lr_scale": 0.5}, "seed": cell.seed, "output": "elsewhere"},
        )
        assert run_id(alone) == run_id(cell.config) == cell.run_id
        assert cell.config.wandb.group == "small"
        alone = OmegaConf.to_container(alone)
        alone["wandb"]["group"] = "small"
        assert OmegaConf.to_container(cell.config) == alone
        with pytest.raises(ReadonlyConfigError):
            cell.config.seed = 9
        # What a worker gets is the plain mapping; the run it makes of it must be the same.
        assert run_id(compose(OmegaConf.to_container(cell.config))) == cell.run_id


def test_what_stands_for_a_key_of_another_group_is_found(load):
    words = {"data": {"name": "digits", "batch_size": "${trainer.max_epochs}"}, "trainer": {"max_epochs": 7}}
    (cell,) = load(common=words, methods=["source_only"], seeds=1).cells()
    assert OmegaConf.to_container(cell.config, resolve=True)["data"]["batch_size"] == 7


def test_what_is_the_seed_follows_the_seed_of_the_run(load):
    """A default (the draw of Office-10's source rows), and a key that a suite writes so."""
    own = {"name": "office10_googlenet", "source_rows": "few"}
    cells = load(common={"data": own}, tasks=["dslr->webcam"], methods=["source_only"], seeds=[0, 3]).cells()
    assert [cell.config.data.draw for cell in cells] == [0, 3]
    for cell in cells:
        words = ["data.name=office10_googlenet", "data.source_rows=few", "data.sources=[dslr]", "data.target=webcam"]
        alone = compose(None, [*words, "method.name=source_only", f"seed={cell.seed}"])
        assert cell.run_id == run_id(alone)
        assert OmegaConf.to_container(cell.config, resolve=True)["data"]["draw"] == cell.seed
    written = {"data": {"name": "simulated_market", "data_seed": "${seed}"}, "optimizer": {"weight_decay": "${seed}"}}
    cells = load(common=written, tasks=["old_market->new_market"], methods=["source_only"], seeds=[2, 5]).cells()
    assert [cell.config.data.data_seed for cell in cells] == [2, 5]
    assert [cell.run_id for cell in cells] == [run_id(cell.config) for cell in cells]


def test_the_later_of_schema_common_task_and_row_wins(load):
    common = {"data": {"name": "digits", "batch_size": 8}, "optimizer": {"lr": 0.1, "weight_decay": 0.2}}
    task = {
        "name": "t",
        "data": {"sources": ["upright"], "target": "noisy", "batch_size": 16},
        "optimizer": {"lr": 0.3},
    }
    row = {"name": "dann", "with": {"optimizer": {"lr": 0.5}, "method": {"weight": 0.25}}}
    plain, changed = load(common=common, tasks=[task], methods=["source_only", row], seeds=1).cells()
    assert (plain.config.data.batch_size, plain.config.optimizer.lr, plain.config.optimizer.weight_decay) == (
        16,
        0.3,
        0.2,
    )
    assert (changed.config.data.batch_size, changed.config.optimizer.lr, changed.config.method.weight) == (
        16,
        0.5,
        0.25,
    )
    assert plain.config.optimizer.momentum == 0.9


def test_another_encoder_drops_the_keys_of_the_one_it_replaces(load):
    common = {"data": {"name": "digits"}, "encoder": {"name": "mlp", "hidden": [7]}}
    rows = ["source_only", {"name": "dann", "with": {"encoder": {"name": "linear"}}}]
    rows.append({"name": "dan", "with": {"encoder": {"dropout": 0.25}}})
    kept, replaced, extended = load(common=common, methods=rows, seeds=1).cells()
    assert kept.config.encoder.hidden == [7]
    assert "hidden" not in replaced.config.encoder
    assert (extended.config.encoder.hidden, extended.config.encoder.dropout) == ([7], 0.25)


def test_keys_of_data_without_a_name_are_meant_for_the_data_set_that_a_task_names(load):
    common = {"data": {"label_shift": 0.75}}
    tasks = [{"name": "t", "data": {"name": "simulated_market", "sources": ["old_market"], "target": "new_market"}}]
    (cell,) = load(common=common, tasks=tasks, methods=["dann"], seeds=1).cells()
    assert cell.config.data.label_shift == 0.75
    tasks[0]["data"] = {"name": "digits", "sources": ["upright"], "target": "noisy"}
    with pytest.raises(ConfigError, match=r"data\.label_shift"):
        load(common=common, tasks=tasks, methods=["dann"], seeds=1).cells()


def test_several_sources_and_spaces(load):
    (task,) = load(tasks=["upright + shifted -> noisy"]).tasks
    assert task == Task("upright+shifted->noisy", {"data": {"sources": ["upright", "shifted"], "target": "noisy"}})


def test_a_family_is_every_method_of_it(load):
    # the setting that all of them can be run in
    given = {"optimizer": {"lr": 0.5}, "data": {"setting": "few_shot", "shots": 5}}
    suite = load(methods=["source_only", {"family": "feature", "with": given}])
    names = [entry.name for entry in METHODS.entries() if entry.family == "feature"]
    assert [row.label for row in suite.methods] == ["source_only", *names]
    assert len(names) >= 2
    assert {cell.config.optimizer.lr for cell in suite.cells() if cell.label in names} == {0.5}


def test_a_wandb_group_of_its_own_is_kept(load):
    common = {"data": {"name": "digits"}, "wandb": {"group": "mine", "mode": "disabled"}}
    assert {(c.config.wandb.group, c.config.wandb.mode) for c in load(common=common).cells()} == {("mine", "disabled")}


def test_published_values(load):
    given = {"paper": "A 2000", "label": "NN", "beside": "dann", "values": {"upright->noisy": 1}}
    assert load(reference=[given]).reference == (
        Reference("A 2000", "NN", "dann", "accuracy", {"upright->noisy": 1.0}),
    )


REFERENCE = {"paper": "P", "label": "L", "beside": "dann", "values": {"upright->noisy": 0.5}}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": []}, ["method: unknown key", "did you mean 'methods'"]),
        ({"name": "absent"}, ["name: missing"]),
        ({"name": "a/b"}, ["name", "a/b"]),
        ({"name": "n" * 300}, ["name: got", "at most 200 letters"]),
        ({"seeds": "absent"}, ["seeds: missing"]),
        ({"seeds": 0}, ["seeds"]),
        ({"seeds": [1, 1]}, ["seeds"]),
        ({"seeds": [-1]}, ["seeds", "-1"]),
        ({"seeds": True}, ["seeds"]),
        ({"seeds": ["a"]}, ["seeds", "'a'"]),
        ({"metric": "acuracy"}, ["metric", "did you mean 'accuracy'"]),
        ({"metrics": ["auc"]}, ["metrics", "auc"]),
        ({"rules": ["lst"]}, ["rules", "did you mean 'last'"]),
        ({"baseline": "danm"}, ["baseline", "did you mean 'dann'"]),
        ({"tasks": []}, ["tasks"]),
        ({"tasks": "all_pair"}, ["tasks", "all_pairs"]),
        ({"tasks": ["upright"]}, ["tasks[0]", "source->target"]),
        ({"tasks": ["upright->noisy->shifted"]}, ["tasks[0]"]),
        ({"tasks": ["upright->noisy", "upright ->noisy"]}, ["tasks", "upright->noisy", "twice"]),
        ({"tasks": [{"data": {}}]}, ["tasks[0].name"]),
        ({"tasks": [{"name": "t", "method": {"weight": 1}}]}, ["tasks[0].method", "methods"]),
        ({"common": {}}, ["common.data.name", "tasks[0]"]),
        ({"common": {"data": {"name": "digts"}}, "tasks": "all_pairs"}, ["data.name", "did you mean 'digits'"]),
        ({"common": {"data": {"name": "files"}}, "tasks": "all_pairs"}, ["tasks", "no domains"]),
        ({"common": {"data": {"name": "digits"}, "method": {"name": "dan"}}}, ["common.method", "methods"]),
        ({"common": {"seed": 3}}, ["common.seed", "seeds"]),
        ({"common": [1]}, ["common", "[1]"]),
        ({"methods": []}, ["methods"]),
        ({"methods": ["dan2"]}, ["methods[0].name", "dan2", "did you mean"]),
        ({"methods": ["dann", "dann"]}, ["methods", "'dann'", "twice"]),
        ({"methods": [{"name": "dann", "wth": {}}]}, ["methods[0].wth", "did you mean 'with'"]),
        ({"methods": [{"name": "dann", "family": "feature"}]}, ["methods[0]", "either"]),
        ({"methods": [{"family": "featur"}]}, ["methods[0].family", "did you mean 'feature'"]),
        ({"methods": [{"family": "feature", "label": "x"}]}, ["methods[0].label"]),
        ({"methods": [{"name": "dann", "with": {"method": {"name": "dan"}}}]}, ["methods[0].with.method.name"]),
        ({"methods": [{"name": "dann", "with": {"output": "x"}}]}, ["methods[0].with.output"]),
        (
            {"reference": [{**REFERENCE, "values": {"upright->nosy": 1}}]},
            ["reference[0].values", "did you mean 'upright->noisy'"],
        ),
        ({"reference": [{**REFERENCE, "values": {"upright->noisy": "0.5"}}]}, ["reference[0].values.upright->noisy"]),
        (
            {"reference": [{**REFERENCE, "values": {"upright->noisy": math.nan}}]},
            ["reference[0].values.upright->noisy"],
        ),
        ({"reference": [{**REFERENCE, "beside": "dan"}]}, ["reference[0].beside", "did you mean 'dann'"]),
        ({"reference": [{**REFERENCE, "metric": "acc"}]}, ["reference[0].metric", "acc"]),
        ({"reference": [{**REFERENCE, "paper": None}]}, ["reference[0].paper"]),
        ({"reference": [REFERENCE, REFERENCE]}, ["reference", "'L'", "twice"]),
        ({"notes": 3}, ["notes"]),
    ],
)
def test_a_mistake_in_the_suite_names_file_and_key(load, changes, words):
    with pytest.raises(ConfigError) as caught:
        load(**changes)
    for word in ["suite.yaml: ", *words]:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"methods": ["dan", {"name": "dann", "with": {"method": {"wieght": 1}}}]},
            ["methods.with.method.wieght", "did you mean 'weight'", "'dann'", "'upright->noisy'"],
        ),
        ({"common": {"data": {"name": "digits", "shot": 1}}}, ["common.data.shot", "did you mean 'shots'"]),
        ({"tasks": [{"name": "t", **PAIR, "optimizer": {"lr": -1}}]}, ["tasks.optimizer.lr", "got -1"]),
        ({"tasks": ["upright->nosy"]}, ["tasks.data.target", "did you mean 'noisy'"]),
        ({"tasks": [{"name": "t"}]}, ["data.sources: missing"]),
        ({"methods": ["fine_tune"]}, ["data.setting", "few_shot, supervised", "'fine_tune'"]),
        (
            {"methods": ["dan", {"name": "dan", "label": "dan again", "with": {"wandb": {"tags": ["x"]}}}]},
            ["'dan again'", "'dan'", "same run"],
        ),
    ],
)
def test_a_mistake_in_a_run_names_file_key_row_and_task(load, changes, words):
    suite = load(**changes)
    with pytest.raises(ConfigError) as caught:
        suite.cells()
    for word in ["suite.yaml: ", *words]:
        assert word in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="no such suite file"):
        load_suite(tmp_path / "absent.yaml")


@pytest.mark.parametrize("path", sorted(SUITES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_committed_suites_are_valid(path):
    suite = load_suite(path)
    cells = suite.cells()
    assert suite.name == path.stem
    assert len(cells) == len(suite.tasks) * len(suite.methods) * len(suite.seeds)


@pytest.mark.parametrize(("name", "runs"), [("office10_googlenet", 480), ("office_caltech_preprocessing", 360)])
def test_hundreds_of_cells_are_checked_once(name, runs, monkeypatch):
    checked, check = [], suite_module.check_tree
    monkeypatch.setattr(suite_module, "check_tree", lambda *tree, **more: checked.append(1) or check(*tree, **more))
    suite = load_suite(SUITES / f"{name}.yaml")
    assert len(suite.cells()) == runs
    assert len(checked) <= 1.1 * runs  # about 1 ms each
    before = len(checked)
    assert [cell.run_id for cell in suite.cells("elsewhere")] == [cell.run_id for cell in suite.cells()]
    assert len(checked) == before


def test_a_task_may_be_of_another_data_set_as_an_override_may(load):
    """The keys of the data set that is replaced are dropped; those that all data sets share stay."""
    common = {"data": {"name": "simulated_market", "noise": 0.5, "batch_size": 16}}
    other = {"name": "digits", "sources": ["upright"], "target": "noisy"}
    tasks = [{"name": "market", "data": MARKET_PAIR}, {"name": "digits", "data": other}]
    market, digits = load(common=common, tasks=tasks, methods=["source_only"], seeds=1, metric="accuracy").cells()
    assert (market.config.data.noise, market.config.data.batch_size) == (0.5, 16)
    assert (digits.config.data.name, digits.config.data.batch_size) == ("digits", 16)
    words = ["data.name=digits", "data.sources=[upright]", "data.target=noisy", "method.name=source_only"]
    assert digits.run_id == run_id(compose(common, words))


def test_a_group_may_be_written_as_a_name(load):
    rows = ["source_only", {"name": "kmm", "with": {"encoder": "linear"}}]
    plain, linear = load(common={"data": "digits"}, methods=rows, seeds=1).cells()
    assert plain.config.data.name == "digits"
    assert linear.config.encoder.name == "linear"


# Ganin et al. 2016, table 1, original data: DANN / NN / SVM.
PUBLISHED = (
    "B→D .784/.790/.799, B→E .733/.747/.748, B→K .779/.778/.769, D→B .723/.720/.743, D→E .754/.732/.748, "
    "D→K .783/.778/.746, E→B .713/.709/.705, E→D .738/.733/.726, E→K .854/.854/.847, K→B .709/.708/.707, "
    "K→D .740/.739/.736, K→E .843/.841/.842"
)


def test_amazon_reviews_has_the_published_values():
    suite = load_suite(SUITES / "amazon_reviews.yaml")
    initials = {name[0].upper(): name for name in DATASETS.get("amazon_reviews").domains}
    expected = {"DANN": {}, "NN": {}, "SVM": {}}
    for part in PUBLISHED.split(", "):
        pair, numbers = part.split()
        source, target = (initials[initial] for initial in pair.split("→"))
        for label, number in zip(expected, numbers.split("/"), strict=True):
            expected[label][f"{source}->{target}"] = float(number)
    assert {reference.label: reference.values for reference in suite.reference} == expected
    beside = {reference.label: reference.beside for reference in suite.reference}
    assert beside == {"NN": "source_only", "SVM": "source_only", "DANN": "dann"}


def test_shots_give_each_task_at_each_number_of_target_labels(load):
    suite = load(shots=[5, 0.2, "all"], methods=["target_only", "fine_tune"], baseline="target_only")
    assert [task.name for task in suite.tasks] == [
        "upright->noisy (5 shots)", "upright->noisy (20 % of the labels)", "upright->noisy (all labels)",
    ]  # fmt: skip
    assert {task.of for task in suite.tasks} == {"upright->noisy"}
    got = [(cell.config.data.setting, cell.config.data.shots) for cell in suite.cells()[:6:2]]
    assert got == [("few_shot", 5), ("few_shot", 0.2), ("supervised", None)]


@pytest.mark.parametrize("shots", [5, [5, 5], [0], ["some"], [True]])
def test_wrong_shots_are_refused(load, shots):
    with pytest.raises(ConfigError, match="shots: got"):
        load(shots=shots)
