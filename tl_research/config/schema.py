"""The groups of a run's configuration: their keys, types, defaults and bounds."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import MISSING

from tl_research.config.values import shown
from tl_research.errors import ConfigError, nearest
from tl_research.registry import DATASETS, ENCODERS, METHODS, RULES, SETTINGS, WEIGHTINGS

#: Seeds are 32 bits wide: NumPy takes no more.
LARGEST_SEED = 2**32 - 1
#: Bytes of the name of a file or folder, as file systems have it.
LONGEST_NAME = 255
#: Names of a path of output: each missing folder of it is made, which Python does one within another.
MOST_FOLDERS = 200
#: CPU threads that a process may be told to have; far more end it.
MOST_THREADS = 1024
#: gpu: cuda or mps, whichever there is.
ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")


def check(condition: bool, key: str, got: Any, wants: str) -> None:
    """Raise `ConfigError` naming the full `key` unless `condition` holds; for `__post_init__` of a config."""
    if not condition:
        raise ConfigError(f"{key}: got {got!r}, wants {wants}")


def check_choice(key: str, got: str, known: Iterable[str]) -> None:
    """Raise `ConfigError` with the nearest name unless `got` is one of `known`."""
    known = list(known)
    if got not in known:
        raise ConfigError(f"{key}: got {got!r}{nearest(got, known)}")


def added_later(default: Any) -> Any:
    """A field that runs were named without: at its default it is no part of `run_id`."""
    return field(default=default, metadata={"added_later": True})


@dataclass
class DataConfig:
    """Group `data`, common to every data set."""

    name: str = MISSING
    sources: list[str] = MISSING
    target: str = MISSING
    label: str | None = None  # label column, for data.name=files
    setting: str = "unsupervised"
    shots: float | None = None  # few_shot: target labels per class (regression: in all), or a fraction of rows (< 1)
    batch_size: int = 64
    target_batch_size: int | None = None  # None: as batch_size
    val_fraction: float = 0.1  # of a domain's training rows, held out for selection
    test_fraction: float = 0.25  # of a domain without a split of its own
    scale: str = "standard"  # how numbers are scaled, by statistics of training rows
    num_workers: int = 0
    resident: bool = False  # keep in-memory tensors on the accelerator
    root: str | None = None  # folder of the downloaded files

    def __post_init__(self):
        check_choice("data.setting", self.setting, SETTINGS)
        check(self.batch_size >= 1, "data.batch_size", self.batch_size, "at least 1")
        if self.target_batch_size is not None:
            check(self.target_batch_size >= 1, "data.target_batch_size", self.target_batch_size, "at least 1")
        check(0 < self.val_fraction < 0.9, "data.val_fraction", self.val_fraction, "a share between 0 and 0.9")
        check(0 < self.test_fraction < 0.9, "data.test_fraction", self.test_fraction, "a share between 0 and 0.9")
        check(self.num_workers >= 0, "data.num_workers", self.num_workers, "0 or more")
        check_choice("data.scale", self.scale, ("none", "standard", "log1p", "unit", "log1p_unit"))
        if self.setting == "few_shot":
            wants = (
                "a number of target labels per class (1, 2, ...; regression: in all) or a share of the rows (below 1)"
            )
            check(self.shots is not None, "data.shots", self.shots, f"{wants}, because data.setting=few_shot")
            whole = self.shots >= 1 and float(self.shots).is_integer()
            check(0 < self.shots < 1 or whole, "data.shots", self.shots, wants)
        else:
            check(self.shots is None, "data.shots", self.shots, f"nothing: data.setting={self.setting} has no shots")


#: Keys of `data` that mean the same whatever the data set.
COMMON_DATA_KEYS = {item.name for item in dataclasses.fields(DataConfig)} - {
    "name", "sources", "target", "label", "root", "scale",
}  # fmt: skip


@dataclass
class EncoderConfig:
    """Group `encoder`."""

    name: str = MISSING


@dataclass
class WeightingConfig:
    """Group `method.weighting`: what is done to the raw weights of the source rows.

    w <- w^temper (1 leaves them, 0 makes them equal), then clipped to at most `clip` times their mean, then
    scaled to mean 1 (self-normalised).
    """

    name: str = MISSING
    temper: float = 1.0
    clip: float | None = None
    warn_below: float = 0.05  # effective share of the rows, (Σ w)² / (n Σ w²), below which the run warns

    def __post_init__(self):
        check(0 <= self.temper <= 1, "method.weighting.temper", self.temper, "0 <= temper <= 1")
        if self.clip is not None:
            check(self.clip >= 1, "method.weighting.clip", self.clip, "1 or more (times the mean weight)")
        check(0 <= self.warn_below <= 1, "method.weighting.warn_below", self.warn_below, "a share from 0 to 1")


@dataclass
class MethodConfig:
    """Group `method`, common to every method."""

    name: str = MISSING
    weighting: WeightingConfig | None = None  # of the source rows' task loss: `kmm`, or {name: kmm, clip: 10}


@dataclass
class OptimizerConfig:
    """Group `optimizer`."""

    name: str = "adam"
    lr: float = 1e-3
    weight_decay: float = 0.0
    momentum: float = 0.9  # sgd only
    schedule: str = "constant"  # or cosine, or inverse: lr / (1 + 10 p)^0.75, p the progress (Ganin et al. 2016)

    def __post_init__(self):
        check_choice("optimizer.name", self.name, ("adam", "adamw", "sgd"))
        check(self.lr > 0, "optimizer.lr", self.lr, "a number above 0")
        check(self.weight_decay >= 0, "optimizer.weight_decay", self.weight_decay, "0 or more")
        check(0 <= self.momentum < 1, "optimizer.momentum", self.momentum, "0 <= momentum < 1")
        check_choice("optimizer.schedule", self.schedule, ("constant", "cosine", "inverse"))


@dataclass
class TrainerConfig:
    """Group `trainer`: Lightning's own names, and when resume checkpoints are written."""

    max_epochs: int = 20
    max_steps: int = -1
    precision: str = "32-true"
    accelerator: str = "auto"
    devices: int = 1  # processes a node, each with data.batch_size rows of every side a step
    strategy: str = "auto"  # or ddp, ddp_find_unused_parameters_true, fsdp: docs/scale.md
    num_nodes: int = 1
    gradient_clip_val: float | None = None
    accumulate_grad_batches: int = 1
    compile: bool = False
    threads: int | None = None  # CPU threads of torch
    progress_bar: bool = False
    checkpoint_every_n_steps: int | None = None
    checkpoint_every_seconds: float | None = 60.0

    def __post_init__(self):
        check(self.max_epochs >= 1, "trainer.max_epochs", self.max_epochs, "at least 1")
        check(self.max_steps == -1 or self.max_steps >= 1, "trainer.max_steps", self.max_steps, "-1 or at least 1")
        check_choice("trainer.accelerator", self.accelerator, ACCELERATORS)
        whole = self.precision not in ("64-true", "bf16-true", "16-true")
        wants = f"one of {', '.join(PRECISIONS)}: what is fitted and measured is in float32"
        check(whole, "trainer.precision", self.precision, wants)
        check_choice("trainer.precision", self.precision, PRECISIONS)
        check(self.devices >= 1, "trainer.devices", self.devices, "at least 1")
        check(self.num_nodes >= 1, "trainer.num_nodes", self.num_nodes, "at least 1")
        check(
            self.accumulate_grad_batches >= 1, "trainer.accumulate_grad_batches", self.accumulate_grad_batches, ">= 1"
        )
        if self.gradient_clip_val is not None:
            check(self.gradient_clip_val > 0, "trainer.gradient_clip_val", self.gradient_clip_val, "a number above 0")
        if self.threads is not None:
            wants = f"1 to {MOST_THREADS}"
            check(1 <= self.threads <= MOST_THREADS, "trainer.threads", self.threads, wants)
        if self.checkpoint_every_n_steps is not None:
            check(
                self.checkpoint_every_n_steps >= 1,
                "trainer.checkpoint_every_n_steps",
                self.checkpoint_every_n_steps,
                ">= 1",
            )
        if self.checkpoint_every_seconds is not None:
            key, wants = "trainer.checkpoint_every_seconds", "0 or more"
            check(self.checkpoint_every_seconds >= 0, key, self.checkpoint_every_seconds, wants)


@dataclass
class SelectionConfig:
    """Group `selection`: which epoch's weights are kept as the run's checkpoint."""

    rule: str = "auto"  # target_val where the setting has target labels to spare, else source_val
    from_auto: bool = False  # written by compose where it has resolved auto, which gives way to last where rows lack

    def __post_init__(self):
        realistic = [name for name, rule in RULES.items() if not rule.is_oracle]
        check_choice("selection.rule", self.rule, ["auto", *realistic])


@dataclass
class WandbConfig:
    """Group `wandb`."""

    mode: str = "offline"
    project: str = "tl_research"
    entity: str | None = None
    group: str | None = None
    tags: list[str] = field(default_factory=list)

    def __post_init__(self):
        check_choice("wandb.mode", self.mode, ("online", "offline", "disabled"))


@dataclass
class RunConfig:
    """Root of the configuration."""

    data: DataConfig = field(default_factory=DataConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    method: MethodConfig = field(default_factory=MethodConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    selection: SelectionConfig = field(default_factory=SelectionConfig)
    wandb: WandbConfig = field(default_factory=WandbConfig)
    seed: int = 0
    output: str = "runs"

    def __post_init__(self):
        check(0 <= self.seed <= LARGEST_SEED, "seed", self.seed, f"a whole number from 0 to {LARGEST_SEED}")
        parts = Path(self.output).parts
        longest = max((len(os.fsencode(part)) for part in parts), default=0)
        check(len(parts) <= MOST_FOLDERS, "output", shown(self.output), f"a path of at most {MOST_FOLDERS} names")
        check(longest <= LONGEST_NAME, "output", shown(self.output), f"a path of names of at most {LONGEST_NAME} bytes")


DATASETS.base, ENCODERS.base, METHODS.base, WEIGHTINGS.base = DataConfig, EncoderConfig, MethodConfig, WeightingConfig
