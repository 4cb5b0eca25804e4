"""What the tests of several devices do in one pair of gloo processes, which then goes through many runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from tests.contracts.problem import brings_its_encoder, method_config
from tl_research import distributed, experiment
from tl_research.registry import METHODS

#: Two epochs of two or three steps a rank.
SHORT = ("data.n_source=130", "data.n_target=130", "data.batch_size=16", "trainer.threads=1")
TWO = ("trainer.devices=2", "trainer.strategy=ddp", "trainer.accelerator=cpu")


def config_of(method: str, output, *overrides: str):
    """A tiny run of a method on two devices: an epoch a stage."""
    epochs = "trainer.max_epochs=4" if METHODS.get(method).info["family"] == "parameter" else "trainer.max_epochs=2"
    dropout = () if brings_its_encoder(method) else ("encoder.hidden=[16]", "encoder.dropout=0.2")
    return method_config(method, output, *SHORT, epochs, *dropout, *TWO, *overrides)


def observed(config, look: Callable) -> object:
    """Carry out a run in this process of the pair; return what `look(trainer, module)` says behind the fit."""
    seen = []
    fit = experiment._fit

    def fit_and_look(trainer, module, data, checkpoint):
        fit(trainer, module, data, checkpoint)
        seen.append(look(trainer, module))

    experiment._fit = fit_and_look
    try:
        experiment.run(config)
    finally:
        experiment._fit = fit
    return seen[-1]


def differing(trainer, module) -> list[str]:
    """Names of parameters, buffers and optimiser states that are not the same bits on both ranks."""
    tensors = dict(module.state_dict())
    for number, optimizer in enumerate(trainer.optimizers):
        for parameter, state in enumerate(optimizer.state_dict()["state"].values()):
            tensors |= {f"optimizer {number} {parameter} {k}": v for k, v in state.items() if torch.is_tensor(v)}
    found = []
    for name, value in tensors.items():
        both = distributed.gather_rows(value.detach().cpu()[None])
        if not torch.equal(both[0], both[1]):
            found.append(name)
    return found


def every_method(output: str, methods: list[str]) -> dict[str, list[str]]:
    """Train each in this pair; method -> what differs, or the error."""
    found = {}
    for method in methods:
        try:
            found[method] = observed(config_of(method, Path(output)), differing)
        except Exception as error:  # the next method is to be tried all the same
            found[method] = [f"{type(error).__name__}: {error}"]
    return found
