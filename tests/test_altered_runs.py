"""Run folders that somebody has altered: whatever their files hold, a command ends with 0 or 2 and one message."""

import contextlib
import copy
import json
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf

from tl_research.cli import main
from tl_research.cli.runs import _print_record
from tl_research.config import compose, run_id
from tl_research.errors import DataError
from tl_research.report.table import collect, render
from tl_research.runs.experiment import run
from tl_research.runs.predictor import Predictor
from tl_research.runs.record import HISTORY_FILE, RECORD_FILE, BrokenRecord, read_history, read_record
from tl_research.storage.names import MODEL_FILE, RESUME_FILE
from tl_research.suites.suite import load_suite
from tl_research.training.resume import ResumeCheckpoint

MISSING = object()
VALUES = {
    "missing": MISSING, "null": None, "text": "high", "number": 1.5, "true": True, "nan": float("nan"),
    "list": [], "object": {}, "nested": [[{"a": [None]}]], "deep": json.loads("[" * 200 + "]" * 200), "huge": 10**400,
}  # fmt: skip


class Finished:
    def __init__(self, folder):
        self.root = folder / "runs"
        rng = np.random.default_rng(0)
        for name, rows in (("old", 60), ("new", 60)):
            frame = pd.DataFrame({"age": rng.normal(40, 10, rows), "shop": rng.choice(["web", "app"], rows)})
            frame["bought"] = np.where(frame["age"] > 40, "yes", "no")
            frame.to_csv(folder / f"{name}.csv", index=False)
        data = {"sources": [str(folder / "old.csv")], "target": str(folder / "new.csv")}
        common = {
            "data": {"name": "files", "label": "bought"}, "encoder": {"hidden": [4]},
            "trainer": {"max_epochs": 1, "accelerator": "cpu", "threads": 1}, "wandb": {"mode": "disabled"},
        }  # fmt: skip
        tree = {"name": "s", "common": common, "tasks": [{"name": "t", "data": data}], "methods": ["source_only"]}
        self.suite, self.recipe, self.rows = folder / "s.yaml", folder / "r.yaml", folder / "new.csv"
        self.suite.write_text(json.dumps(tree | {"seeds": 1}))
        (self.cell,) = load_suite(self.suite).cells(self.root)
        self.run = self.root / run(self.cell.config).run_id
        OmegaConf.save(self.cell.config, self.recipe)
        self.record = json.loads((self.run / RECORD_FILE).read_text())
        self.content = {path.name: path.read_bytes() for path in self.run.iterdir() if path.is_file()}

    def restore(self):
        for name, content in self.content.items():
            (self.run / name).write_bytes(content)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return Finished(tmp_path_factory.mktemp("altered"))


@pytest.fixture
def finished(made):
    yield made
    made.restore()


def paths(tree, depth=3, prefix=()):
    """Every key of a nested object, down to a depth; lists by their first member."""
    for key, value in tree.items():
        yield (*prefix, key)
        if depth > 1 and isinstance(value, list) and value and isinstance(value[0], dict):
            yield from paths(value[0], depth - 1, (*prefix, key, 0))
        elif depth > 1 and isinstance(value, dict):
            yield from paths(value, depth - 1, (*prefix, key))


def altered(tree, path, value):
    tree = copy.deepcopy(tree)
    node = tree
    for key in path[:-1]:
        node = node[key]
    if value is MISSING:
        del node[path[-1]]
    else:
        node[path[-1]] = value
    return tree


def ends_well(words, capsys, what, allowed=(0, 2)):
    """Run a command; return its exit code and stderr, after a look at both."""
    code = main([str(word) for word in words])
    error = capsys.readouterr().err
    assert code in allowed, (what, words[0], code, error)
    assert "Traceback" not in error, (what, error)
    messages = [line for line in error.splitlines() if line.startswith("tl-research: ")]
    assert len(messages) == (code == 2), (what, words[0], error)
    return code, error


def test_every_field_of_a_record_may_be_anything(finished, capsys):
    """What is read can be shown; what cannot is refused when it is read."""
    suite = load_suite(finished.suite)
    object.__setattr__(suite, "cells", lambda output="runs": [finished.cell])
    refused = shown = 0
    for path in [*paths(finished.record), ("metrics", "last", "target_test/new")]:
        if path[0] == "config" and len(path) > 1:
            continue  # it is kept, and nothing reads it
        if path[0] == "metrics" and len(path) > 1 and path[1] != "last":
            continue  # one rule is as the other
        for kind, value in VALUES.items():
            if kind == "missing" and path[-1] == "target_test/new":
                continue
            (finished.run / RECORD_FILE).write_text(json.dumps(altered(finished.record, path, value)))
            try:
                record = read_record(finished.run)
            except BrokenRecord as error:
                refused += str(finished.run / RECORD_FILE) in str(error)
                continue
            shown += 1
            if kind not in ("text", "object", "nested"):
                continue
            render(collect([record], suite), suite, records=[record])
            with contextlib.suppress(DataError):
                _print_record(record, finished.run)
    capsys.readouterr()
    assert refused > 200
    assert shown > 50


ALTERED = {
    "metrics null": ("metrics", None), "metrics text": ("metrics", {"last": {"epoch": 0, "target_test/auroc": "high"}}),
    "task null": ("task", None), "schema 99": ("schema", 99), "no rule": ("metrics", {"last": {"epoch": 0}}),
    "message list": ("message", ["a"]), "run of another": ("run_id", "0123456789ab"),
}  # fmt: skip


@pytest.mark.parametrize("what", ALTERED)
def test_an_altered_record_is_one_message_of_every_command(finished, capsys, what):
    key, value = ALTERED[what]
    (finished.run / RECORD_FILE).write_text(json.dumps(finished.record | {key: value}))
    for words in (("fit", finished.recipe), ("table", finished.root, "--suite", finished.suite)):
        _, error = ends_well(words, capsys, what, allowed=(2,))
        assert str(finished.run / RECORD_FILE) in error
    assert main(["status", str(finished.root)]) == 2
    assert "0 done, 0 running, 0 queued, 0 failed, 1 broken" in capsys.readouterr().out


@pytest.mark.parametrize(
    "content", [b"", b"null", b"[]", b"1", b'"ok"', b"{", b"\xff\xfe", b"[" * 100_000, b"{}", None], ids=repr
)
def test_a_record_that_is_none_is_named_and_left(finished, capsys, content):
    path = finished.run / RECORD_FILE
    path.unlink()
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    for words in (("fit", finished.recipe), ("table", finished.root, "--suite", finished.suite)):
        _, error = ends_well(words, capsys, content, allowed=(2,))
        assert str(path) in error
    # `benchmark` must not carry it out again: it may have been a finished run.
    assert main(["benchmark", str(finished.suite), "--output", str(finished.root)]) == 2
    assert f"{path}" in capsys.readouterr().err
    if content is None:
        path.rmdir()
    else:
        assert path.read_bytes() == content


def test_the_message_names_field_file_and_way_out(finished):
    record = altered(finished.record, ("metrics", "last", "target_test/accuracy"), "high")
    (finished.run / RECORD_FILE).write_text(json.dumps(record))
    with pytest.raises(BrokenRecord) as error:
        read_record(finished.run)
    wanted = f'{finished.run / RECORD_FILE}: not a result record (metrics.last.target_test/accuracy: got "high", '
    assert str(error.value) == f"{wanted}wants a number); remove the file to run it again"
    (finished.run / RECORD_FILE).write_text(json.dumps(finished.record | {"schema": 99}))
    with pytest.raises(BrokenRecord, match="schema: got 99, this version reads 1"):
        read_record(finished.run)


def test_one_broken_record_is_named_and_counted_and_the_others_are_shown(finished, capsys):
    other = finished.root / "0123456789ab"
    other.mkdir()
    try:
        (other / RECORD_FILE).write_text("{")
        # It is no run of the suite: named, but nothing of the table is missing.
        _, error = main(["table", str(finished.root), "--suite", str(finished.suite)]), capsys.readouterr()
        assert "1 planned, 1 ok" in error.out
        assert "1 record cannot be read and is left out, 0 of this suite" in error.err
        assert main(["status", str(finished.root)]) == 2
        shown = capsys.readouterr().out
        assert "2 runs: 1 done, 0 running, 0 queued, 0 failed, 1 broken" in shown
        # A copy of a run would count twice.
        (other / RECORD_FILE).write_bytes(finished.content[RECORD_FILE])
        assert main(["table", str(finished.root), "--suite", str(finished.suite)]) == 0
        assert f"is the record of run '{finished.run.name}'" in capsys.readouterr().err
    finally:
        (other / RECORD_FILE).unlink()
        other.rmdir()


def test_every_part_of_a_model_file_may_be_anything(finished, tmp_path, capsys):
    path, raw = finished.run / MODEL_FILE, pd.read_csv(finished.rows).drop(columns="bought")
    content = torch.load(path, weights_only=True)
    tensors = {"nan": torch.tensor([float("nan")]), "whole": torch.tensor([3]), "empty": torch.zeros(0)}
    refused = 0
    for key in paths(content):
        if key[0] == "config" and len(key) > 2:
            continue
        for kind in ("missing", "null", "text", "number", "object", "nested", *tensors):
            torch.save(altered(content, key, (VALUES | tensors)[kind]), path)
            try:
                assert Predictor.load(finished.run).probabilities(raw).isfinite().all(), (key, kind)
            except DataError as error:
                refused += str(path) in str(error)
    assert refused > 100
    commands = (
        ("predict", finished.run, "--data", finished.rows, "--out", tmp_path / "p.csv"),
        ("evaluate", finished.run, "--data", finished.rows),
    )
    for whole in ({"format": 1}, [], torch.zeros(2), altered(content, ("transform", "kind"), "sheet")):
        torch.save(whole, path)
        for words in commands:
            assert str(path) in ends_well(words, capsys, whole, allowed=(2,))[1]


def test_nan_weights_wrong_shapes_and_another_method_predict_nothing(finished, tmp_path, capsys):
    content = torch.load(finished.run / MODEL_FILE, weights_only=True)
    weights = content["model"]
    spoilt = {
        "nan or infinite weights": {name: torch.full_like(value, torch.nan) for name, value in weights.items()},
        "size mismatch": {name: torch.ones(1, 1) for name in weights},
        "Missing key": {f"other.{name}": value for name, value in weights.items()},
    }
    words = ("predict", finished.run, "--data", finished.rows, "--out", tmp_path / "p.csv")
    for said, model in spoilt.items():
        torch.save(content | {"model": model}, finished.run / MODEL_FILE)
        assert said in ends_well(words, capsys, said, allowed=(2,))[1]
    other = altered(content, ("config", "method", "name"), "dan")
    torch.save(other, finished.run / MODEL_FILE)
    ends_well(words, capsys, "another method")
    # A plain pickle: torch warned in two lines above the message.
    (finished.run / MODEL_FILE).write_bytes(pickle.dumps({"format": 1}, protocol=4))
    _, error = ends_well(words, capsys, "pickle", allowed=(2,))
    assert error.count("\n") == 1


def test_weights_that_are_gone_are_made_again_with_their_record(finished, capsys):
    before = json.loads((finished.run / RECORD_FILE).read_text())
    (finished.run / MODEL_FILE).unlink()
    assert main(["fit", str(finished.recipe)]) == 0
    assert (finished.run / MODEL_FILE).is_file()
    after = json.loads((finished.run / RECORD_FILE).read_text())
    assert after["metrics"] == before["metrics"]
    assert after["started"] >= before["started"]
    assert not list(finished.run.glob("model.again"))
    # Stopped half-way: what lies there is of no epoch that was selected, although the record is ok.
    (finished.run / "model.again").touch()
    (finished.run / MODEL_FILE).write_bytes(b"half")
    assert main(["fit", str(finished.recipe)]) == 0
    assert torch.load(finished.run / MODEL_FILE, weights_only=True)["format"] == 1
    assert not list(finished.run.glob("model.again"))


@pytest.mark.parametrize("content", ["half", "altered", "none"])
def test_a_finished_run_whose_weights_are_damaged_says_so_and_keeps_its_record(finished, capsys, content):
    finished.restore()
    weights, record = finished.run / MODEL_FILE, (finished.run / RECORD_FILE).read_bytes()
    whole = weights.read_bytes()
    middle = len(whole) // 2
    damaged = {"half": whole[:middle], "altered": whole[:middle] + bytes(64) + whole[middle + 64 :], "none": b"weights"}
    weights.write_bytes(damaged[content])
    assert main(["fit", str(finished.recipe)]) == 1
    said = capsys.readouterr().err
    assert f"{MODEL_FILE}: the checkpoint is " in said
    assert "the record of this finished run is whole and stays" in said
    assert said.count("\n") == 1
    assert (finished.run / RECORD_FILE).read_bytes() == record
    weights.unlink()
    assert main(["fit", str(finished.recipe)]) == 0


@pytest.mark.parametrize("line", ["{", "null", "[1]", '{"epoch": "one"}', '{"loss": 1}', '{"epoch": NaN}', "\udcff"])
def test_a_history_that_is_none_names_file_and_line(tmp_path, line):
    (tmp_path / HISTORY_FILE).write_text(f'{{"epoch": 0}}\n{line}\n', errors="surrogateescape")
    with pytest.raises(DataError, match=rf"{HISTORY_FILE}.*remove the file"):
        read_history(tmp_path)


@pytest.mark.parametrize("kind", ["foreign", "empty", "shapes", "no loops", "no generators"])
def test_a_resume_checkpoint_of_another_run_is_one_message(tmp_path, capsys, kind):
    words = [
        "data.name=simulated_market", "data.n_source=100", "data.n_target=100", "encoder.name=mlp",
        "encoder.hidden=[4]",
        "trainer.max_epochs=2", "trainer.accelerator=cpu", "trainer.checkpoint_every_n_steps=1",
        "wandb.mode=disabled", f"output={tmp_path}",
    ]  # fmt: skip
    config = compose(None, words)
    folder = tmp_path / run_id(config)
    saved, save = [], ResumeCheckpoint.save

    def stop(self, trainer):
        save(self, trainer)
        saved.append(1)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ResumeCheckpoint, "save", stop)
        with pytest.raises(KeyboardInterrupt):
            run(config)
    content = torch.load(folder / RESUME_FILE, weights_only=True)
    if kind == "foreign":
        content = {"epoch": 3, "state_dict": {}}
    elif kind == "empty":
        content = []
    elif kind == "shapes":
        content["state_dict"] = {name: torch.ones(1, 1) for name in content["state_dict"]}
    elif kind == "no loops":
        content["loops"] = None
    else:
        content["callbacks"]["RandomState"] = {"torch": "text"}
    torch.save(content, folder / RESUME_FILE)
    _, error = ends_well(["fit", *words], capsys, kind, allowed=(2,))
    assert str(folder / RESUME_FILE) in error
