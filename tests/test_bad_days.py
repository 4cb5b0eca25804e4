"""Signals, outputs that cannot be, rules without a score, runs that diverge: one message and the right exit code."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from tests.benchmark.test_runner import executed, stub  # noqa: F401  (a fixture)
from tests.test_experiment import COMMAND
from tl_research.cli import main
from tl_research.config import compose, run_id
from tl_research.errors import ConfigError, OutputError
from tl_research.parallel import preemption
from tl_research.runs.experiment import run
from tl_research.runs.record import read_history, read_record
from tl_research.storage.checkpoints import load_model_file

FAST = [
    "data.name=simulated_market", "data.n_source=120", "data.n_target=120", "encoder.name=mlp", "encoder.hidden=[4]",
    "trainer.max_epochs=2", "trainer.accelerator=cpu", "trainer.threads=1", "wandb.mode=disabled",
]  # fmt: skip


#: Weights that leave float32 in one step.
FAR = ["optimizer.name=sgd", "optimizer.momentum=0", "optimizer.lr=1e18", "encoder.hidden=[16,16,16,16]"]


def one_message(words, capsys, code) -> str:
    capsys.readouterr()
    assert main([str(word) for word in words]) == code
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    assert error.startswith("tl-research: ")
    return error


# Signals


def started(words):
    return subprocess.Popen([sys.executable, "-c", COMMAND, *words], stderr=subprocess.PIPE, text=True)


def ended_by_sigterm(process, is_at_work) -> str:
    """Send SIGTERM once it is at work; return its stderr."""
    try:
        deadline = time.monotonic() + 400
        while not is_at_work() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGTERM)
        error = process.communicate(timeout=200)[1]
    finally:
        process.kill()
    assert process.returncode == 143, error
    assert "Traceback" not in error
    assert "ended by SIGTERM; what is finished is kept, and the same command goes on from the last checkpoint" in error
    return error


def test_sigterm_to_fit_is_143_with_a_word_and_the_same_command_goes_on(tmp_path):
    words = [*FAST, "trainer.max_epochs=60", "trainer.checkpoint_every_n_steps=5", f"output={tmp_path / 'runs'}"]
    ended_by_sigterm(started(["fit", *words]), lambda: list(tmp_path.glob("runs/*/resume.ckpt")))
    (folder,) = (tmp_path / "runs").iterdir()
    assert read_record(folder) is None
    record = run(compose(None, words))
    whole = run(compose(None, [*words, f"output={tmp_path / 'whole'}"]))
    assert record.metrics == whole.metrics
    assert read_history(folder) == read_history(tmp_path / "whole" / record.run_id)


def test_sigterm_before_training_is_told_too(tmp_path, capsys):
    """Where nothing listens yet: here while the data are read, from a pipe that nobody writes."""
    os.mkfifo(tmp_path / "gate")
    plugin = tmp_path / "plugin.py"
    plugin.write_text(f"open({str(tmp_path / 'up')!r}, 'w').close()\nopen({str(tmp_path / 'gate')!r})\n")
    os.environ["TL_RESEARCH_PLUGINS"] = str(plugin)
    try:
        process = started(["fit", *FAST, f"output={tmp_path / 'runs'}"])
    finally:
        del os.environ["TL_RESEARCH_PLUGINS"]
    ended_by_sigterm(process, (tmp_path / "up").exists)


def test_sigterm_to_benchmark_ends_its_workers(tmp_path):
    tree = {
        "name": "s", "methods": ["source_only"], "tasks": ["old_market->new_market"], "seeds": 1,
        "common": {
            "data": {"name": "simulated_market", "n_source": 120, "n_target": 120}, "encoder": {"name": "linear"},
            "trainer": {"max_epochs": 5000, "accelerator": "cpu", "checkpoint_every_n_steps": 1},
            "wandb": {"mode": "disabled"},
        },
    }  # fmt: skip
    (tmp_path / "s.yaml").write_text(json.dumps(tree))
    words = ["benchmark", str(tmp_path / "s.yaml"), "--output", str(tmp_path / "runs")]
    ended_by_sigterm(started(words), lambda: list(tmp_path.glob("runs/*/resume.ckpt")))
    assert not list(tmp_path.glob("runs/*/result.json"))


def test_a_second_sigterm_does_not_wait_for_the_end_of_a_batch():
    before, got = signal.getsignal(signal.SIGTERM), []

    def training():
        with preemption.told_of_sigterm():
            preemption.ending_batches(True)
            for _ in range(3):
                os.kill(os.getpid(), signal.SIGTERM)
                got.append(1)

    with pytest.raises(preemption.Terminated) as end:
        training()
    assert got == [1]
    assert end.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before


# A killed worker


KILLED = """
import os, signal
from pathlib import Path
from tl_research.runs.record import Record, write_record


def run(config, *, suite=""):
    folder = Path(os.readlink("/proc/self/fd/1")).parent
    act = config["wandb"]["tags"][0]
    with open(Path(config["output"]) / "executed", "a") as file:
        file.write(f"{folder.name} {act} {os.getpid()}\\n")
    if act == "always" or not (folder / "resume.ckpt").exists():
        (folder / "resume.ckpt").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    task = {"suite": suite, "dataset": "d", "sources": ["a"], "target": "b"}
    write_record(folder, Record(folder.name, "ok", "source_only", "baseline", "unsupervised", task, 0, {}))
"""


def test_the_run_of_a_killed_worker_goes_on_from_its_checkpoint_once(stub, tmp_path, capsys):  # noqa: F811
    from tl_research.suites.runner import run_suite

    (tmp_path / "killed_stub.py").write_text(KILLED)
    suite, output = stub("once", "always")
    summary = run_suite(suite, output=output, run="killed_stub:run", jobs=1)
    assert (summary.ok, summary.failed, summary.left) == (1, {"failed": 1}, 0)
    assert [act for _, act, _ in executed(output)].count("once") == 2
    assert [act for _, act, _ in executed(output)].count("always") == 2
    told = capsys.readouterr().err
    assert told.count("again: ") == 2
    assert "SIGKILL" in told


# Outputs


@pytest.mark.parametrize("where", ["file", "file/below", "long"])
@pytest.mark.parametrize("command", ["fit", "benchmark", "compare"])
def test_an_output_that_cannot_be_is_one_message_with_its_path(tmp_path, monkeypatch, capsys, command, where):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("mine")
    output = "o" * 300 if where == "long" else where
    tree = {"name": "s", "methods": ["source_only"], "tasks": ["old_market->new_market"], "seeds": 1}
    common = {"data": {"name": "simulated_market"}, "wandb": {"mode": "disabled"}}
    Path("s.yaml").write_text(json.dumps(tree | {"common": common}))
    frame = pd.DataFrame({"x": np.arange(40.0), "y": ["a", "b"] * 20})
    frame.to_csv("old.csv", index=False)
    frame.assign(x=frame["x"] + 0.5).to_csv("new.csv", index=False)
    words = {
        "fit": ["fit", *FAST, f"output={output}"],
        "benchmark": ["benchmark", "s.yaml", "--output", output],
        "compare": ["compare", "old.csv", "new.csv", "--label", "y", "--shots", "2", "--output", output],
    }[command]
    # The text of a message is cut.
    assert output[:25] in one_message(words, capsys, 2)
    assert Path("file").read_text() == "mine"
    if command == "benchmark" and where != "long":
        assert where in one_message(["benchmark", "s.yaml", "--results", output], capsys, 2)
        assert not Path("runs").exists()


def test_a_run_folder_that_is_a_file_and_a_results_folder_are_one_message(tmp_path, capsys):
    words = [*FAST, f"output={tmp_path}"]
    folder = tmp_path / run_id(compose(None, words))
    folder.write_text("mine")
    assert str(folder) in one_message(["fit", *words], capsys, 2)
    assert folder.read_text() == "mine"


@pytest.mark.parametrize("kind", ["model", "history"])
def test_a_full_disk_names_the_folder_of_the_runs(tmp_path, monkeypatch, capsys, kind):
    def full(*_, **__):
        if kind == "model":
            raise RuntimeError("[enforce fail at inline_container.cc:671] . unexpected pos 576 vs 534")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/somewhere/tmpx3k2")

    if kind == "model":
        monkeypatch.setattr(torch, "save", full)
    else:
        monkeypatch.setattr("tl_research.runs.filling.write_history", full)
    error = one_message(["fit", *FAST, f"output={tmp_path / 'runs'}"], capsys, 2)
    assert error.startswith(f"tl-research: {tmp_path / 'runs'}: runs cannot be written (")
    assert "tmpx3k2" not in error


def test_an_error_of_writing_survives_the_way_between_processes():
    import pickle

    error = pickle.loads(pickle.dumps(OutputError(Path("runs"), "full")))
    assert str(error) == str(OutputError("runs", "full"))


# Errors


def test_a_run_that_diverges_is_one_line_and_says_so_in_its_record(tmp_path, capsys):
    for number, words in enumerate((FAR, [*FAR, "trainer.max_steps=1"])):
        output = tmp_path / str(number)
        error = one_message(["fit", *FAST, *words, f"output={output}"], capsys, 1)
        (folder,) = output.iterdir()
        assert read_record(folder).status == "diverged", error
        assert "optimizer.lr" in error
        assert str(folder) in error


def test_an_error_that_nobody_expected_is_one_line_with_its_traceback_in_a_file(tmp_path, monkeypatch, capsys):
    def broken(*_):
        raise ArithmeticError("boom\nsecond line")

    monkeypatch.setattr("tl_research.training.measuring.select", broken)
    words = ["fit", *FAST, f"output={tmp_path / 'runs'}"]
    error = one_message(words, capsys, 1)
    (folder,) = (tmp_path / "runs").iterdir()
    assert f"ArithmeticError: boom (a fault of tl-research, or of a plugin; the traceback is in {folder}" in error
    assert "in broken" in (folder / "error.txt").read_text()
    monkeypatch.setenv("TL_RESEARCH_DEBUG", "1")
    assert main(words) == 1
    assert "Traceback" in capsys.readouterr().err
    monkeypatch.undo()
    assert main(words) == 0
    assert not (folder / "error.txt").exists()


def test_outside_a_run_the_traceback_lies_in_the_temporary_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("tl_research.cli.listings._files_of", lambda _: 1 / 0)
    error = one_message(["data", "list"], capsys, 1)
    (file,) = tmp_path.glob("tl-research-error-*.txt")
    assert str(file) in error
    assert "ZeroDivisionError" in file.read_text()


HOSTILE = ["", " ", "nowhere", "/", "\0", "a\0b", "~nobodyhere", "x" * 300, "\udcff", "[", "${a}", "-", "*", "1e999"]
COMMANDS = {
    "fit": lambda text: ["fit", f"data.target={text}"],
    "fit recipe": lambda text: ["fit", text],
    "fit output": lambda text: ["fit", "data.label", f"output={text}"],
    "check": lambda text: ["check", text],
    "evaluate": lambda text: ["evaluate", text, "--data", text],
    "predict": lambda text: ["predict", text, "--data", "d.csv", "--out", f"{text}.csv"],
    "benchmark": lambda text: ["benchmark", text],
    "compare": lambda text: ["compare", text, "b.csv", "--label", text],
    "table": lambda text: ["table", text, "--suite", text],
    "status": lambda text: ["status", text, "--suite", text],
    "fetch": lambda text: ["data", "fetch", text],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_hostile_arguments_end_in_one_message(tmp_path, monkeypatch, capsys, command):
    monkeypatch.chdir(tmp_path)
    for text in HOSTILE:
        try:
            code = main(COMMANDS[command](text))
        except SystemExit as refusal:  # of the parser of arguments
            code = refusal.code
        error = capsys.readouterr().err
        assert code in (0, 2), (command, text, code, error)
        assert "Traceback" not in error
    assert not list(tmp_path.glob("runs/*/result.json"))


@pytest.mark.slow
@pytest.mark.parametrize("words", [["fit", "\udcff.yaml"], ["table", "nowhere", "--suite", "é.yaml"], ["check", "/"]])
def test_of_a_real_process_too(tmp_path, words):
    command = [sys.executable, "-m", "tl_research.cli", *words]
    done = subprocess.run(command, capture_output=True, cwd=tmp_path, env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert done.returncode in (0, 2)
    assert b"Traceback" not in done.stderr


# Rules without a score


def few(shots, *more):
    return ["data.name=simulated_market", "data.n_source=300", "data.n_target=150", *FAST[3:], "data.setting=few_shot",
            f"data.shots={shots}", "method.name=target_only", *more]  # fmt: skip


@pytest.mark.parametrize("shots", ["0.02", "1e-9"])
def test_a_share_that_leaves_no_label_to_validate_on(tmp_path, capsys, shots):
    config = compose(None, few(shots, f"output={tmp_path}"))
    assert config.selection.rule == "target_val"
    record = run(config)
    assert record.selection_rule == "last"
    assert any("selection.rule=auto is last here" in line for line in record.data["remarks"])
    assert load_model_file(tmp_path / record.run_id)["epoch"] == record.metrics["last"]["epoch"] == 1
    error = one_message(["fit", *few(shots, "selection.rule=target_val", f"output={tmp_path / 'b'}")], capsys, 2)
    assert "selection.rule: got 'target_val', but there is no row of target_val" in error
    assert "0 validate" in error
    assert "wants one of last, source_val, im, snd, dev, iwcv" in error


def test_a_greedy_soup_without_a_label_to_validate_on_is_refused_before_training(tmp_path):
    words = few("0.02", "method.name=model_soup", "method.kind=greedy", "trainer.max_epochs=8", f"output={tmp_path}")
    with pytest.raises(ConfigError, match=r"selection\.rule: got 'target_val', but there is no row"):
        run(compose(None, words))


def test_where_a_rule_comes_from_is_no_part_of_the_runs_name():
    automatic = compose(None, FAST)
    named = compose(None, [*FAST, "selection.rule=source_val"])
    assert (automatic.selection.from_auto, named.selection.from_auto) == (True, False)
    assert run_id(automatic) == run_id(named)


def test_a_rule_that_has_no_score_in_any_epoch_keeps_the_last(tmp_path, monkeypatch):
    too_far_apart = lambda source, target, at: np.full(len(at), np.inf)  # noqa: E731
    monkeypatch.setattr("tl_research.evaluation.measure.density_ratio", too_far_apart)
    record = run(compose(None, [*FAST, "selection.rule=dev", f"output={tmp_path}"]))
    assert record.selection_rule == "last"
    assert "selection.rule=dev: no epoch has a score by it" in record.data["remarks"][-1]
    assert load_model_file(tmp_path / record.run_id)["epoch"] == 1


@pytest.mark.parametrize(
    ("override", "key"),
    [("selection.rule=dev", "selection.rule"), ("selection.rule=source_val", "selection.rule"),
     ("data.setting=supervised", "data.setting")],
)  # fmt: skip
def test_a_transductive_set_refuses_what_needs_held_out_rows(override, key):
    words = ["data.name=mnist_usps", "data.sources=[mnist]", "data.target=usps", "method.name=target_only"]
    words = words if "supervised" in override else [*words[:3], "method.name=source_only"]
    with pytest.raises(ConfigError, match=key):
        compose(None, [*words, override])
