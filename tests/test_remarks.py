"""What a suite says on the screen: of its own runs, each remark once, and no empty table without a word."""

import json

import numpy as np
import pandas as pd
import pytest

from tl_research.cli import main
from tl_research.cli.remarks import print_remarks_of_runs
from tl_research.runs.experiment import run
from tl_research.suites.suite import load_suite


def test_remarks_that_differ_in_numbers_alone_are_said_once(capsys):
    few = "few rows to measure on: {} rows; accuracy 0.{}, 95 % interval 0.4 to 0.9"
    print_remarks_of_runs(
        [[few.format(25, 64), "column 'a' left out"], [few.format(26, 68)], ["column 'b' left out"], []]
    )
    assert capsys.readouterr().err.splitlines() == [
        f"note: {few.format(25, 64)} (the first of 2 runs with this note)",
        "note: column 'a' left out",
        "note: column 'b' left out",
    ]


@pytest.fixture
def suite_of(tmp_path, monkeypatch):
    """Write a suite over two small files, finish its runs here, and return its name."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name in ("old", "new"):
        frame = pd.DataFrame({"age": rng.normal(40, 10, 80)})
        frame.assign(bought=np.where(frame["age"] + rng.normal(0, 5, 80) > 40, "yes", "no")).to_csv(
            f"{name}.csv", index_label="row_id"
        )

    def make(name, drop=(), **keys):
        data = {"name": "files", "label": "bought", "sources": ["old.csv"], "target": "new.csv", "drop": list(drop)}
        trainer = {"max_epochs": 1, "accelerator": "cpu", "threads": 1}
        common = {"data": data, "encoder": {"hidden": [4]}, "trainer": trainer, "wandb": {"mode": "disabled"}}
        tree = {"name": name, "common": common, "tasks": [{"name": "t", "data": {}}], "methods": ["source_only"]}
        (tmp_path / f"{name}.yaml").write_text(json.dumps(tree | {"seeds": 3} | keys))
        for cell in load_suite(f"{name}.yaml").cells("runs"):
            run(cell.config)
        return f"{name}.yaml"

    return make


def test_a_suite_speaks_of_its_own_runs_and_once(suite_of, capsys):
    suite_of("other")  # with the index column, which is remarked on
    assert main(["benchmark", suite_of("own", drop=["row_id"])]) == 0
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note:")]
    kinds = [line.split(":")[1].split()[0] for line in notes]
    assert "few" in kinds
    assert len(set(kinds)) == len(kinds)
    assert "row_id" not in str(notes)
    assert main(["benchmark", "other.yaml"]) == 0
    assert "'row_id'" in capsys.readouterr().err


def test_a_metric_that_no_run_has_is_no_empty_table_without_a_word(suite_of, capsys):
    suite_of("s", metric="rmse")
    for command in (["benchmark", "s.yaml"], ["table", "runs", "--suite", "s.yaml"]):
        assert main(command) == 2
        error = capsys.readouterr().err.splitlines()
        assert "s.yaml: metric: no run has 'rmse'" in error[-1]
        assert "accuracy" in error[-1]
    suite_of("s", metric="accuracy", metrics=["accuracy", "mae"])
    assert main(["table", "runs", "--suite", "s.yaml"]) == 0
    assert capsys.readouterr().err.splitlines() == ["note: s.yaml: metrics: no run has 'mae'"]
