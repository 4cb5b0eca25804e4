"""What the tests of several devices do in one pair of gloo processes, which goes through many runs."""

from __future__ import annotations

from pathlib import Path

import torch

from tests.contracts.problem import method_config
from tl_research import distributed, experiment
from tl_research.registry import METHODS

#: An epoch is four steps, and the rows of a step are the same whether two ranks share them or one has them all.
BATCH = 16
#: Stages need two epochs, and the soup four; more teaches nothing.
EPOCHS = {"parameter": 4}


def config_of(method: str, output, *overrides: str, ranks: int = 2):
    """A tiny run by plain gradient descent, whose steps differ by rounding where the gradients do."""
    entry = METHODS.get(method)
    supervised = entry.info["settings"][0] == "supervised"
    words = [
        "data.n_source=95",  # 64 for training
        f"data.n_target={95 if supervised else 85}",
        f"data.batch_size={BATCH // ranks}",
        f"trainer.max_epochs={EPOCHS.get(entry.info['family'], 2)}",
        f"trainer.devices={ranks}",
        "trainer.strategy=ddp",
        "trainer.threads=1",
        "optimizer.name=sgd",
        "optimizer.lr=0.05",
    ]
    return method_config(method, output, *words, *overrides)


def trained(config) -> tuple[dict[str, torch.Tensor], list[str], experiment.Record]:
    """Carry out a run in this process; return its last state, the names that differ between the ranks, its record."""
    found = {}
    fit = experiment._fit

    def fit_and_look(trainer, module, data, checkpoint):
        fit(trainer, module, data, checkpoint)
        found["state"] = {name: value.detach().clone() for name, value in module.state_dict().items()}
        found["differs"] = _differing(found["state"])

    experiment._fit = fit_and_look
    try:
        record = experiment.run(config)
    finally:
        experiment._fit = fit
    return found["state"], found["differs"], record


def _differing(state: dict[str, torch.Tensor]) -> list[str]:
    # Running statistics are sent from rank 0 at the beginning of a step.
    both = {name: distributed.gather_rows(value[None]) for name, value in state.items() if "running_" not in name}
    return [name for name, (first, *others) in both.items() if any(not torch.equal(first, other) for other in others)]


def every_method(output: str, methods: list[str]) -> dict[str, tuple]:
    """Train each method; method -> what `trained` returns, or the error."""
    found = {}
    for method in methods:
        try:
            found[method] = trained(config_of(method, Path(output)))
        except Exception as error:  # the others are to be tried all the same
            found[method] = error
    return found
