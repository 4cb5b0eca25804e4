"""Two moons, 30 degrees apart: what a method gains over `source_only`, on five seeds, within seconds."""

from __future__ import annotations

import tempfile
from functools import cache
from statistics import median

from tl_research.config import compose
from tl_research.runs.experiment import run

SEEDS = (0, 1, 2, 3, 4)
#: Gain of accuracy over `source_only` that a method which claims to adapt must have, in the median of the seeds.
WANTED = 0.05
PROBLEM = {
    "data": {"name": "two_moons", "angle": 30, "scale": "none", "n_source": 600, "n_target": 600, "batch_size": 64},
    "encoder": {"name": "mlp", "hidden": [32, 32]},
    "optimizer": {"lr": 5e-3},
    "trainer": {"max_epochs": 15, "accelerator": "cpu", "checkpoint_every_seconds": None},
    "selection": {"rule": "last"},
    "wandb": {"mode": "disabled"},
}


@cache
def accuracy(method: str, seed: int, *overrides: str) -> float:
    """Accuracy on the target's test rows after the last epoch; a process trains each run once."""
    with tempfile.TemporaryDirectory() as folder:
        words = [f"method.name={method}", f"seed={seed}", f"data.data_seed={seed}", f"output={folder}", *overrides]
        return run(compose(PROBLEM, words)).metrics["last"]["target_test/accuracy"]


def gains(method: str, *overrides: str, seeds: tuple[int, ...] = SEEDS) -> list[float]:
    """Accuracy less that of `source_only` on the same rows, for each seed.

    Args:
        method: its name.
        overrides: further words for the method's own run, such as `method.weight=0`.
        seeds: of rows, weights and batches.
    """
    return [accuracy(method, seed, *overrides) - accuracy("source_only", seed) for seed in seeds]


def median_gain(method: str, *overrides: str, seeds: tuple[int, ...] = SEEDS) -> float:
    """Median over the seeds of `gains`."""
    return median(gains(method, *overrides, seeds=seeds))
