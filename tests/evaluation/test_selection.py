"""Selection rules: what each chooses, and that none but the oracle looks at the test split."""

import json
import os
import random
import subprocess
import sys

import pytest

from tl_research.evaluation.rules import register_rule
from tl_research.evaluation.selection import best_epoch, select
from tl_research.registry import RULES


def history(seed=0, epochs=12):
    rng = random.Random(seed)
    splits = ("source_val", "source_test", "target_val", "target_test")
    return [
        {
            "epoch": epoch,
            **{f"{split}/{metric}": rng.random() for split in splits for metric in ("accuracy", "log_loss")},
            **{name: rng.random() for name, rule in RULES.items() if rule.reads_model},
        }
        for epoch in range(epochs)
    ]


def test_rules_that_read_more_of_the_targets_labels_come_later():
    in_training = [name for name, rule in RULES.items() if not rule.offline]
    assert in_training == ["last", "source_val", "im", "snd", "dev", "iwcv", "target_val", "oracle"]
    assert [*RULES][-2:] == ["target_val", "oracle"]
    assert [rule.name for rule in RULES.values() if rule.needs_target_labels] == ["target_val", "oracle"]
    assert [rule.name for rule in RULES.values() if rule.is_oracle] == ["oracle"]


def test_each_rule_follows_its_own_value():
    keys = ("source_val/auroc", "im", "dev", "target_val/auroc", "target_test/auroc", "snd", "iwcv")
    values = [
        (0.9, 0.1, -3.0, 0.1, 0.1, 0.1, -9.0),
        (0.1, 0.9, -2.0, 0.2, 0.3, 0.1, -9.0),
        (0.2, 0.2, -1.0, 0.1, 0.2, 0.1, -9.0),
        (0.3, 0.3, -2.0, 0.9, 0.2, 0.1, -9.0),
        (0.3, 0.3, -2.0, 0.1, 0.9, 0.1, -9.0),
        (0.3, 0.3, -2.0, 0.1, 0.2, 0.9, -9.0),
        (0.3, 0.3, -2.0, 0.1, 0.2, 0.1, -1.0),
        (0.3, 0.3, -2.0, 0.1, 0.2, 0.1, -9.0),
    ]
    rows = [{"epoch": epoch, **dict(zip(keys, of_epoch))} for epoch, of_epoch in enumerate(values)]
    chosen = {rule: best_epoch(rows, rule, "auroc") for rule in RULES if not RULES[rule].offline}
    assert chosen == {"last": 7, "source_val": 0, "im": 1, "dev": 2, "target_val": 3, "oracle": 4, "snd": 5, "iwcv": 6}
    assert best_epoch(rows, RULES["im"], "auroc") == 1


@pytest.mark.parametrize("metric", ["accuracy", "log_loss"])
@pytest.mark.parametrize("rule", [name for name, rule in RULES.items() if not rule.is_oracle])
def test_no_realistic_rule_reads_the_target_test_split(rule, metric):
    rows = history()
    chosen = best_epoch(rows, rule, metric)
    rng = random.Random(1)
    test_keys = [key for key in rows[0] if key.startswith("target_test/")]
    for _ in range(20):
        order = rng.sample(range(len(rows)), len(rows))
        permuted = [{**row, **{key: rows[other][key] for key in test_keys}} for row, other in zip(rows, order)]
        replaced = [{**row, **{key: rng.random() for key in test_keys}} for row in rows]
        removed = [{key: value for key, value in row.items() if key not in test_keys} for row in rows]
        for changed in (permuted, replaced, removed):
            assert best_epoch(changed, rule, metric) == chosen
            assert select(changed, metric)[rule]["epoch"] == chosen
    assert any(  # the same changes do move the oracle
        best_epoch([{**row, f"target_test/{metric}": rng.random()} for row in rows], "oracle", metric)
        != best_epoch(rows, "oracle", metric)
        for _ in range(20)
    )


class Spy(dict):
    """A row that remembers what was read."""

    def __init__(self, *args):
        super().__init__(*args)
        self.read = set()

    def get(self, key, default=None):
        self.read.add(key)
        return super().get(key, default)

    def __getitem__(self, key):
        self.read.add(key)
        return super().__getitem__(key)


@pytest.mark.parametrize("rule", RULES)
def test_rules_read_one_split_and_unsupervised_ones_no_target_label(rule):
    found = RULES[rule]
    key = rule if found.reads_model else found.reads[0].format(metric="accuracy")
    rows = [Spy(row | ({} if key == "epoch" else {key: 0.5})) for row in history()]  # all equal: ties are read too
    best_epoch(rows, rule, "accuracy")
    read = set().union(*(row.read for row in rows)) - {"epoch", "selectable"}
    expected = {
        "last": set(),
        "source_val": {"source_val/accuracy", "source_val/log_loss"},
        **{name: {name} for name, rule in RULES.items() if rule.reads_model},
        "target_val": {"target_val/accuracy", "target_val/log_loss"},
        "oracle": {"target_test/accuracy", "target_test/log_loss"},
    }
    assert read == expected[rule]
    assert RULES[rule].needs_target_labels == any(key.startswith("target_") for key in read)


@pytest.mark.parametrize("rule", RULES)
def test_an_epoch_of_the_source_stage_is_never_chosen(rule):
    rows = history()
    best = best_epoch(rows, rule, "accuracy")
    without = [row | {"selectable": False} if row["epoch"] == best else row for row in rows]
    assert best_epoch(without, rule, "accuracy") == best_epoch(
        [r for r in rows if r["epoch"] != best], rule, "accuracy"
    )
    assert best_epoch(without, rule, "accuracy") != best


def test_ties_go_to_the_earliest_epoch_in_any_order_of_rows():
    rows = [{"epoch": e, "source_val/accuracy": a} for e, a in enumerate([0.1, 0.8, 0.5, 0.8, 0.8])]
    assert best_epoch(rows, "source_val", "accuracy") == 1
    assert best_epoch(rows[::-1], "source_val", "accuracy") == 1
    assert best_epoch(rows[::-1], "last", "accuracy") == 4


def test_equals_are_told_apart_by_the_log_loss_of_their_split():
    losses = [0.9, 0.5, 0.4, 0.4, 0.1]
    rows = [
        {"epoch": e, "target_val/accuracy": a, "target_val/log_loss": loss, "target_test/log_loss": -e}
        for e, (a, loss) in enumerate(zip([0.8, 0.8, 0.8, 0.8, 0.7], losses))
    ]
    assert best_epoch(rows, "target_val", "accuracy") == 2


def test_metric_where_lower_is_better_is_minimised():
    rows = [{"epoch": e, "source_val/log_loss": a, "im": a} for e, a in enumerate([0.5, 0.2, 0.9])]
    assert best_epoch(rows, "source_val", "log_loss") == 1
    assert best_epoch(rows, "im", "log_loss") == 2  # a validator keeps its own direction
    assert best_epoch(rows, "last", "log_loss") == 2


def test_rule_without_a_score_is_absent():
    rows = [{"epoch": 0, "source_val/accuracy": 0.5, "dev": None}, {"epoch": 1, "im": 0.1}]
    assert best_epoch(rows, "target_val", "accuracy") is None
    assert best_epoch(rows, "dev", "accuracy") is None
    assert best_epoch(rows, "source_val", "accuracy") == 0
    assert best_epoch([], "last", "accuracy") is None
    assert set(select(rows, "accuracy")) == {"last", "source_val", "im"}
    assert select([], "accuracy") == {}


def test_select_returns_metrics_of_the_chosen_epoch_only():
    rows = history(epochs=3)
    rows[2]["target_test/auroc"] = None
    chosen = select(rows, "accuracy")
    for rule, values in chosen.items():
        epoch = values.pop("epoch")
        assert epoch == best_epoch(rows, rule, "accuracy")
        assert values.pop("score") == RULES[rule].score(rows[epoch], "accuracy")
        assert values == {k: v for k, v in rows[epoch].items() if "/" in k and v is not None}
    assert "im" not in chosen["im"]


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="did you mean 'source_val'"):
        best_epoch(history(), "sourceval", "accuracy")
    with pytest.raises(ValueError, match="did you mean 'accuracy'"):
        best_epoch(history(), "last", "acuracy")
    with pytest.raises(ValueError, match="epoch 0: im is nan"):
        best_epoch([{"epoch": 0, "im": float("nan")}], "im", "accuracy")


def test_scores_of_one_rule_are_higher_where_runs_are_better():
    """So that hyper-parameters can be chosen from records, whatever the direction of the metric."""
    for metric in ("accuracy", "log_loss"):
        good, bad = (0.9, 0.2) if metric == "accuracy" else (0.2, 0.9)
        scores = [
            select([{"epoch": 0, f"source_val/{metric}": value, "im": value}], metric)["source_val"]["score"]
            for value in (good, bad)
        ]
        assert scores[0] > scores[1]


def test_unsupervised_rules_are_given_no_label_of_the_target():
    for name in ("im", "snd", "dev", "iwcv"):
        assert RULES[name].reads_model
        assert not [read for read in RULES[name].reads if read.startswith(("target_", "target/losses"))]


PLUGIN = """
from tl_research.evaluation.rules import register_rule

@register_rule("margin", reads=("target/outputs",), of=("class",))
def margin(outputs):
    two = outputs.topk(2).values
    return float((two[:, 0] - two[:, 1]).mean())
"""


def test_a_rule_is_one_decorated_function_in_a_file_of_its_own(tmp_path):
    """It selects the run's weights, and its score is in the record."""
    plugin, out = tmp_path / "margin.py", tmp_path / "runs"
    plugin.write_text(PLUGIN)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "data: {name: simulated_market, n_source: 60, n_target: 60}\nmethod: {name: source_only}\n"
        "trainer: {max_epochs: 2}\nwandb: {mode: disabled}\nselection: {rule: margin}\n"
    )
    command = [sys.executable, "-m", "tl_research.cli", "fit", str(recipe), f"output={out}"]
    environment = os.environ | {"TL_RESEARCH_PLUGINS": str(plugin), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (record,) = (json.loads(path.read_text()) for path in out.rglob("result.json"))
    assert record["selection_rule"] == "margin"
    assert record["metrics"]["margin"]["score"] > 0


def test_a_rule_that_cannot_be_one_is_refused():
    with pytest.raises(ValueError, match="rule 'mixed': reads epoch, target/outputs, wants figures alone or none"):
        register_rule("mixed", reads=("epoch", "target/outputs"))
    with pytest.raises(ValueError, match="rule 'im' is registered twice"):
        register_rule("im", reads=("epoch",))(lambda epoch: epoch)
