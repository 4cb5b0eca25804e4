import errno
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from tl_research.cli import main
from tl_research.metrics.classes import classification_metrics

FAST = ["trainer.max_epochs=2", "trainer.accelerator=cpu", "wandb.mode=disabled"]


def shop(rows: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"age": rng.normal(40, 10, rows), "channel": rng.choice(["web", "app"], rows)})
    frame["bought"] = np.where(frame["age"] + rng.normal(0, 5, rows) > 40, "yes", "no")
    return frame


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shop(300, 0).to_csv("old.csv", index=False)
    shop(200, 1).to_parquet("new.parquet")
    return ["data.name=files", "data.sources=[old.csv]", "data.target=new.parquet", "data.label=bought", *FAST]


def fit(files) -> str:
    assert main(["fit", *files]) == 0
    (folder,) = Path("runs").iterdir()
    return str(folder)


def test_fit_evaluate_predict_on_the_users_own_files(files, capsys):
    folder = fit(files)
    assert "oracle (upper bound: target test labels)" in capsys.readouterr().out
    fresh = shop(120, 2)
    fresh.loc[3, "channel"] = "store"  # a category that training has not seen
    fresh.to_csv("fresh.csv", index=False)
    assert main(["predict", folder, "--data", "fresh.csv", "--out", "preds.parquet"]) == 0
    preds = pd.read_parquet("preds.parquet")
    assert len(preds) == 120
    assert np.allclose(preds["p_no"] + preds["p_yes"], 1)
    assert ((preds["p_yes"] > 0.5) == (preds["prediction"] == "yes")).all()
    capsys.readouterr()
    assert main(["evaluate", folder, "--data", "fresh.csv"]) == 0
    printed = dict(line.split() for line in capsys.readouterr().out.splitlines()[1:])
    label = torch.tensor((fresh["bought"] == "yes").to_numpy().astype(int))
    logits = torch.tensor(preds[["p_no", "p_yes"]].to_numpy()).log()
    expected = classification_metrics(logits, label)
    assert float(printed["auroc"]) == pytest.approx(expected["auroc"], abs=1e-4)
    assert float(printed["accuracy"]) == pytest.approx((preds["prediction"] == fresh["bought"]).mean(), abs=1e-4)


def test_predicting_needs_no_label_and_evaluating_does(files, capsys):
    folder = fit(files)
    shop(20, 3).drop(columns="bought").to_csv("unlabelled.csv", index=False)
    assert main(["predict", folder, "--data", "unlabelled.csv", "--out", "p.csv"]) == 0
    assert len(pd.read_csv("p.csv")) == 20
    assert main(["evaluate", folder, "--data", "unlabelled.csv"]) == 2
    assert "unlabelled.csv" in capsys.readouterr().err
    shop(20, 3).drop(columns="age").to_csv("narrow.csv", index=False)
    assert main(["predict", folder, "--data", "narrow.csv", "--out", "p.csv"]) == 2
    assert "age" in capsys.readouterr().err
    assert main(["predict", folder, "--data", "unlabelled.csv", "--out", "p.xlsx"]) == 2
    assert main(["predict", "nowhere", "--data", "unlabelled.csv", "--out", "p.csv"]) == 2


@pytest.mark.parametrize(
    ("override", "words"),
    [("data.label=bougth", ["old.csv", "bougth", "bought"]), ("data.sources=[gone.csv]", ["gone.csv"])],
)
def test_a_users_mistake_is_one_line_and_exit_code_2(files, capsys, override, words):
    assert main(["fit", *files, override]) == 2
    error = capsys.readouterr().err.strip()
    assert error.count("\n") == 0
    assert all(word in error for word in words)


def test_changed_files_make_a_new_run(files):
    first = fit(files)
    shop(300, 9).to_csv("old.csv", index=False)
    assert main(["fit", *files]) == 0
    folders = {str(path) for path in Path("runs").iterdir()}
    assert len(folders) == 2
    assert first in folders


def test_check_reports_every_wrong_file(tmp_path, capsys):
    (tmp_path / "good.yaml").write_text("method: {name: dann}\n")
    (tmp_path / "bad.yaml").write_text("method: {name: dann, wieght: 1}\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "worse.yaml").write_text("optimizer: {lr: -1}\n")
    assert main(["check", str(tmp_path / "**" / "*.yaml")]) == 2
    captured = capsys.readouterr()
    assert "1 of 3 files are valid" in captured.out
    assert "bad.yaml: method.wieght" in captured.err
    assert "worse.yaml: optimizer.lr" in captured.err
    assert main(["check", str(tmp_path / "good.yaml")]) == 0
    assert main(["check", str(tmp_path / "absent.yaml")]) == 2
    capsys.readouterr()
    # A folder was "0 of 0 files are valid", with exit code 0.
    assert main(["check", str(tmp_path / "sub")]) == 2
    assert "**/*.yaml" in capsys.readouterr().err


SUITE = """
name: tiny
common: {data: {name: simulated_market, n_source: 200, n_target: 200}, trainer: {max_epochs: 2, accelerator: cpu},
         encoder: {hidden: [8]}, wandb: {mode: disabled}}
tasks: [old_market->new_market]
methods: [source_only, dann]
seeds: 2
"""


@pytest.mark.slow
def test_a_suite_from_yaml_to_table(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(SUITE)
    assert main(["benchmark", "tiny.yaml", "--jobs", "2"]) == 0
    out = capsys.readouterr().out
    assert "dann" in out
    frame = pd.read_csv("runs/tiny.csv")
    first = ["suite", "dataset", "sources", "target", "setting", "shots", "method", "family", "seed", "rule", "split"]
    assert list(frame.columns[:14]) == [*first, "metric", "value", "run_id"]
    for run_id, rows in frame.groupby("run_id"):
        metrics = json.loads((tmp_path / "runs" / run_id / "result.json").read_text())["metrics"]
        for row in rows.itertuples():
            assert row.value == pytest.approx(metrics[row.rule][f"{row.split}/{row.metric}"], abs=1e-6)
    assert (tmp_path / "runs" / "tiny.png").stat().st_size > 5000
    assert (tmp_path / "runs" / "tiny.md").read_text().strip() in out
    for wanted in ("md", "csv", "latex"):
        assert main(["table", "runs", "--suite", "tiny.yaml", "--format", wanted]) == 0
    assert "\\toprule" in capsys.readouterr().out


@pytest.mark.parametrize("what", ["methods", "datasets", "encoders"])
def test_listings(what, capsys):
    assert main([what]) == 0
    expected = {"methods": "Ganin et al. 2016", "datasets": "amazon_reviews", "encoders": "tabular"}
    assert expected[what] in capsys.readouterr().out


def test_data_fetch_and_list(tmp_path, mirror, capsys):
    where = ["--root", str(tmp_path)]
    assert main(["data", "fetch", "bank_marketing", *where, "--mirror", str(mirror)]) == 0
    assert main(["data", "list", *where]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert " here " in lines["bank_marketing"]
    assert "not here" in lines["amazon_reviews"]
    assert main(["data", "fetch", "bank_markting", *where]) == 2
    assert "bank_marketing" in capsys.readouterr().err


@pytest.mark.slow
def test_compare_deep_answers_and_then_carries_out_the_suite(tmp_path, monkeypatch, capsys):
    """A thousand old rows of the same law beat one label a class of the new one, and the page says so."""
    monkeypatch.chdir(tmp_path)
    for name, rows, seed in (("old.csv", 1000, 0), ("new.csv", 400, 1)):
        noise = np.random.default_rng(seed + 50).normal(size=(rows, 8))  # what few labels cannot see through
        shop(rows, seed).join(pd.DataFrame(noise, columns=list("abcdefgh"))).to_csv(name, index=False)
    fast = ["trainer.max_epochs=15", "trainer.accelerator=cpu", "wandb.mode=disabled", "encoder.hidden=[16]"]
    fast += ["method.trees=10", "method.repeats=1"]
    words = ["compare", "old.csv", "new.csv", "--label", "bought", "--shots", "1", "--seeds", "4", "--jobs", "1"]
    words += ["--deep", "--resamples", "2", "--metric", "accuracy", "brier", "auroc"]
    assert main([*words, "--set", *fast]) == 0
    (page_file,) = (tmp_path / "answers").glob("*/compare.md")
    page = page_file.read_text()
    assert "difference to new data only" in page
    assert "▲" in page
    shown = capsys.readouterr().out
    assert page.strip() in shown
    assert "Not in this table, as runs keep no predictions, but in the answer above: brier\n" in shown
    assert {"accuracy", "auroc"} <= set(pd.read_csv(page_file.with_suffix(".csv"))["metric"])
    verdict, model, command, _, answer, own_command = shown.strip().splitlines()[-6:]
    assert answer.startswith("The answer from 2 resamples: ")
    assert own_command == f"Apply it: tl-research predict {page_file.parent} --data FILE --out scores.parquet".replace(
        f"{tmp_path}/", ""
    )
    assert verdict.startswith("The old data helped: accuracy ")
    assert verdict.endswith("; use `portfolio`.")
    folder = model.rpartition(" ")[2]
    assert (Path(folder) / "model.ckpt").is_file()
    assert command == f"Apply it: tl-research predict {folder} --data FILE --out scores.parquet"
    assert main(["predict", folder, "--data", "new.csv", "--out", "scores.parquet"]) == 0
    frame = pd.read_csv(page_file.with_suffix(".csv"))
    means = frame[(frame["rule"] == "last") & (frame["metric"] == "accuracy")].groupby("method")["value"].mean()
    assert means["union"] > means["target_ensemble"] + 0.02
    assert main(["compare", "old.csv", "--label", "bought"]) == 2
    assert main([*words, "--set", "trainer.max_epoch=1"]) == 2


def test_a_full_disk_is_one_line_and_keeps_the_old_predictions(files, capsys, monkeypatch):
    folder = fit(files)
    shop(20, 3).to_csv("fresh.csv", index=False)
    assert main(["predict", folder, "--data", "fresh.csv", "--out", "p.csv"]) == 0
    before = Path("p.csv").read_bytes()

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    capsys.readouterr()
    assert main(["predict", folder, "--data", "fresh.csv", "--out", "p.csv"]) == 2
    assert capsys.readouterr().err == "tl-research: cannot be written or read (No space left on device)\n"
    assert Path("p.csv").read_bytes() == before
    assert [path.name for path in Path().glob(".p.csv*")] == []
