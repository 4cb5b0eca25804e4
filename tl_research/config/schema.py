"""The groups of a run's configuration: their keys, types, defaults and bounds."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from omegaconf import MISSING

from tl_research.config.bounds import Group, above, at_least, bounded, check, check_choice, one_of, share, within
from tl_research.config.fields import added_later, launch, named
from tl_research.config.values import shown
from tl_research.registry import DATASETS, ENCODERS, LABEL_SETS, METHODS, RULES, SAMPLERS, SETTINGS, WEIGHTINGS

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
#: What is fitted and measured is in float32, so that no `true` half precision is among them.
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
SCALES = ("none", "standard", "log1p", "unit", "log1p_unit")


def _fraction(default: float) -> float:
    return bounded(lambda value: 0 < value < 0.9, "a share between 0 and 0.9", default=default)


#: Sides of a batch.
SIDES = ("source", "target", "target_labeled")


@dataclass
class SamplerConfig(Group):
    """Group `data.sampler`: how the batches of some sides are drawn; those of the others are drawn uniformly."""

    key: ClassVar[str] = "data.sampler"

    name: str = MISSING
    sides: list[str] = field(default_factory=lambda: ["source"])

    def __post_init__(self) -> None:
        super().__post_init__()
        check(bool(self.sides), "data.sampler.sides", list(self.sides), f"one or more of {', '.join(SIDES)}")
        for side in self.sides:
            check_choice("data.sampler.sides", side, SIDES)


@dataclass
class DataConfig(Group):
    """Group `data`, common to every data set."""

    key: ClassVar[str] = "data"

    name: str = MISSING
    sources: list[str] = MISSING
    target: str = MISSING
    label: str | None = None  # label column of your own files; a data set with several labels gives it a default
    setting: str = one_of(SETTINGS, default="unsupervised")
    shots: float | None = None  # few_shot: target labels per class (regression: in all), or a fraction of rows (< 1)
    batch_size: int = at_least(1, default=64)
    target_batch_size: int | None = at_least(1, default=None)  # None: as batch_size
    val_fraction: float = _fraction(0.1)  # of a domain's training rows, held out for selection
    test_fraction: float = _fraction(0.25)  # of a domain without a split of its own
    scale: str = one_of(SCALES, default="standard")  # how numbers are scaled, by statistics of training rows
    num_workers: int = at_least(0, default=0, launch=True)
    resident: bool = launch(False)  # keep in-memory tensors on the accelerator
    root: str | None = launch(None)  # folder of the downloaded files
    sampler: SamplerConfig | None = named(SAMPLERS, added_later=True)  # how batches are drawn; None: uniformly
    # How the target's classes stand to the sources': the same, fewer, or with further ones, which are `unknown`.
    label_sets: str = one_of(LABEL_SETS, default="equal", added_later=True)
    # Classes whose rows are kept, of the sources and of the target; None: all that have rows there.
    source_classes: list[str] | None = added_later(None)
    target_classes: list[str] | None = added_later(None)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.setting == "few_shot":
            wants = (
                "a number of target labels per class (1, 2, ...; regression: in all) or a share of the rows (below 1)"
            )
            check(self.shots is not None, "data.shots", self.shots, f"{wants}, because data.setting=few_shot")
            shots = float(self.shots or 0)
            check(0 < shots < 1 or (shots >= 1 and shots.is_integer()), "data.shots", self.shots, wants)
        else:
            check(self.shots is None, "data.shots", self.shots, f"nothing: data.setting={self.setting} has no shots")
        for key in ("source_classes", "target_classes"):
            self._check_classes(f"data.{key}", getattr(self, key))

    def _check_classes(self, key: str, names: list[str] | None) -> None:
        if names is None:
            return
        check(len(set(names)) == len(names) and len(names) > 1, key, list(names), "two different classes or more")
        same = set(self.source_classes or ()) == set(self.target_classes or ())
        wants = "the same classes in data.source_classes and data.target_classes, because data.label_sets=equal"
        check(self.label_sets != "equal" or same, key, list(names), wants)

    @property
    def cuts_classes(self) -> bool:
        """Whether rows are left out by their class, or the target's classes are other ones than the sources'."""
        return self.label_sets != "equal" or self.source_classes is not None

    def content(self) -> str | None:
        """Return a digest of the files that the rows are read from, if they are the user's own; it enters `run_id`."""
        return None


#: Keys of `data` that mean the same whatever the data set.
COMMON_DATA_KEYS = {item.name for item in dataclasses.fields(DataConfig)} - {
    "name", "sources", "target", "label", "root", "scale",
}  # fmt: skip


@dataclass
class EncoderConfig(Group):
    """Group `encoder`."""

    key: ClassVar[str] = "encoder"

    name: str = MISSING


@dataclass
class WeightingConfig(Group):
    """Group `method.weighting`: what is done to the raw weights of the source rows.

    w <- w^temper (1 leaves them, 0 makes them equal), then clipped to at most `clip` times their mean, then
    scaled to mean 1 (self-normalised).
    """

    key: ClassVar[str] = "method.weighting"

    name: str = MISSING
    temper: float = share(default=1.0)
    clip: float | None = at_least(1, default=None, wants="1 or more (times the mean weight)")
    warn_below: float = share(default=0.05)  # effective share of the rows, (Σ w)² / (n Σ w²), that the run warns of


@dataclass
class MethodConfig(Group):
    """Group `method`, common to every method."""

    key: ClassVar[str] = "method"

    name: str = MISSING
    # Weights of the source rows in the task loss: `kmm`, or {name: kmm, clip: 10}.
    weighting: WeightingConfig | None = named(WEIGHTINGS, added_later=True)


@dataclass
class OptimizerConfig(Group):
    """Group `optimizer`."""

    key: ClassVar[str] = "optimizer"

    # lazy_adam: of tables of vectors (encoder=embedding) only the rows that a step reads are moved.
    name: str = one_of(("adam", "adamw", "sgd", "lazy_adam"), default="adam")
    lr: float = above(0, default=1e-3)
    weight_decay: float = at_least(0, default=0.0)
    momentum: float = share(one=False, default=0.9)  # sgd only
    # inverse: lr / (1 + 10 p)^0.75, p the progress (Ganin et al. 2016).
    schedule: str = one_of(("constant", "cosine", "inverse"), default="constant")


@dataclass
class TrainerConfig(Group):
    """Group `trainer`: Lightning's own names, and when resume checkpoints are written."""

    key: ClassVar[str] = "trainer"

    max_epochs: int = at_least(1, default=20)
    max_steps: int = bounded(lambda steps: steps == -1 or steps >= 1, "-1 or at least 1", default=-1)
    precision: str = one_of(PRECISIONS, default="32-true")
    accelerator: str = one_of(ACCELERATORS, default="auto", launch=True)
    devices: int = at_least(1, default=1)  # processes per node, each with data.batch_size rows of every side per step
    strategy: str = "auto"  # or ddp, ddp_find_unused_parameters_true, fsdp: docs/scale.md
    num_nodes: int = at_least(1, default=1)
    gradient_clip_val: float | None = above(0, default=None)
    accumulate_grad_batches: int = at_least(1, default=1)
    compile: bool = False
    threads: int | None = within(1, MOST_THREADS, default=None, launch=True)  # CPU threads of torch
    progress_bar: bool = launch(False)
    checkpoint_every_n_steps: int | None = at_least(1, default=None, launch=True)
    checkpoint_every_seconds: float | None = at_least(0, default=60.0, launch=True)


@dataclass
class SelectionConfig(Group):
    """Group `selection`: which epoch's weights are kept as the run's checkpoint."""

    key: ClassVar[str] = "selection"

    # auto: target_val where the setting has target labels to spare, else source_val.
    rule: str = "auto"
    # Written by compose where it has resolved auto, which gives way to last where rows lack.
    from_auto: bool = launch(False)
    # Epochs from one measurement to the next; the last one is measured.
    every: int = at_least(1, default=1, added_later=True)
    # Keep what rules read of each epoch, for `tl-research validators`.
    save_outputs: bool = launch(False)

    def __post_init__(self) -> None:
        super().__post_init__()
        realistic = [name for name, rule in RULES.items() if not rule.is_oracle]
        check_choice("selection.rule", self.rule, ["auto", *realistic])


@dataclass
class WandbConfig(Group):
    """Group `wandb`."""

    key: ClassVar[str] = "wandb"

    mode: str = one_of(("online", "offline", "disabled"), default="offline")
    project: str = "tl_research"
    entity: str | None = None
    group: str | None = None
    tags: list[str] = field(default_factory=list)


@dataclass
class RunConfig(Group):
    """Root of the configuration."""

    data: DataConfig = named(DATASETS, "simulated_market", kept=COMMON_DATA_KEYS)
    encoder: EncoderConfig = named(ENCODERS)  # the method's own, or else the data set's
    method: MethodConfig = named(METHODS, "source_only")
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    selection: SelectionConfig = field(default_factory=SelectionConfig)
    wandb: WandbConfig = field(default_factory=WandbConfig, metadata={"launch": True})
    seed: int = within(0, LARGEST_SEED, default=0, wants=f"a whole number from 0 to {LARGEST_SEED}")
    output: str = launch("runs")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_output(self.output)


def check_output(output: str) -> None:
    """Raise `ConfigError` for a path of output that no file system takes."""
    parts = Path(output).parts
    longest = max((len(os.fsencode(part)) for part in parts), default=0)
    check(len(parts) <= MOST_FOLDERS, "output", shown(output), f"a path of at most {MOST_FOLDERS} names")
    check(longest <= LONGEST_NAME, "output", shown(output), f"a path of names of at most {LONGEST_NAME} bytes")


DATASETS.base, ENCODERS.base, METHODS.base, WEIGHTINGS.base = DataConfig, EncoderConfig, MethodConfig, WeightingConfig
SAMPLERS.base = SamplerConfig
