import dataclasses

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import ReadonlyConfigError

from tl_research import config
from tl_research.config import added_later, by_content, compose, launch, renamed, run_id, run_of_words
from tl_research.config.groups import merge
from tl_research.config.identity import computed
from tl_research.errors import ConfigError
from tl_research.registry import DATASETS, METHODS

MARKET = {"data": {"name": "simulated_market"}}


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Registers what a text of Python registers, for one test."""
    monkeypatch.setattr(METHODS, "_entries", dict(METHODS._entries))

    def add(text):
        path = tmp_path / "plugin.py"
        path.write_text(text)
        monkeypatch.setenv("TL_RESEARCH_PLUGINS", str(path))

    return add


def fails(overrides, *words, recipe=MARKET):
    with pytest.raises(ConfigError) as caught:
        compose(recipe, overrides)
    for word in words:
        assert word in str(caught.value)


def test_schema_then_recipe_then_overrides():
    config = compose({"method": {"name": "dann", "weight": 0.5}, "optimizer": {"lr": 0.1}}, ["optimizer.lr=1e-2"])
    assert (config.method.weight, config.optimizer.lr) == (0.5, 0.01)
    assert config.method.hidden == [256]
    assert config.data.name == "simulated_market"


def test_the_result_is_read_only():
    with pytest.raises(ReadonlyConfigError):
        compose(MARKET).optimizer.lr = 1.0


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("method.wieght=1", ["method.wieght", "did you mean 'weight'"]),
        ("optimzer.lr=1", ["optimzer", "did you mean 'optimizer'"]),
        ("optimizer.lr=fast", ["optimizer.lr", "fast"]),
        ("optimizer.lr=-1", ["optimizer.lr", "got -1", "above 0"]),
        ("optimizer.name=adm", ["optimizer.name", "did you mean 'adam'"]),
        ("method.weight=-2", ["method.weight", "0 or more"]),
        ("method.hidden=[0]", ["method.hidden"]),
        ("trainer.max_epochs=0", ["trainer.max_epochs", "at least 1"]),
        ("trainer.max_epochs=many", ["trainer.max_epochs"]),
        ("trainer=5", ["trainer", "wants keys below it"]),
        ("data.target=old_markt", ["data.target", "did you mean 'old_market'"]),
        ("data.target=old_market", ["data.target", "data.sources"]),
        ("data.sources=[]", ["data.sources", "empty"]),
        ("data.setting=few_shot", ["data.shots"]),
        ("data.shots=5", ["data.shots", "unsupervised"]),
        ("data.setting=fewshot", ["data.setting", "did you mean 'few_shot'"]),
        ("data.setting=supervised", ["data.setting", "dann", "unsupervised, few_shot"]),
        ("selection.rule=target_val", ["selection.rule", "target labels"]),
        ("selection.rule=oracle", ["selection.rule"]),
        ("encoder.name=mpl", ["encoder.name", "did you mean 'mlp'"]),
        ("method.name=dan2", ["method.name", "did you mean"]),
        ("data.name=amazon_review", ["data.name", "did you mean 'amazon_reviews'"]),
        ("seed", ["key=value"]),
        ("method.weight=[1", ["method.weight", "YAML"]),
        ("method.weight=null", ["method.weight"]),
        ("method=null", ["method: got nothing (null), wants a name, or keys below it (method.name=...)"]),
        ("method=", ["method: got nothing (null), wants a name"]),
        ("encoder=null", ["encoder: got nothing (null), wants a name"]),
        ("method=${seed}", ["method.name: got '${seed}', wants a name as it is"]),
        ("encoder.name=${seed}", ["encoder.name: got '${seed}', wants a name as it is"]),
        ("data.label=bought", ["data.label: got 'bought', wants nothing: data set 'simulated_market' has one label"]),
    ],
)
def test_a_mistake_names_the_full_key_and_what_is_valid(override, words):
    fails([override], *words, recipe=MARKET | {"method": {"name": "dann"}})


def test_missing_mandatory_value():
    fails([], "data.target: missing", recipe={"data": {"name": "amazon_reviews", "sources": ["books"]}})


def test_shots_of_a_half_label_are_refused():
    fails(["data.setting=few_shot", "data.shots=2.5", "method.name=target_only"], "data.shots", "2.5")


def test_norway_is_a_name_and_not_false(tmp_path):
    old, new = tmp_path / "no.csv", tmp_path / "off"
    config = compose(None, ["data.name=files", "data.sources=[off]", "data.target=no", "data.label=on"])
    assert (config.data.target, list(config.data.sources), config.data.label) == ("no", ["off"], "on")
    assert not old.exists()
    assert not new.exists()


def test_changing_the_method_drops_the_keys_of_the_old_one():
    recipe = MARKET | {"method": {"name": "dann", "hidden": [8]}}
    assert compose(recipe, ["method.name=dan"]).method.name == "dan"
    assert compose(recipe, ["method.name=dann"]).method.hidden == [8]


def test_recipe_file_mistakes_name_file_and_line(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("seed: 1\nseed: 2\n")
    fails([], str(path), "seed", "twice", recipe=path)
    path.write_text("method: [1,\n  2\n")
    fails([], str(path), "line", recipe=path)
    path.write_text("- a\n")
    fails([], str(path), "top level", recipe=path)
    fails([], "no such recipe", recipe=tmp_path / "absent.yaml")


def test_run_id_is_the_hash_of_what_is_computed():
    base = run_id(compose(MARKET))
    assert len(base) == 12
    assert run_id(compose(MARKET)) == base
    for override in ("output=elsewhere", "wandb.mode=disabled", "data.num_workers=3", "trainer.threads=2"):
        assert run_id(compose(MARKET, [override])) == base, override
    for override in ("seed=1", "optimizer.lr=0.5", "method.name=dan", "data.batch_size=8", "encoder.hidden=[7]"):
        assert run_id(compose(MARKET, [override])) != base, override


def test_how_a_value_is_written_does_not_change_the_run_id():
    assert run_id(compose(MARKET, ["optimizer.lr=1e-2"])) == run_id(compose(MARKET, {"optimizer": {"lr": 0.01}}))
    assert run_id(compose(MARKET, ["trainer.max_epochs=20"])) == run_id(compose(MARKET))


def test_rule_auto_is_resolved_by_the_setting():
    few = ["data.setting=few_shot", "method.name=target_only"]
    assert compose(MARKET).selection.rule == "source_val"
    assert compose(MARKET, [*few, "data.shots=5"]).selection.rule == "target_val"
    assert compose(MARKET, [*few, "data.shots=4"]).selection.rule == "last"


def test_changing_the_data_set_keeps_what_all_data_sets_share():
    recipe = {"data": {"name": "simulated_market", "noise": 0.1, "batch_size": 7, "scale": "none"}}
    config = compose(recipe, ["data.name=digits", "data.sources=[upright]", "data.target=noisy"])
    assert (config.data.batch_size, config.data.scale) == (7, "standard")


FILES = ("data.name=files", "data.sources=[a.csv]", "data.target=b.csv", "data.label=y")


@pytest.mark.parametrize(
    ("override", "schema"),
    [
        (["data.schema.price=category"], {"price": "category"}),
        (["data.schema={price: number}", "data.schema.day=date"], {"price": "number", "day": "date"}),
        (
            ["data.schema.price.kind=number", "data.schema.price.decimal=','"],
            {"price": {"kind": "number", "decimal": ","}},
        ),
    ],
)
def test_keys_below_a_mapping_of_any_names_are_read(override, schema):
    """The way out that the notes on a column offer; a checkpoint's configuration is read back with `resolved`."""
    config = compose(None, [*FILES, *override])
    assert OmegaConf.to_container(config.data.schema) == schema
    assert compose(OmegaConf.to_container(config), resolved=True) == config


@dataclasses.dataclass
class Group:
    plain: int = 1
    workers: int = launch(0)
    late: str = added_later("a")
    ready: bool = renamed("state", {False: "raw", True: "done"}, default=False)
    file: str = by_content(lambda path: f"content of {path}", default="x")


@dataclasses.dataclass
class Special(Group):
    workers: int = 4
    late: str = "b"
    ready: bool = True


def test_a_field_says_how_it_enters_the_run_id():
    assert computed(Group()) == {"plain": 1, "state": "raw", "file": "content of x"}
    assert computed(Group(workers=3, late="c")) == {"plain": 1, "late": "c", "state": "raw", "file": "content of x"}


def test_a_subclass_with_another_default_keeps_what_the_field_says():
    assert computed(Special()) == {"plain": 1, "state": "done", "file": "content of x"}
    assert computed(Special(late="a"))["late"] == "a"


@pytest.mark.parametrize(("then", "now"), [("new", True), ("source", False)])
@pytest.mark.parametrize("method", ["fine_tune", "lp_ft"])
def test_an_old_record_is_read_by_the_former_name_of_a_key(method, then, now):
    recipe = MARKET | {"method": {"name": method, "new_head": now}}
    config = compose(recipe, ["data.setting=supervised"])
    old = OmegaConf.to_container(config, resolve=True)
    old["method"].pop("new_head")
    old["method"]["head"] = then
    again = compose(old, resolved=True)
    assert again.method.new_head is now
    assert run_id(again) == run_id(config)
    fails([], "method.head: unknown key", recipe=old)


def test_a_named_group_is_written_as_a_name_or_as_keys():
    short = {"data": "simulated_market", "encoder": "linear", "method": {"name": "source_only", "weighting": "kmm"}}
    long = {key: {"name": short[key]} for key in ("data", "encoder")}
    long["method"] = {"name": "source_only", "weighting": {"name": "kmm"}}
    assert compose(short) == compose(long) == compose(long, ["encoder=linear", "method.weighting=kmm"])


def test_another_name_replaces_a_group_whole_wherever_it_stands():
    base = {"data": {"name": "simulated_market", "noise": 0.5, "setting": "few_shot", "shots": 5}, "seed": 1,
            "encoder": {"name": "mlp", "hidden": [3]},
            "method": {"name": "source_only", "weighting": {"name": "kmm", "clip": 3}}}  # fmt: skip
    over = {"data": "digits", "encoder": {"hidden": [4]}, "method": {"weighting": {"name": "kliep", "temper": 0.5}}}
    assert merge(base, over) == {
        "data": {"name": "digits", "setting": "few_shot", "shots": 5}, "seed": 1,
        "encoder": {"name": "mlp", "hidden": [4]},
        "method": {"name": "source_only", "weighting": {"name": "kliep", "temper": 0.5}},
    }  # fmt: skip
    assert merge(base, {"method": {"weighting": None}})["method"] == {"name": "source_only", "weighting": None}
    assert merge(base, {"method": "dann"})["method"] == {"name": "dann"}
    assert merge({"data": {"schema": {"name": "a", "x": 1}}}, {"data": {"schema": {"name": "b"}}}) == {
        "data": {"schema": {"name": "b", "x": 1}}
    }, "a column called name chooses nothing"


BALANCED = """
from dataclasses import dataclass
from tl_research.config import MethodConfig, check, named
from tl_research.methods.base import AdaptationModule
from tl_research.registry import Entry, Registry, register_method

@dataclass
class BalancerConfig:
    name: str = "???"

BALANCERS = Registry("balancer", None, "method.balancer")

@dataclass
class EqualConfig(BalancerConfig):
    name: str = "equal"

@dataclass
class LearntConfig(BalancerConfig):
    name: str = "learnt"
    rate: float = 0.1

    def __post_init__(self):
        check(self.rate > 0, "method.balancer.rate", self.rate, "a number above 0")

for config in (EqualConfig, LearntConfig):
    BALANCERS.add(Entry(config.name, config=config, target=config))

@dataclass
class BalancedConfig(MethodConfig):
    name: str = "balanced"
    balancer: BalancerConfig = named(BALANCERS, "equal")

@register_method("balanced", config=BalancedConfig, family="test", settings=("unsupervised",), paper="none")
class Balanced(AdaptationModule):
    pass
"""


def test_a_plugin_has_a_named_group_of_its_own(plugin):
    plugin(BALANCED)
    learnt = MARKET | {"method": {"name": "balanced", "balancer": {"name": "learnt", "rate": 0.5}}}
    assert compose(MARKET, ["method.name=balanced"]).method.balancer == {"name": "equal"}
    assert compose(learnt, ["method.balancer.rate=0.2"]).method.balancer == {"name": "learnt", "rate": 0.2}
    assert compose(learnt, ["method.balancer=equal"]).method.balancer == {"name": "equal"}
    assert compose(learnt, ["method.balancer={name: equal}"]).method.balancer == {"name": "equal"}
    assert type(OmegaConf.to_object(compose(learnt).method.balancer)).__name__ == "LearntConfig"
    fails(["method.balancer.rat=1"], "method.balancer.rat: unknown key", "did you mean 'rate'", recipe=learnt)
    fails(["method.balancer.rate=0"], "method.balancer.rate: got 0.0, wants a number above 0", recipe=learnt)
    fails(["method.balancer=eqal"], "method.balancer.name: there is no balancer 'eqal'", "'equal'", recipe=learnt)
    assert run_id(compose(learnt)) != run_id(compose(learnt, ["method.balancer=equal"]))


def test_a_recipe_says_only_what_differs_from_the_one_that_it_extends(tmp_path):
    write = {
        "base.yaml": "data: {name: digits, sources: [upright], target: noisy}\nencoder: {name: mlp, hidden: [7]}\n",
        "wide/middle.yaml": "extends: ../base.yaml\nencoder:\n  hidden: [9]\ntrainer: {max_epochs: 3}\n",
        "wide/dann.yaml": "extends: middle\nmethod: dann\n",
        "linear.yaml": "extends: base\nencoder: linear\n",
        "first.yaml": "extends: second\n", "second.yaml": "extends: first\n",
        "lost.yaml": "extends: nowhere\n", "odd.yaml": "extends: [base]\n",
    }  # fmt: skip
    (tmp_path / "wide").mkdir()
    for name, text in write.items():
        (tmp_path / name).write_text(text)
    config = compose(tmp_path / "wide" / "dann.yaml", ["seed=4"])
    assert (config.data.name, config.encoder.hidden, config.method.name) == ("digits", [9], "dann")
    assert (config.trainer.max_epochs, config.seed) == (3, 4)
    assert "hidden" not in compose(tmp_path / "linear.yaml").encoder
    fails([], "first.yaml: extends: ", "second.yaml -> ", "is a circle", recipe=tmp_path / "first.yaml")
    fails([], "lost.yaml: extends: ", "nowhere.yaml: there is no such recipe", recipe=tmp_path / "lost.yaml")
    fails([], "odd.yaml: extends: got ['base']", recipe=tmp_path / "odd.yaml")
    fails([], "extends: unknown key", recipe={"extends": "base"})


def test_a_key_given_twice_names_both_lines(tmp_path):
    (tmp_path / "twice.yaml").write_text("seed: 1\nextends: a\nmethod: {name: dann}\nextends: b\n")
    fails([], "twice.yaml: extends: given twice (lines 2 and 4)", recipe=tmp_path / "twice.yaml")


@pytest.mark.parametrize("word", ["method.weighting=", "method.weighting= ", "method.weighting=null"])
def test_no_weighting_may_be_written_as_nothing(word):
    assert compose(None, [word]).method.weighting is None
    assert compose({"method": {"name": "dann", "weighting": "kmm"}}, [word]).method.weighting is None


def test_a_label_is_named_for_data_that_have_several_and_was_ignored_in_records_of_before():
    words = ["data.name=womens_clothing", "data.sources=[tops]", "data.target=dresses", "data.label=rating"]
    assert compose(None, words).data.label == "rating"
    assert compose(MARKET | {"data": {**MARKET["data"], "label": "bought"}}, resolved=True).data.label == "bought"


def test_two_names_are_a_run(tmp_path, monkeypatch):
    config = compose(*run_of_words("digits", ["dann", "seed=3"]))
    assert (config.data.name, config.data.sources, config.data.target) == ("digits", ["upright"], "noisy")
    assert (config.method.name, config.data.setting, config.seed) == ("dann", "unsupervised", 3)
    tuned = compose(*run_of_words("digits", ["fine_tune"]))
    assert (tuned.data.setting, tuned.data.shots) == ("few_shot", 5)
    assert compose(*run_of_words("digits", ["fine_tune", "data.setting=supervised"])).data.shots is None
    other = compose(*run_of_words("digits", ["dann", "data.sources=[noisy]", "data.target=upright"]))
    assert (other.data.sources, other.data.target) == (["noisy"], "upright")
    with pytest.raises(ConfigError, match="there is no data set 'digts'; did you mean 'digits'"):
        run_of_words("digts", ["dann"])
    with pytest.raises(ConfigError, match="there is no method 'dan2'"):
        run_of_words("digits", ["dan2"])
    with pytest.raises(ConfigError, match=r"data.sources: missing; data set 'files' has no default task.*your own"):
        run_of_words("files", ["dann"])
    with pytest.raises(ConfigError, match=r"method.name: missing; give the name of a method .* `fit digits dann`"):
        run_of_words("digits", ["seed=3"])
    for said in ("method=dann", "method.name=dann", "method={name: dann}"):
        named = compose(*run_of_words("digits", ["seed=3", said, "method.ramp=false"]))
        assert (named.data.sources, named.method.name, named.method.ramp) == (["upright"], "dann", False)
    with pytest.raises(ConfigError, match=r"method\.name: there is no method 'dan2'"):
        run_of_words("digits", ["method=dan2"])
    with pytest.raises(ConfigError, match=r"method\.name: got nothing"):
        run_of_words("digits", ["method=null"])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").write_text("method: dan\n")
    assert run_of_words("digits", ["method=dann"]) == ("digits", ["method=dann"]), "a file of that name comes first"
    assert run_of_words("seed=1", ["seed=2"]) == (None, ["seed=1", "seed=2"])


@pytest.mark.parametrize("entry", DATASETS.entries(), ids=lambda entry: entry.name)
def test_the_default_task_of_a_data_set_is_of_its_domains(entry):
    if entry.domains:
        method = "bpr_mf" if entry.task == "preference" else "source_only"
        assert compose(*run_of_words(entry.name, [method])).data.name == entry.name
    else:
        assert not entry.default, "the domains of your own files are their names"


@dataclasses.dataclass
class Bounded(config.Group):
    key = "method"

    weight: float = config.at_least(0.0, default=1.0)
    rate: float | None = config.above(0, default=None)
    kept: float = config.share(one=False, default=0.5)
    drawn: float = config.share(zero=False, default=1.0)
    rounds: int = config.within(1, 9, default=3, launch=True)
    pool: str = config.one_of(("mean", "first"), default="mean")
    widths: list[int] = config.all_at_least(1, default=[4])
    factors: list[float] = config.all_above(0, default=[1.0, 2.0], fewest=2)


@pytest.mark.parametrize(
    ("values", "wants"),
    [
        ({"weight": -1}, "weight: got -1, wants 0 or more"),
        ({"rate": 0}, "rate: got 0, wants a number above 0"),
        ({"kept": 1}, "kept: got 1, wants a share from 0 to below 1"),
        ({"drawn": 0}, "drawn: got 0, wants a share above 0 and up to 1"),
        ({"rounds": 10}, "rounds: got 10, wants 1 to 9"),
        ({"pool": "frst"}, "pool: got 'frst'; did you mean 'first'"),
        ({"widths": []}, r"widths: got \[\], wants 1 or more numbers of 1 or more"),
        ({"widths": [4, 0]}, "widths: got .*, wants 1 or more numbers of 1 or more"),
        ({"factors": [1.0]}, "factors: got .*, wants 2 or more numbers above 0"),
        ({"factors": [1.0, 0.0]}, "factors: got .*, wants 2 or more numbers above 0"),
    ],
)
def test_a_bound_stands_in_the_field_and_holds_in_python_too(values, wants):
    with pytest.raises(ConfigError, match=rf"^method\.{wants}"):
        Bounded(**values)


def test_what_is_at_a_bound_is_within_it():
    edge = Bounded(weight=0, rate=None, kept=0, drawn=1, rounds=9, pool="first", widths=[1], factors=[0.1, 0.1])
    assert computed(edge)["widths"] == [1]
    assert "rounds" not in computed(edge), "a bounded field says what any other may say"
    Bounded().widths.append(0)
    assert Bounded().widths == [4]


def test_a_bound_names_the_place_where_a_part_stands():
    fails(["encoder={name: fusion, ngrams: {dropout: 1.5}}"], "encoder.ngrams.dropout: got 1.5, wants a share from 0 ")
    fails(["encoder={name: fusion, transformer: {width: 7}}"], "encoder.transformer.width: got 7, wants a multiple of")
    fails(["encoder={name: fusion, image: {name: mlp}}"], "encoder.image.name: got 'mlp', wants 'vision'")


@pytest.mark.parametrize(
    "words",
    [
        ("method=dann", "method.weighting=kliep", "data.sampler=by_class", "data.sampler.sides=[source]"),
        ("method.weighting=kliep", "data.sampler.sides=[source]", "data.sampler=by_class", "method=dann"),
    ],
)
def test_a_name_and_keys_of_the_same_group_may_both_be_given(words):
    config = compose(None, words)
    assert (config.method.name, config.method.weighting.name) == ("dann", "kliep")
    assert (config.data.sampler.name, list(config.data.sampler.sides)) == ("by_class", ["source"])
