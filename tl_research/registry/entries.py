"""What is known of a registered name, one dataclass per kind. Its fields are the arguments of the decorator.

@register_encoder("mlp", config=MLPConfig)   # makes EncoderEntry("mlp", config=MLPConfig, target=MLP)
class MLP(Encoder): ...
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any

#: Settings in which rows of both domains are read.
PAIRED = ("unsupervised", "few_shot", "supervised")
#: The target's rows without labels, and a finished run: no source row is read.
SOURCE_FREE = "source_free"
SETTINGS = (*PAIRED, SOURCE_FREE)
#: How the classes of the target stand to those of the sources (docs/label_sets.md).
LABEL_SETS = ("equal", "partial", "open")
#: Kinds of label whose values have names, so that a domain can lack some of them.
WITH_LABEL_SETS = ("class",)
#: Kinds of label.
TARGETS = ("class", "regression")
#: Kinds of outcome: a label, or what users prefer.
OUTCOMES = (*TARGETS, "preference")


@dataclass(frozen=True)
class Entry:
    """One registered name.

    Fields:
        name: value of the group's key `name`.
        config: dataclass of the group.
        target: the class or function that is registered; the decorator fills it in.
    """

    name: str
    _: KW_ONLY
    config: type
    target: Any = None

    @property
    def summary(self) -> str:
        """First line of the docstring."""
        return (self.target.__doc__ or "").strip().split("\n")[0]


@dataclass(frozen=True)
class MethodEntry(Entry):
    """A method.

    Fields:
        name: value of `method.name`.
        config: dataclass of the group `method`, a subclass of `MethodConfig`.
        family: one of the families of the design (`adversarial`, `feature`, ...).
        settings: settings it can be run in; the first is its natural one.
        paper: citation with equation.
        null: value of the sum of its adaptation terms when source and target are one distribution (0 for a
            discrepancy, ln 2 for a binary discriminator); None where it has no such terms. Tested.
        no_null: of a method whose terms have no such value, why (they read the target alone, say).
        null_rows: rows per side of the test of `null`; a distance that is biased upwards as 1/sqrt(rows) wants more.
        gain: by how much of `gain_in` it must beat its baseline on the behavioural problem of the tests; None for
            baselines. Tested, and tested to be due to its terms.
        gain_in: `accuracy`, `h_score`, or `log_loss`, which it lowers by its gain.
        over: the baseline, a method's name and then its options: the same training without what makes this method. ():
            `shallow` for one fitted in closed form, `fine_tune` for one that adds a term to it, else `source_only`, or
            `target_only` where the setting has labels.
        no_gain: of a method without a gain that is no baseline, why; what it does promise has a test of its own.
        encoder: encoder used where a recipe names none; None for the data set's.
        weighting: weighting of the source rows used where a recipe names none.
        problem: overrides of the behavioural problem for a method that undoes another kind of shift.
        targets: kinds of outcome it can learn: `class`, `regression` or both, or `preference`; another kind is refused
            before training.
        label_sets: values of `data.label_sets` that it can be run with; another one is refused before training. A
            method that predicts no `unknown` class has no `open`.

    Raises:
        ValueError: an unknown setting, kind of outcome or label set, or none.
    """

    _: KW_ONLY
    family: str
    settings: tuple[str, ...]
    paper: str
    null: float | None = None
    null_rows: int = 256
    no_null: str = ""
    gain: float | None = None
    gain_in: str = "accuracy"
    over: tuple[str, ...] = ()
    no_gain: str = ""
    encoder: str | None = None
    weighting: str | None = None
    problem: tuple[str, ...] = ()
    targets: tuple[str, ...] = TARGETS
    label_sets: tuple[str, ...] = ("equal", "partial")

    def __post_init__(self) -> None:
        for name, given, known in (
            ("targets", self.targets, OUTCOMES),
            ("settings", self.settings, SETTINGS),
            ("label_sets", self.label_sets, LABEL_SETS),
        ):
            if not given or not set(given) <= set(known):
                raise ValueError(f"{name}: got {given!r}, wants some of {known}")


@dataclass(frozen=True)
class DatasetEntry(Entry):
    """A data set.

    Fields:
        name: value of `data.name`.
        config: dataclass of the group `data`, a subclass of `DataConfig`.
        domains: names of its domains; empty where they depend on the config (`files`).
        metric: the metric its tables show first (`accuracy`, `auroc`, ...).
        encoder: encoder used where a recipe names none.
        paper: where it comes from.
        licence: terms of use as far as they are known.
        task: kind of its outcome, `class`, `regression` or `preference`; a key `data.task` of its config, where there
            is one, says it instead (`auto`: known once the files are read).
        default: source and target of the run that `tl-research fit NAME METHOD` makes; empty where there is none.
        module: class of the data module of its runs; None: `PairedDataModule`, whose rows are those of domains.

    The function of a data set of rows is called as (config, names) and returns domain -> `Domain`. That of a data set
    of interactions (`module=InteractionModule`) is called as (config, seed) and returns a `LoadedTask`.
    """

    _: KW_ONLY
    domains: tuple[str, ...]
    metric: str
    encoder: str
    paper: str
    licence: str = ""
    task: str = "class"
    default: tuple[str, str] | tuple[()] = ()
    module: Any = None


@dataclass(frozen=True)
class EncoderEntry(Entry):
    """An encoder. Which kinds of rows it takes, its class says (`Encoder.takes`).

    Fields:
        name: value of `encoder.name`.
        config: dataclass of the group `encoder`, a subclass of `EncoderConfig`.
        paper: citation.
        text: form of texts (`data.text.form`) that it takes where a recipe leaves it open, or a function of its group
            that says so; None: tf-idf.
    """

    _: KW_ONLY
    paper: str = ""
    text: str | Callable[[Any], str] | None = None


@dataclass(frozen=True)
class WeightingEntry(Entry):
    """A weighting; a method of the same name trains the source model with it.

    Its function is called as (source (n, d), target (m, d), config, *, label (n,), seed) and returns raw weights
    (n,) >= 0, or these and a dictionary of facts for the record.

    Fields:
        name: value of `method.weighting.name`.
        config: dataclass of the group `method.weighting`, a subclass of `WeightingConfig`.
        paper, gain: as of a `MethodEntry`.
    """

    _: KW_ONLY
    paper: str
    gain: float | None = None


@dataclass(frozen=True)
class SamplerEntry(Entry):
    """A way to draw batches.

    It is called as (config, samples, batch_size, *, seed, side, rank, world_size) and returns a `Plan`.

    Fields:
        name: value of `data.sampler.name`.
        config: dataclass of the group `data.sampler`, a subclass of `SamplerConfig`.
        paper: citation.
    """

    _: KW_ONLY
    paper: str = ""
