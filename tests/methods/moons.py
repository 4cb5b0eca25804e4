"""Two moons, 30 degrees apart: what a method gains over `source_only`, on five seeds, within seconds."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from statistics import median

from omegaconf import OmegaConf

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


RECIPES = Path(__file__).parents[2] / "configs" / "two_moons"
#: Of methods with a recipe: long enough for the source to be learnt before its predictions are trusted, or played with.
TRAINING = ("trainer.max_epochs=20", "optimizer.lr=0.01")


def options(method: str) -> list[str]:
    """Return the method's own options of its recipe, as overrides."""
    recipe = OmegaConf.load(RECIPES / f"{method}.yaml").method
    return [f"method.{key}={value}" for key, value in recipe.items() if key != "name"]


def recipe_accuracy(method: str, seed: int, *words: str) -> float:
    """Accuracy of the training that recipes are made for."""
    return accuracy(method, seed, *TRAINING, *words)


def recipe_gains(method: str) -> list[float]:
    """Gain over `source_only`, trained as long, of the method's recipe on each seed."""
    words = options(method)
    return [recipe_accuracy(method, seed, *words) - recipe_accuracy("source_only", seed) for seed in SEEDS]
