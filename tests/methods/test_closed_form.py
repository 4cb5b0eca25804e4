"""Closed-form methods at the edges: tables, missing classes, tiny domains, the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tl_research.cli import main
from tl_research.config import compose
from tl_research.errors import DataError, UserError
from tl_research.runs.experiment import run
from tl_research.runs.predictor import Predictor
from tl_research.runs.record import read_history
from tl_research.suites.compare import comparison

FAST = ["trainer.accelerator=cpu", "trainer.checkpoint_every_seconds=null", "wandb.mode=disabled"]
#: One of each kind: a linear map, a kernel projection, a transport, a classifier of its own, no map.
SOME = ("coral", "tca", "linear_monge", "easy_tl", "shallow")
WEIGHTED = ("kmm", "kliep", "density_ratio")


def shop(rows: int, seed: int, cuts=(40,)) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {"age": rng.normal(40, 10, rows), "constant": 7.0, "channel": rng.choice(["web", "app", "store"], rows)}
    )
    frame["bought"] = np.digitize(frame["age"] + rng.normal(0, 5, rows), cuts).astype(str)
    return frame


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shop(80, 0).to_csv("old.csv", index=False)
    shop(60, 1).to_csv("new.csv", index=False)
    return tmp_path


def words(method: str, *more: str, source="old.csv", target="new.csv") -> list[str]:
    domains = ["data.name=files", f"data.sources=[{source}]", f"data.target={target}", "data.label=bought"]
    return [*domains, f"method.name={method}", *FAST, *more]


@pytest.mark.parametrize("method", SOME)
def test_a_table_with_categories_and_a_constant_column(method, folder):
    record = run(compose(None, words(method)))
    assert record.metrics["last"]["target_test/accuracy"] > 0.5
    probability = Predictor.load(folder / "runs" / record.run_id).probabilities(shop(10, 2).drop(columns="bought"))
    assert probability.shape == (10, 2)
    assert bool(probability.isfinite().all())


@pytest.mark.parametrize("weighting", WEIGHTED)
def test_weights_of_a_table_with_categories_and_a_constant_column(weighting, folder):
    record = run(compose(None, words("shallow", f"method.weighting={weighting}")))
    assert record.data["method"]["weighting"]["effective_share"] > 0.3
    assert record.metrics["last"]["target_test/accuracy"] > 0.5


def test_a_class_that_the_source_has_not_is_one_clear_error(folder):
    old = shop(80, 0, cuts=(35, 45))
    old[old["bought"] != "2"].to_csv("old.csv", index=False)
    shop(80, 1, cuts=(35, 45)).to_csv("new.csv", index=False)
    with pytest.raises(DataError, match=r"new\.csv has the extra classes '2', which old\.csv lacks"):
        run(compose(None, words("shallow")))


@pytest.mark.parametrize("override", ["method.name=coral", "method.weighting=kliep"])
@pytest.mark.parametrize("side", ["source", "target"])
def test_a_domain_of_two_rows_works_or_is_one_clear_error(override, side, folder):
    shop(2, 5).assign(bought=["0", "1"]).to_csv("two.csv", index=False)
    recipe = words("shallow", **{side: "two.csv"})
    recipe = [word for word in recipe if word != "method.name=shallow" or not override.startswith("method.name")]
    message = ""
    try:
        run(compose(None, [*recipe, override]))
    except UserError as error:
        message = str(error)
    assert "\n" not in message
    assert not message or "row" in message


def test_fit_takes_one_epoch_whatever_is_asked_for_and_predicts(folder, capsys):
    assert main(["fit", *words("coral", "trainer.max_epochs=50")]) == 0
    (made,) = Path("runs").iterdir()
    assert len(read_history(made)) == 1
    shop(20, 3).drop(columns="bought").to_csv("fresh.csv", index=False)
    assert main(["predict", str(made), "--data", "fresh.csv", "--out", "p.csv"]) == 0
    predicted = pd.read_csv("p.csv")
    assert len(predicted) == 20
    assert np.allclose(predicted["p_0"] + predicted["p_1"], 1)
    shop(40, 4).to_csv("labelled.csv", index=False)
    assert main(["evaluate", str(made), "--data", "labelled.csv"]) == 0
    assert "accuracy" in capsys.readouterr().out


def test_compare_takes_further_methods(folder):
    suite = comparison(
        ["old.csv"],
        "new.csv",
        label="bought",
        shots=5,
        seeds=1,
        metric="accuracy",
        overrides={},
        also=["coral", "tradaboost", "dann"],
    )
    shown = {"data": {"setting": "few_shot", "shots": 5}}
    assert "coral" in suite["methods"]
    assert suite["methods"].count("dann") == 1
    assert {"name": "tradaboost", "with": shown} in suite["methods"]
    assert "coral see no target label" in suite["notes"]


def test_compare_refuses_a_method_that_there_is_not(folder, capsys):
    assert main(["compare", "old.csv", "new.csv", "--label", "bought", "--deep", "--methods", "corall"]) == 2
    assert "method.name: there is no method 'corall'; did you mean 'coral'" in capsys.readouterr().err
