import logging
import os
import pickle
import shutil

import pytest
import torch

from tl_research.cli import main
from tl_research.config import compose, run_id
from tl_research.errors import DataError
from tl_research.runs.experiment import run
from tl_research.runs.record import read_history, read_record
from tl_research.storage.checkpoints import DamagedCheckpoint, find_resume, load_model_file, read_checkpoint
from tl_research.storage.names import MODEL_FILE, PREVIOUS_FILE, RESUME_FILE
from tl_research.training.resume import ResumeCheckpoint

SMALL = {
    "data": {"name": "simulated_market", "n_source": 200, "n_target": 200},
    "encoder": {"name": "mlp", "hidden": [8], "dropout": 0.2},
    "trainer": {"max_epochs": 3, "accelerator": "cpu", "checkpoint_every_seconds": None, "threads": 1},
    "wandb": {"mode": "disabled"},
}


def small(output, *overrides):
    return compose(SMALL, [f"output={output}", *overrides])


class Trap:
    """Its pickle asks whoever reads it to run a command."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def write_trap(path, sprung, *, old):
    content = {"format": 1, "model": Trap(sprung), "weights": torch.ones(3)}
    if old:
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path)


def damage(path, kind):
    data = bytearray(path.read_bytes())
    if kind == "half":
        data = data[: len(data) // 2]
    elif kind == "empty":
        data = b""
    elif kind == "one byte short":
        data = data[:-1]
    elif kind == "zeros":
        data = bytes(len(data))
    elif kind == "flipped":
        data[data.index(bytes(torch.full((8,), 3.0).numpy().tobytes()))] ^= 1
    path.write_bytes(data)


KINDS = ("half", "empty", "one byte short", "zeros", "flipped")


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_checkpoint_names_itself(tmp_path, kind):
    path = tmp_path / "some.ckpt"
    torch.save({"a": torch.full((1000,), 3.0), "b": "text"}, path)
    assert read_checkpoint(path)["b"] == "text"
    damage(path, kind)
    with pytest.raises(DamagedCheckpoint, match=r"some\.ckpt: .*(truncated|damaged)"):
        read_checkpoint(path)


@pytest.mark.parametrize("old", [False, True], ids=["archive", "bare pickle"])
def test_a_checkpoint_that_carries_code_is_refused_and_nothing_runs(tmp_path, old, caplog):
    sprung = tmp_path / "sprung"
    for name in (RESUME_FILE, MODEL_FILE):
        write_trap(tmp_path / name, sprung, old=old)
    torch.save({"a": 1}, tmp_path / PREVIOUS_FILE)
    with pytest.raises(DataError, match=r"resume\.ckpt: refused.*may carry code .*system"):
        find_resume(tmp_path)
    with pytest.raises(DataError, match=r"model\.ckpt: refused"):
        load_model_file(tmp_path)
    assert not sprung.exists()
    # The trap is one: who reads it as an ordinary pickle falls into it.
    pickle.loads(pickle.dumps(Trap(sprung)))
    assert sprung.exists()


def test_the_newest_readable_resume_checkpoint_is_taken(tmp_path, caplog):
    assert find_resume(tmp_path) is None
    for name in (RESUME_FILE, PREVIOUS_FILE):
        torch.save({"a": torch.full((50,), 3.0)}, tmp_path / name)
    assert find_resume(tmp_path) == tmp_path / RESUME_FILE
    assert not caplog.records
    damage(tmp_path / RESUME_FILE, "half")
    assert find_resume(tmp_path) == tmp_path / PREVIOUS_FILE
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert str(tmp_path / RESUME_FILE) in caplog.text
    damage(tmp_path / PREVIOUS_FILE, "flipped")
    assert find_resume(tmp_path) is None
    (tmp_path / RESUME_FILE).unlink()
    assert find_resume(tmp_path) is None


def killed_at_save(config, number, monkeypatch, folder):
    """Train until just after the n-th resume checkpoint; return copies of the two files that it leaves."""
    saves = 0
    save = ResumeCheckpoint.save

    def counted(self, trainer):
        nonlocal saves
        save(self, trainer)
        saves += 1
        if saves == number:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ResumeCheckpoint, "save", counted)
        with pytest.raises(KeyboardInterrupt):
            run(config)
    return [folder / name for name in (RESUME_FILE, PREVIOUS_FILE)]


@pytest.mark.parametrize("case", ["whole", "newest truncated", "both truncated", "killed between the renames"])
def test_a_run_goes_on_from_what_can_be_read_and_ends_the_same(tmp_path, monkeypatch, caplog, case):
    every = "trainer.checkpoint_every_n_steps=3"
    whole = run(small(tmp_path / "whole", every))
    config = small(tmp_path / "killed", every)
    folder = tmp_path / "killed" / run_id(config)
    newest, previous = killed_at_save(config, 3, monkeypatch, folder)
    steps = [read_checkpoint(path)["global_step"] for path in (newest, previous)]
    assert steps[0] > steps[1] > 0
    if case != "whole":
        damage(newest, "half")
    if case == "both truncated":
        damage(previous, "half")
    if case == "killed between the renames":
        newest.unlink()
    taken = find_resume(folder)
    assert taken == {"whole": newest, "both truncated": None}.get(case, previous)
    record = run(config)
    assert record.metrics == whole.metrics
    assert read_history(folder) == read_history(tmp_path / "whole" / record.run_id)
    models = [load_model_file(tmp_path / name / record.run_id)["model"] for name in ("whole", "killed")]
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])
    named = {text for text in (RESUME_FILE, PREVIOUS_FILE) if f"{folder / text}:" in caplog.text}
    wanted = {"newest truncated": {RESUME_FILE}, "both truncated": {RESUME_FILE, PREVIOUS_FILE}}
    assert named == wanted.get(case, set())
    assert not list(folder.glob("resume*"))
    assert not list(folder.glob("*.tmp"))


def test_a_damaged_newest_does_not_take_the_place_of_the_one_before_it(tmp_path, monkeypatch):
    config = small(tmp_path, "trainer.checkpoint_every_n_steps=3")
    folder = tmp_path / run_id(config)
    newest, previous = killed_at_save(config, 2, monkeypatch, folder)
    step = read_checkpoint(previous)["global_step"]
    damage(newest, "half")
    killed_at_save(config, 1, monkeypatch, folder)
    assert read_checkpoint(previous)["global_step"] == step
    assert read_checkpoint(newest)["global_step"] > step


def test_a_resume_checkpoint_that_carries_code_fails_the_run(tmp_path):
    config = small(tmp_path)
    folder = tmp_path / run_id(config)
    folder.mkdir()
    write_trap(folder / RESUME_FILE, tmp_path / "sprung", old=False)
    with pytest.raises(DataError, match=r"resume\.ckpt: refused"):
        run(config)
    assert not (tmp_path / "sprung").exists()
    assert "refused" in read_record(folder).message


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return folder / run(small(folder)).run_id


def spoilt(finished, tmp_path, kind, *, old):
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    if kind == "half":
        damage(folder / MODEL_FILE, kind)
    else:
        write_trap(folder / MODEL_FILE, tmp_path / "sprung", old=old)
    return folder


@pytest.mark.parametrize("command", ["predict", "evaluate"])
@pytest.mark.parametrize("kind", ["half", "code"])
def test_predicting_with_a_bad_model_file_is_one_line(finished, tmp_path, capsys, command, kind):
    folder = spoilt(finished, tmp_path, kind, old=False)
    words = [command, str(folder), "--data", "nothing.csv", "--label", "y"]
    assert main([*words, "--out", str(tmp_path / "o.csv")] if command == "predict" else words) == 2
    error = capsys.readouterr().err
    assert str(folder / MODEL_FILE) in error
    assert ("truncated" if kind == "half" else "refused") in error
    assert error.count("\n") == 1
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("kind", ["half", "code"])
def test_a_start_from_a_bad_model_file_is_refused(finished, tmp_path, kind):
    folder = spoilt(finished, tmp_path, kind, old=True)
    few = ["method.name=fine_tune", "data.setting=few_shot", "data.shots=5"]
    with pytest.raises(DataError, match=rf"{folder / MODEL_FILE}: .*(truncated|refused)"):
        run(small(tmp_path / "runs", *few, f"method.start={folder}"))
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("batches", [1, 2, 4, 7])
def test_killed_in_the_middle_of_an_accumulated_gradient_and_resumed_is_bit_identical(tmp_path, monkeypatch, batches):
    words = ["data.batch_size=32", "trainer.accumulate_grad_batches=3", "trainer.checkpoint_every_n_steps=1"]
    undisturbed, killed = small(tmp_path / "undisturbed", *words), small(tmp_path / "killed", *words)
    run(undisturbed)
    end_of_batch = ResumeCheckpoint.on_train_batch_end

    def die(self, *given):
        end_of_batch(self, *given)
        if self._batches == batches:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ResumeCheckpoint, "on_train_batch_end", die)
        with pytest.raises(KeyboardInterrupt):
            run(killed)
    run(killed)
    weights = [
        load_model_file(tmp_path / name / run_id(config))["model"]
        for name, config in (("killed", killed), ("undisturbed", undisturbed))
    ]
    for name, weight in weights[0].items():
        assert torch.equal(weight, weights[1][name]), name
