import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

import tl_research
from tl_research.cli import main
from tl_research.config import compose, run_id
from tl_research.data.paired import PairedDataModule
from tl_research.errors import DataError, NonFiniteLoss, UserError
from tl_research.methods.baseline.source_only import SourceOnly
from tl_research.runs.experiment import run, run_alone
from tl_research.runs.predictor import Predictor
from tl_research.runs.record import read_history, read_record
from tl_research.storage.checkpoints import load_model_file
from tl_research.storage.lock import exclusive

SMALL = {
    "data": {"name": "simulated_market", "n_source": 300, "n_target": 300},
    "encoder": {"name": "mlp", "hidden": [16]},
    "trainer": {"max_epochs": 3, "accelerator": "cpu", "checkpoint_every_seconds": None},
    "wandb": {"mode": "disabled"},
}


def small(output, *overrides):
    return compose(SMALL, [f"output={output}", *overrides])


def test_a_record_holds_every_rule_and_split(tmp_path):
    record = run(small(tmp_path, "method.name=dann"))
    assert record.status == "ok"
    assert set(record.metrics) == {"last", "source_val", "im", "snd", "dev", "iwcv", "oracle"}
    for values in record.metrics.values():
        for split in ("source_val", "source_test", "target_test"):
            for metric in (
                "accuracy",
                "balanced_accuracy",
                "macro_f1",
                "auroc",
                "average_precision",
                "log_loss",
                "ece",
            ):
                assert math.isfinite(values[f"{split}/{metric}"])
        assert not any(key.startswith("target_val/") for key in values)
    assert record.data["target_labels_used"] == 0
    assert {"train_samples_per_s", "step_ms_p50", "step_ms_p95", "predict_samples_per_s"} <= set(record.throughput)
    assert record.resources["parameters"] == record.resources["trainable_parameters"] > 0
    history = read_history(tmp_path / record.run_id)
    assert [row["epoch"] for row in history] == [0, 1, 2]
    assert read_record(tmp_path / record.run_id) == record


def test_rules_with_target_labels_only_where_the_setting_has_them(tmp_path):
    record = run(small(tmp_path, "method.name=fine_tune", "data.setting=few_shot", "data.shots=10"))
    assert "target_val" in record.metrics
    assert record.selection_rule == "target_val"
    assert record.data["target_labels_used"] == 20
    assert record.data["rows"]["target_val"] == 4


def test_a_finished_run_is_not_repeated(tmp_path):
    first = run(small(tmp_path))
    changed = (tmp_path / first.run_id / "result.json").stat().st_mtime_ns
    assert run(small(tmp_path)) == first
    assert (tmp_path / first.run_id / "result.json").stat().st_mtime_ns == changed


def test_the_seed_makes_a_run_repeatable_and_another_seed_another_run(tmp_path):
    one, two = run(small(tmp_path / "a")), run(small(tmp_path / "b"))
    assert one.metrics == two.metrics
    assert run(small(tmp_path / "a", "seed=1")).metrics != one.metrics


def test_from_python_and_from_a_recipe_the_record_is_the_same(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(json.dumps(SMALL))
    assert tl_research.fit(str(recipe), f"output={tmp_path / 'a'}").metrics == run(small(tmp_path / "b")).metrics


def test_the_datamodule_that_a_method_can_reach_holds_no_hidden_label(tmp_path, monkeypatch):
    """A method that goes looking finds no target label beyond what its setting shows."""
    seen = {}

    def spy(self, batch, batch_idx):
        data = self.trainer.datamodule
        seen["labels"] = data.sides["target"].label
        with pytest.raises(RuntimeError, match="handed over"):
            data.release_evaluation()
        assert isinstance(data, PairedDataModule)
        tensors = []

        def walk(thing, depth=0):
            if isinstance(thing, torch.Tensor):
                tensors.append(thing)
            elif isinstance(thing, dict):
                for value in thing.values():
                    walk(value, depth)
            elif isinstance(thing, (list, tuple)):
                for value in thing:
                    walk(value, depth)
            elif hasattr(thing, "__dict__") and type(thing).__module__.startswith("tl_research") and depth < 5:
                walk(vars(thing), depth + 1)

        walk(vars(data))
        integers = [t for t in tensors if t.dtype == torch.int64 and t.ndim == 1 and len(t) == seen["labels"].numel()]
        target_sized = [t for t in integers if set(t.unique().tolist()) == {0, 1}]
        # Of that many rows, only the source's labels are classes.
        assert all(t is data.sides["source"].label for t in target_sized)
        return original(self, batch, batch_idx)

    original = SourceOnly.training_step
    monkeypatch.setattr(SourceOnly, "training_step", spy)
    run(small(tmp_path))
    assert (seen["labels"] == -1).all()


def test_target_test_labels_change_neither_training_nor_the_kept_weights(tmp_path, monkeypatch):
    plain = run(small(tmp_path / "plain", "method.name=dann"))
    release = PairedDataModule.release_evaluation

    def flipped(self):
        splits = release(self)
        split = splits["target_test"]
        splits["target_test"] = split._replace(label=1 - split.label)
        return splits

    monkeypatch.setattr(PairedDataModule, "release_evaluation", flipped)
    other = run(small(tmp_path / "flipped", "method.name=dann"))
    for rule in ("last", "source_val", "im", "dev"):
        assert plain.metrics[rule]["epoch"] == other.metrics[rule]["epoch"]
        one, two = plain.metrics[rule]["target_test/accuracy"], other.metrics[rule]["target_test/accuracy"]
        assert one + two == pytest.approx(1.0)
    kept = [load_model_file(tmp_path / name / plain.run_id)["model"] for name in ("plain", "flipped")]
    assert all(torch.equal(kept[0][name], kept[1][name]) for name in kept[0])


def test_the_kept_weights_are_those_of_the_selected_epoch(tmp_path):
    config = small(tmp_path, "trainer.max_epochs=6", "optimizer.lr=0.05")
    record = run(config)
    predictor = Predictor.load(tmp_path / record.run_id)
    assert predictor.epoch == record.metrics["source_val"]["epoch"]
    from omegaconf import OmegaConf

    data = PairedDataModule(OmegaConf.to_object(config.data), seed=config.seed)
    data.setup()
    split = data.release_evaluation()["target_test"]
    _, logits = predictor.module(split.inputs)
    accuracy = (logits.argmax(1) == split.label).double().mean().item()
    assert accuracy == pytest.approx(record.metrics["source_val"]["target_test/accuracy"])


def test_nan_stops_the_run_with_the_name_of_the_term(tmp_path, monkeypatch):
    def broken(self, source, weight=None):
        loss = task_loss(self, source, weight)
        return loss * float("nan") if self.global_step == 4 else loss

    task_loss = SourceOnly.task_loss
    monkeypatch.setattr(SourceOnly, "task_loss", broken)
    with pytest.raises(NonFiniteLoss, match=r"source_task.*step 4"):
        run(small(tmp_path))
    (folder,) = tmp_path.iterdir()
    record = read_record(folder)
    assert record.status == "diverged"
    assert "source_task" in record.message


def test_a_failed_run_is_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr(SourceOnly, "task_loss", lambda *a: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(small(tmp_path))
    assert read_record(tmp_path / run_id(small(tmp_path))).status == "failed"
    monkeypatch.undo()
    assert run(small(tmp_path)).status == "ok"


def test_a_model_file_that_carries_code_is_refused(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.system, ("touch " + str(tmp_path / "sprung"),)

    torch.save({"format": 1, "model": Trap()}, tmp_path / "model.ckpt")
    with pytest.raises(DataError, match=r"model\.ckpt"):
        load_model_file(tmp_path)
    assert not (tmp_path / "sprung").exists()
    (tmp_path / "model.ckpt").write_bytes(b"PK\x03\x04 short")
    with pytest.raises(DataError, match=r"model\.ckpt"):
        load_model_file(tmp_path)


def test_ctrl_c_is_130_without_a_record_and_the_same_command_goes_on(tmp_path):
    words = ["data.name=simulated_market", "trainer.max_epochs=60", "trainer.checkpoint_every_n_steps=5"]
    words += ["trainer.accelerator=cpu", "wandb.mode=disabled", f"output={tmp_path}"]
    # A process started in the background may have inherited that Ctrl-C is ignored.
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n" + COMMAND
    process = subprocess.Popen([sys.executable, "-c", code, "fit", *words], stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 400
        while not list(tmp_path.glob("*/resume.ckpt")) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        error = process.communicate(timeout=200)[1]
    finally:
        process.kill()
    assert process.returncode == 130, error
    assert "interrupted" in error
    (folder,) = tmp_path.iterdir()
    assert read_record(folder) is None
    assert run(compose(None, words)).run_id == folder.name
    assert read_history(folder)[-1]["epoch"] == 59


def test_two_processes_do_not_share_a_run(tmp_path):
    config = small(tmp_path)
    with exclusive(tmp_path / run_id(config)), pytest.raises(UserError, match="another process"):
        run_alone(config)
    assert run_alone(config).status == "ok"


COMMAND = """
import sys, torch
torch.set_num_threads(1)
from tl_research.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "settings"), [("dann", []), ("fine_tune", ["data.setting=few_shot", "data.shots=10"])]
)
def test_sigkill_and_resume_is_bit_identical(tmp_path, method, settings):
    """Killed from outside, at whatever step that is, several times over."""
    overrides = [
        f"method.name={method}", *settings, "trainer.max_epochs=30", "trainer.checkpoint_every_n_steps=7",
        "data.name=simulated_market", "encoder.dropout=0.3", "encoder.name=mlp", "wandb.mode=disabled",
        "trainer.accelerator=cpu", "trainer.threads=1",
    ]  # fmt: skip
    undisturbed = run(compose(None, [*overrides, f"output={tmp_path / 'whole'}"]))
    folder = tmp_path / "killed" / undisturbed.run_id
    command = [sys.executable, "-c", COMMAND, "fit", *overrides, f"output={tmp_path / 'killed'}"]
    kills = 0
    for wait in (3, 11):  # checkpoints of this attempt, before it is killed
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seen, stamp = 0, None
        deadline = time.monotonic() + 400
        while seen < wait and process.poll() is None and time.monotonic() < deadline:
            # Between two checkpoints there is for a moment none of this name: the last one has become the one before.
            with contextlib.suppress(FileNotFoundError):
                now = (folder / "resume.ckpt").stat().st_mtime_ns
                seen, stamp = seen + (now != stamp), now
            time.sleep(0.001)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
        # On a busy machine it may have got to its end before the signal; a kill itself leaves no record.
        record = read_record(folder)
        assert record is None or record.status == "ok"
    assert kills >= 2
    assert main(command[3:]) == 0
    record = read_record(folder)
    assert record.metrics == undisturbed.metrics
    assert read_history(folder) == read_history(tmp_path / "whole" / record.run_id)
    whole, killed = (load_model_file(tmp_path / name / record.run_id)["model"] for name in ("whole", "killed"))
    assert all(torch.equal(whole[name], killed[name]) for name in whole)
