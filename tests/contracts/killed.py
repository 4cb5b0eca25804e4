"""A run that is killed behind every resume checkpoint it writes, and taken up again until it ends."""

from __future__ import annotations

import itertools

import pytest
import torch
from omegaconf import DictConfig

from tl_research.runs.experiment import run
from tl_research.runs.record import Record, read_history
from tl_research.storage.checkpoints import load_model_file
from tl_research.training.resume import ResumeCheckpoint


class Killed(BaseException):
    """As sudden as a signal: nothing in the run handles it."""


def weights_of(folder) -> dict[str, torch.Tensor]:
    return load_model_file(folder)["model"]


def killed_and_resumed(config: DictConfig, monkeypatch: pytest.MonkeyPatch, *, most: int) -> Record:
    """Return the record of a run that was killed at least twice, and ends before `most` kills."""
    save = ResumeCheckpoint.save

    def save_then_die(self, trainer):
        save(self, trainer)
        raise Killed

    for attempt in itertools.count():
        monkeypatch.setattr(ResumeCheckpoint, "save", save_then_die)
        try:
            record = run(config)
            break
        except Killed:
            assert attempt < most
    assert attempt >= 2
    return record


def assert_resumed_equals_uninterrupted(undisturbed: DictConfig, killed: DictConfig, monkeypatch, *, most: int) -> None:
    """One configuration in two folders of output: metrics, history and weights are the same, bit for bit."""
    whole = run(undisturbed)
    record = killed_and_resumed(killed, monkeypatch, most=most)
    assert record.metrics == whole.metrics
    folders = [f"{config.output}/{record.run_id}" for config in (undisturbed, killed)]
    assert read_history(folders[0]) == read_history(folders[1])
    expected, found = map(weights_of, folders)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], value) for name, value in found.items())
