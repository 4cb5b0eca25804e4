"""Every script under benchmarks/ runs, on a few rows; what it measures there is nobody's figure."""

import csv
import importlib
import sys
from pathlib import Path

import pytest

from tl_research.portfolio import parts
from tl_research.registry import DATASETS

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
ONCE = ("--threads", "1", "--repeats", "1")
KERNELS = ("--device", "cpu", "--threads", "1", "--rows", "16", "--width", "8", "--bandwidths", "1", "--dtype", "fp32")
PEERS = ("--peers", "--rows", "120", "--columns", "6", "--threads", "1", "--turns", "1")
VISION = ("--only", "vision", "--model", "test_resnet", "--vision-device", "cpu", "--variants", "fp32")
#: Script -> the commands of its miniature, one after another; `OUT` is a path in an empty folder.
MINIATURES = {
    "relational_prior": [
        ("--targets", "audi", "--seeds", "0", "--labels", "20", "--methods", "own ridge", "relational_prior",
         "--out", "OUT.csv"),
    ],
    "closed_form": [
        (*PEERS, "--method", "source_only", "--out", "OUT.csv"),
        ("--scale-cell", "coral", "120", "6", "cpu"),
        ("--error-cell", "kmm", "120", "6", "cpu"),
    ],
    "coverage": [
        ("--part", part, "--only", "1", "--draws", "2", "--out", "OUT.csv") for part in ("suite", "answer")
    ],
    "defaults": [
        ("run", "dan", "--values", "1", "--tasks", "digits upright->shifted", "--seeds", "20", "--epochs", "2",
         "--runs", "OUT", "--csv", "OUT.csv"),
        ("page", "--csv", "OUT.csv", "--page", "OUT.md"),
    ],
    "few_labels": [
        ("--cases", "linear", "--labels", "20", "--seeds", "0", "--epochs", "1", "--out", "OUT.csv"),
    ],
    "number_weights": [
        ("--families", "tree", "--labels", "20", "--seeds", "0", "--trees", "3", "--out", "OUT.csv"),
    ],
    "kernels": [
        (*KERNELS, "--form", "gram", "ours", "--no-memory", "--out", "OUT.csv"),
        (*KERNELS, "--form", "ours", "--memory", "--out", "OUT.csv"),
    ],
    "kernels_ahead": [("--cards", "90", "--cells", "3", "--out", "OUT.csv")],
    "kernels_table": [(), ("--memory",)],
    "card": [("--device", "cpu"), ()],
    "device_rates": [("--device", "cpu", "--side", "64", "--copy-mb", "1", "--out", "OUT.csv")],
    "gpu_tables": [("--folder", "OUT", "--page", "OUT.md")],
    "gpu_tests": [("--files", "tests/kernels/test_linear.py", "--out", "OUT.csv")],
    "kernel_host_time": [("--device", "cpu", "--rows", "8", "--width", "8", "--dtype", "fp32", "--out", "OUT.csv")],
    "kernel_paths": [("--device", "cpu", "--rows", "16", "--widths", "8", "24", "--out", "OUT.csv")],
    "pages": [("digits_jda", "--folder", "OUT")],
    "portfolio_peers": [
        ("--tasks", "bank telephone->cellular", "--seeds", "0", "--set", "method.source_rows=200", "data.shots=10",
         "--out", "OUT.csv"),
    ],
    "portfolio_time": [
        ("--rows", "200", "--labels", "20", "--columns", "6", "--test-rows", "50", "--trees", "5", "--out", "OUT.csv"),
    ],
    "pretraining": [(*ONCE, "--methods", "linear_probe", "--epochs", "2", "--out", "OUT.csv")],
    "recommend": [
        ("--threads", "1", "--users", "2000", "--items", "1000", "--rows", "20000", "--tested", "100", "--epochs", "1",
         "--ease-items", "300", "--repeats", "1", "--case", "als", "bpr", "lightgcn", "ranking", "ease",
         "--out", "OUT.csv"),
        ("--part", "als", "--threads", "1", "--users", "2000", "--items", "1000", "--rows", "20000", "--tested", "100",
         "--out", "OUT.csv"),
    ],
    "scaling": [
        (*VISION, "--methods", "dann", "--repeats", "1", "--size", "32", "--vision-batch", "2", "--vision-steps", "2"),
        ("--only", "scaling", "--methods", "dan", "--processes", "1", "--steps", "2", "--repeats", "1",
         "--batch-size", "8", "--out", "OUT.csv"),
    ],
    "answer_time": [
        ("--rows", "300", "--labels", "60", "--options=--resamples=2", "--options=--set", "--options", "method.trees=5",
         "method.repeats=1", "--out", "OUT.csv"),
    ],
    "calibration": [("coverage", "--draws", "2")],
    "label_sets": [
        ("run", "--problems", "digits", "--seeds", "0", "--epochs", "1", "--csv", "OUT.csv"),
        ("page", "--csv", "OUT.csv", "--page", "OUT.md"),
    ],
    "large_files": [("--rows", "400", "--new-rows", "200", "--columns", "12", "--sample", "100")],
    "cross_domain": [
        ("--tasks", "de<-uk", "--settings", "warm", "--seeds", "0", "--out", "OUT.csv"),
    ],
    "rating_prediction": [
        ("--tasks", "music<-book", "--settings", "cold_0.8", "--seeds", "0", "--out", "OUT.csv"),
    ],
    "sampled_ranking": [("--tasks", "de<-uk", "--negatives", "OUT", "--out", "OUT.csv")],
    "text_trap": [
        ("--tasks", "fdu_reviews books->electronics", "--labels", "20", "--seeds", "0", "--source-rows", "60",
         "--trees", "3", "--out", "OUT.csv"),
    ],
    "tabular_transfer": [
        ("run", "--tasks", "churn Germany->France", "used toyota->merc", "--labels", "20", "--seeds", "0",
         "--old-rows", "200", "--trees", "10", "--test-rows", "200", "--out", "OUT.csv"),
        ("page", "--out", "OUT.csv"),
        ("rows", "--tasks", "used toyota->merc", "--labels", "20", "--seeds", "0", "--old-rows", "200",
         "--test-rows", "50", "--rows-to", "OUT_cells"),
    ],
    "several_sources": [
        ("run", "--problems", "planted_sources", "--rows", "source_only", "dctn", "--seeds", "0", "--epochs", "1",
         "--csv", "OUT.csv"),
        ("page", "--csv", "OUT.csv", "--page", "OUT.md"),
    ],
    "throughput": [(*ONCE, "--rows", "8192", "--steps", "5", "--out", "OUT.csv")],
    "tradaboost": [("--tasks", "market, other measurement, 10 per class", "--seeds", "0", "--out", "OUT")],
    "verdicts": [
        ("--draws", "1", "--labels", "40", "--old-rows", "60", "--resamples", "2", "--trees", "2", "--out", "OUT.csv"),
    ],
    "step_cost": [
        ("run", "--methods", "mcc", "--repeats", "1", "--epochs", "2", "--csv", "OUT.csv"),
        ("page", "--csv", "OUT.csv", "--page", "OUT.md"),
    ],
    "two_moons": [
        ("run", "--methods", "source_only", "mcc", "--seeds", "0", "--epochs", "1", "--csv", "OUT.csv"),
        ("page", "--csv", "OUT.csv", "--page", "OUT.md"),
    ],
    "validators": [
        ("run", "--problems", "two_moons", "rare", "--methods", "source_only", "mcc", "--seeds", "0", "--epochs", "2",
         "--csv", "OUT.csv"),
        ("page", "--csv", "OUT.csv", "--page", "OUT.md"),
    ],
    "vision_step": [(*ONCE, "--model", "test_resnet", "--batch-size", "2", "--steps", "2", "--out", "OUT.csv")],
    "weighting_error": [("--rows", "60", "--draws", "10", "--out", "OUT")],
}  # fmt: skip
#: What the scripts import from beside them.
PARTS = ("cells", "epoch_clock", "gpu_sections", "rounds", "transfer_page", "transfer_tasks")


def test_every_script_has_a_miniature():
    assert {path.stem for path in BENCHMARKS.glob("*.py")} == {*MINIATURES, *PARTS}


@pytest.mark.parametrize("name", MINIATURES)
def test_a_script_runs_in_miniature(name, tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    # One of the scripts leaves boosters out of every portfolio of its process.
    monkeypatch.setattr(parts, "MOST_COLUMNS", parts.MOST_COLUMNS)
    # Another registers a data set, which the tests behind it must not find.
    DATASETS.discover()
    monkeypatch.setattr(DATASETS, "_entries", {**DATASETS._entries})
    script = importlib.import_module(name)
    for words in MINIATURES[name]:
        words = [word.replace("OUT", str(tmp_path / "out")) for word in words]
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *words])
        # 1: a bar is not met, as it is bound to be on so few rows.
        assert script.main() in (None, 0, 1)
        assert capsys.readouterr().out or words[:1] in (["run"], ["page"])
    figures = tmp_path / "out.csv"
    if any("--out" in words or "--csv" in words for words in MINIATURES[name]):
        with figures.open(newline="") as file:
            lines = list(csv.DictReader(file))
        assert lines
        assert {line.get("status", "ok") for line in lines} == {"ok"}
