"""The command line over the user's own files where the label is a number."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from tl_research.cli import main

FAST = ["trainer.accelerator=cpu", "wandb.mode=disabled", "encoder.hidden=[16]", "optimizer.lr=0.01"]


def cars(rows: int, seed: int, discount: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"age": rng.integers(0, 15, rows), "fuel": rng.choice(["petrol", "diesel"], rows)})
    value = 20_000 - 1000.0 * frame["age"] + 3000 * (frame["fuel"] == "diesel") - discount
    frame["price"] = (value + rng.normal(0, 500, rows)).round(2)
    return frame


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cars(400, 0).to_csv("old.csv", index=False)
    cars(300, 1, discount=2000).to_parquet("new.parquet")
    files = ["data.name=files", "data.sources=[old.csv]", "data.target=new.parquet", "data.label=price"]
    return [*files, "trainer.max_epochs=15", *FAST]


def test_fit_evaluate_predict_a_number(files, capsys):
    few = ["data.setting=few_shot", "data.shots=50", "method.name=union"]
    assert main(["fit", *files, *few]) == 0
    out = capsys.readouterr().out
    assert "r2" in out
    assert "rmse" in out
    assert "accuracy" not in out
    (folder,) = Path("runs").iterdir()
    fresh = cars(150, 2, discount=2000)
    fresh.to_csv("fresh.csv", index=False)
    assert main(["predict", str(folder), "--data", "fresh.csv", "--out", "preds.csv"]) == 0
    preds = pd.read_csv("preds.csv")
    assert list(preds.columns) == ["row", "prediction"]
    assert sk.r2_score(fresh["price"], preds["prediction"]) > 0.6
    capsys.readouterr()
    assert main(["evaluate", str(folder), "--data", "fresh.csv"]) == 0
    printed = dict(line.split() for line in capsys.readouterr().out.splitlines()[1:])
    assert set(printed) == {"r2", "rmse", "mae"}
    assert float(printed["mae"]) == pytest.approx(sk.mean_absolute_error(fresh["price"], preds["prediction"]), abs=1e-3)
    fresh.drop(columns="price").to_csv("unlabelled.csv", index=False)
    assert main(["predict", str(folder), "--data", "unlabelled.csv", "--out", "p.csv"]) == 0
    assert np.allclose(pd.read_csv("p.csv")["prediction"], preds["prediction"])
    assert main(["evaluate", str(folder), "--data", "unlabelled.csv"]) == 2


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["method.name=group_dro"], "method.name: 'group_dro' takes a label of kind class, this one is regression"),
        (
            ["selection.rule=im"],
            "selection.rule: 'im' takes a label of kind class, this one is regression; wants one of last, source_val",
        ),
        (["data.task=class"], "data.task=regression"),
        (["method.name=shallow", "encoder={name: identity}"], "method.head: got 'logistic'"),
    ],
)
def test_what_does_not_fit_a_number_is_one_line_before_training(files, overrides, words, capsys):
    assert main(["fit", *files, *overrides]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert words in line


def test_check_refuses_what_a_recipe_alone_can_tell(tmp_path, capsys):
    recipe = tmp_path / "wrong.yaml"
    recipe.write_text("data: {name: simulated_market, task: regression}\nmethod: {name: jda}\n")
    assert main(["check", str(recipe)]) == 2
    assert "method.name: 'jda' takes a label of kind class" in capsys.readouterr().err
    recipe.write_text("data: {name: simulated_market, task: regression}\nmethod: {name: dann}\n")
    assert main(["check", str(recipe)]) == 0


def test_compare_takes_r2_where_the_label_is_a_number(files, capsys):
    # So far off that the old prices hurt whatever split the file's bytes give.
    cars(300, 1, discount=12_000).to_parquet("new.parquet")
    words = ["compare", "old.csv", "new.parquet", "--label", "price", "--shots", "8", "--seeds", "2", "--deep"]
    words += ["--resamples", "2", "--jobs", "1"]
    fast = ["trainer.max_epochs=10", "method.trees=5", "method.repeats=1", *FAST]
    assert main([*words, "--metric", "accuracy"]) == 2
    assert "--metric: got 'accuracy', wants a metric of numbers" in capsys.readouterr().err
    assert main([*words, "--set", *fast]) == 0
    (written,) = Path("answers").glob("*/compare.md")
    page = written.read_text()
    assert "8 target labels (in all)" in " ".join(page.split())
    frame = pd.read_csv(written.with_suffix(".csv"))
    assert set(frame["metric"]) == {"r2", "rmse"}
    assert (frame["run_id"].nunique(), len(set(frame["method"]))) == (18, 8)
    # of rmse lower is better: the row with the best r2 of a seed has the least rmse
    last = frame[(frame["rule"] == "last") & (frame["seed"] == 0)]
    by = last.pivot(index="label", columns="metric", values="value")
    assert by["r2"].idxmax() == by["rmse"].idxmin()
    assert "rmse (lower is better)" in page
    assert main([*words, "--metric", "rmse", "--set", *fast]) == 0
    (other,) = {*Path("answers").glob("*/compare.md")} - {written}
    # The old prices are far off: pooled with the new ones they make the error larger, and R² smaller.
    signs = []
    for text in (page, other.read_text()):
        below = text.split("difference to new data only")[1]
        union = next(line for line in below.splitlines() if line.startswith("| union"))
        signs.append(union.split("|")[2].strip()[0])
    assert signs == ["−", "+"]
