"""The typed configuration of one run: `compose` makes it, `run_id` names it.

The registry entry that `data.name`, `encoder.name` and `method.name` select gives the schema of its group;
the recipe and then the overrides are merged into it. Every mistake is one `ConfigError` that names the full key.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tl_research.errors import ConfigError, nearest
from tl_research.registry import TARGETS
from tl_research.yaml_text import parse_value, read_yaml

#: Metrics of numbers; all others are of classes.
REGRESSION_METRICS = ("r2", "rmse", "mae")
SETTINGS = ("unsupervised", "few_shot", "supervised")
RULES = ("auto", "last", "source_val", "im", "dev", "target_val", "oracle")
GROUPS = ("data", "encoder", "method")
#: Keys that say where and how a run is started, not what it computes: they are no part of `run_id`.
LAUNCH_KEYS = (
    "output",
    "wandb",
    "data.root",
    "data.num_workers",
    "data.resident",
    "trainer.accelerator",
    "trainer.threads",
    "trainer.progress_bar",
    "trainer.checkpoint_every_n_steps",
    "trainer.checkpoint_every_seconds",
)


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
        check_choice("trainer.precision", self.precision, ("32-true", "bf16-mixed", "16-mixed", "64-true", "bf16-true"))
        check(self.devices >= 1, "trainer.devices", self.devices, "at least 1")
        check(self.num_nodes >= 1, "trainer.num_nodes", self.num_nodes, "at least 1")
        check(
            self.accumulate_grad_batches >= 1, "trainer.accumulate_grad_batches", self.accumulate_grad_batches, ">= 1"
        )
        if self.gradient_clip_val is not None:
            check(self.gradient_clip_val > 0, "trainer.gradient_clip_val", self.gradient_clip_val, "a number above 0")
        if self.threads is not None:
            check(self.threads >= 1, "trainer.threads", self.threads, "at least 1")
        if self.checkpoint_every_n_steps is not None:
            check(
                self.checkpoint_every_n_steps >= 1,
                "trainer.checkpoint_every_n_steps",
                self.checkpoint_every_n_steps,
                ">= 1",
            )


@dataclass
class SelectionConfig:
    """Group `selection`: which epoch's weights are kept as the run's checkpoint."""

    rule: str = "auto"  # target_val where the setting has target labels to spare, else source_val

    def __post_init__(self):
        check_choice("selection.rule", self.rule, [rule for rule in RULES if rule != "oracle"])


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


def compose(
    recipe: str | Path | Mapping[str, Any] | None = None, overrides: Iterable[str] | Mapping[str, Any] = ()
) -> DictConfig:
    """Merge schema, recipe and overrides into one checked, read-only configuration.

    Args:
        recipe: a YAML file, a nested mapping, or None for defaults alone.
        overrides: `key=value` strings (values are YAML), or a nested mapping.

    An override of `data.name`, `encoder.name` or `method.name` that differs from the recipe's drops what the
    recipe says of the name that was replaced: the group's other keys, but of `data` only the domains and the data
    set's own keys (`batch_size`, `setting` and the like stay).

    Raises:
        ConfigError: unknown key, wrong type, value out of range or missing; the message names the full key.
    """
    from tl_research.registry import DATASETS, ENCODERS, METHODS

    given = _as_tree(recipe)
    override = override_tree(overrides)
    for group in GROUPS:
        replaced = override.get(group, {}).get("name") if isinstance(override.get(group), dict) else None
        if isinstance(given.get(group), dict) and replaced is not None and replaced != given[group].get("name"):
            given[group] = {
                key: given[group][key] for key in given[group] if group == "data" and key in COMMON_DATA_KEYS
            }
    _name_weightings(given)
    _name_weightings(override)
    _drop_the_replaced_weighting(given, override)
    tree = _deep_merge(given, override)

    weighting_entry = _weighting_entry(tree)
    names = {group: (tree.get(group) or {}).get("name") for group in GROUPS if isinstance(tree.get(group) or {}, dict)}
    data_entry = DATASETS.get(names.get("data") or "simulated_market")
    method_entry = METHODS.get(names.get("method") or "source_only")
    encoder = names.get("encoder") or method_entry.info["encoder"] or data_entry.info["encoder"]
    encoder_entry = ENCODERS.get(encoder)
    root = OmegaConf.structured(RunConfig)
    for group, entry in (("data", data_entry), ("encoder", encoder_entry), ("method", method_entry)):
        root[group] = OmegaConf.structured(entry.config)
        root[group].name = entry.name
    groups = {"data": data_entry.config, "encoder": encoder_entry.config, "method": method_entry.config}
    if weighting_entry is not None:
        groups["method.weighting"] = weighting_entry.config
        root.method.weighting = OmegaConf.structured(weighting_entry.config)
    _refuse_unknown(tree, RunConfig, groups)
    try:
        config = OmegaConf.merge(root, OmegaConf.create(tree))
        # Checked, not replaced: a value that is ${seed} must follow the seed that a suite sets afterwards.
        OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(_readable(error)) from None
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        domains = data_entry.info["domains"]
        hint = (
            f" (known domains: {', '.join(domains)})"
            if missing[0] in ("data.sources", "data.target") and domains
            else ""
        )
        raise ConfigError(
            f"{missing[0]}: missing; it has no default, give it in the recipe or as {missing[0]}=...{hint}"
        )
    OmegaConf.to_object(config)  # runs every __post_init__
    _check_together(config, data_entry, method_entry)
    config.selection.rule = _resolve_rule(config)
    _resolve_text(config, encoder_entry)
    OmegaConf.set_readonly(config, True)
    return config


def run_id(config: DictConfig) -> str:
    """Return 12 hexadecimal digits: the hash of the resolved configuration less its launch keys.

    A data set whose rows are the user's own files adds their content (its `fingerprint`), so that changed
    files make a new run.
    """
    from tl_research.registry import DATASETS, METHODS

    tree = OmegaConf.to_container(config, resolve=True)
    for key in LAUNCH_KEYS:
        *parents, last = key.split(".")
        node = tree
        for parent in parents:
            node = node[parent]
        node.pop(last, None)
    if tree["method"].get("weighting") is None:
        tree["method"].pop("weighting", None)  # runs are named as before there were weightings
    for item in dataclasses.fields(METHODS.get(config.method.name).config):
        if item.metadata.get("added_later") and tree["method"][item.name] == item.default:
            tree["method"].pop(item.name)
    if "new_head" in tree["method"]:  # as before it was called so
        tree["method"]["head"] = "new" if tree["method"].pop("new_head") else "source"
    if "start" in tree["method"]:
        from tl_research.pretraining import fingerprint as start_fingerprint

        tree["method"]["start"] = start_fingerprint(tree["method"]["start"])
    task = DATASETS.get(config.data.name).config.__dataclass_fields__.get("task")
    if task is not None and tree["data"]["task"] == task.default:
        tree["data"].pop("task")  # and as before there were regression targets
    fingerprint = getattr(DATASETS.get(config.data.name).target, "fingerprint", None)
    if fingerprint is not None:
        tree["fingerprint"] = fingerprint(OmegaConf.to_object(config.data))
    text = json.dumps(tree, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _name_weightings(tree: dict[str, Any]) -> None:
    """Make the mapping {name: ...} of a weighting that is given by its name alone."""
    method = tree.get("method")
    if isinstance(method, dict) and isinstance(method.get("weighting"), str):
        tree["method"] = {**method, "weighting": {"name": method["weighting"]}}


def _drop_the_replaced_weighting(given: dict[str, Any], override: dict[str, Any]) -> None:
    """Take the recipe's options of a weighting out where an override names another one."""
    old, new = ((tree.get("method") or {}) for tree in (given, override))
    old, new = (method.get("weighting") if isinstance(method, dict) else None for method in (old, new))
    if isinstance(old, dict) and isinstance(new, dict) and new.get("name") not in (None, old.get("name")):
        given["method"].pop("weighting")


def _weighting_entry(tree: dict[str, Any]):
    """The entry that `method.weighting` names, or that the method is; None without one. Its name goes into the tree."""
    from tl_research.registry import METHODS
    from tl_research.weighting.base import WEIGHTINGS

    method = tree.get("method") or {}
    if not isinstance(method, dict):
        return None
    given = method.get("weighting")
    own = METHODS.get(method.get("name") or "source_only").info["weighting"]
    if given is None and "weighting" in method:
        if own is not None:
            raise ConfigError(f"method.weighting: method {own!r} is this weighting; source_only trains without one")
        return None
    if given is None and own is None:
        return None
    if given is not None and not isinstance(given, dict):
        wants = "a name, or keys below it (method.weighting.name=...)"
        raise ConfigError(f"method.weighting: got {given!r}, wants {wants}")
    name = (given or {}).get("name") or own
    if name is None:
        raise ConfigError(f"method.weighting.name: missing; one of {', '.join(WEIGHTINGS.names())}")
    if own is not None and name != own:
        raise ConfigError(f"method.weighting.name: method {own!r} is the weighting {own!r}, got {name!r}")
    method["weighting"] = {**(given or {}), "name": name}
    tree["method"] = method
    return WEIGHTINGS.get(name)


def _as_tree(recipe) -> dict[str, Any]:
    if recipe is None:
        return {}
    if isinstance(recipe, Mapping):
        return json.loads(
            json.dumps(OmegaConf.to_container(recipe) if isinstance(recipe, DictConfig) else dict(recipe))
        )
    path = Path(recipe)
    if not path.is_file():
        raise ConfigError(f"{recipe}: there is no such recipe file")
    return read_yaml(path)


def override_tree(overrides: Iterable[str] | Mapping[str, Any]) -> dict[str, Any]:
    """Return `key=value` strings as a nested mapping; `ConfigError` names the one that is not of that form."""
    if isinstance(overrides, str):
        overrides = [overrides]
    if isinstance(overrides, Mapping):
        return _as_tree(overrides)
    tree: dict[str, Any] = {}
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not key or key != key.strip():
            raise ConfigError(f"{text!r}: an override is written key=value, such as optimizer.lr=0.01")
        node = tree
        *parents, last = key.split(".")
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise ConfigError(f"{key}: {parent} was given a value and a key below it at the same time")
        node[last] = parse_value(value, key)
    return tree


def _deep_merge(base: dict, over: dict) -> dict:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _deep_merge(merged[key], value) if both else value
    return merged


def _refuse_unknown(tree: dict, schema: type, groups: dict[str, type], prefix: str = "") -> None:
    fields = {item.name: item for item in dataclasses.fields(schema)}
    for key, value in tree.items():
        if key not in fields:
            raise ConfigError(f"{prefix}{key}: unknown key{nearest(key, fields)}")
        nested = groups.get(f"{prefix}{key}")
        default = fields[key].default_factory
        if nested is None and default is not dataclasses.MISSING and dataclasses.is_dataclass(default):
            nested = default
        if nested is not None:
            if not isinstance(value, dict):
                raise ConfigError(f"{prefix}{key}: got {value!r}, wants keys below it ({prefix}{key}.name=...)")
            _refuse_unknown(value, nested, groups, f"{prefix}{key}.")


def _readable(error: OmegaConfBaseException) -> str:
    first = str(error.msg if getattr(error, "msg", None) else error).split("\n")[0]
    key = getattr(error, "full_key", None)
    return f"{key}: {first}" if key and not first.startswith(str(key)) else first


def _check_together(config: DictConfig, data_entry, method_entry) -> None:
    from tl_research import devices

    data, settings = config.data, method_entry.info["settings"]
    devices.check_config(config)
    if data.setting not in settings:
        raise ConfigError(
            f"data.setting: method {method_entry.name!r} needs one of {', '.join(settings)}, got {data.setting!r}"
        )
    if config.method.weighting is not None and "source" not in method_entry.target.reads:
        raise ConfigError(f"method.weighting: method {method_entry.name!r} trains on no source row to be weighted")
    kind = getattr(data, "task", data_entry.info["task"])
    if kind in TARGETS:
        check_target(method_entry, regression=kind == "regression", rule=config.selection.rule)
    if not data.sources:
        raise ConfigError("data.sources: got an empty list, wants at least one domain")
    domains = data_entry.info["domains"]
    for key, names in (("data.sources", data.sources), ("data.target", [data.target])):
        for name in names:
            if domains:
                check_choice(key, name, domains)
    if data.target in data.sources:
        raise ConfigError(f"data.target: {data.target!r} is one of data.sources too")
    if len(set(data.sources)) != len(data.sources):
        raise ConfigError(f"data.sources: {list(data.sources)} names a domain twice")
    if config.selection.rule == "target_val" and not has_target_val(data):
        raise ConfigError(
            "selection.rule: target_val needs target labels to validate on: data.setting=supervised, or few_shot "
            "with data.shots of 5 a class or more (a fifth of them validate)"
        )
    check_config = getattr(method_entry.target, "check_config", None)
    if check_config is not None:
        check_config(config)


def check_target(method_entry, *, regression: bool, rule: str) -> None:
    """Raise `ConfigError` where a method or a selection rule cannot do with the data's kind of label.

    Args:
        method_entry: the method's registry entry.
        regression: whether the label is a number to be predicted rather than a class.
        rule: `selection.rule`.
    """
    name, targets = method_entry.name, method_entry.info["targets"]
    if regression and "regression" not in targets:
        raise ConfigError(f"method.name: {name!r} needs classes, but the label is a regression target")
    if not regression and "class" not in targets:
        raise ConfigError(f"method.name: {name!r} needs a regression target, but the label is a class")
    if regression and rule == "im":
        raise ConfigError(
            "selection.rule: 'im' reads class probabilities, which a regression has none of; source_val, target_val, "
            "dev and last apply"
        )


def selection_metric(data_entry, *, regression: bool) -> str:
    """The metric that selection rules read: the data set's own, where it fits the label.

    For R² they read RMSE, which puts the epochs in the same order and has a value on a split of one row too.
    """
    own = data_entry.info["metric"]
    if regression:
        return own if own in REGRESSION_METRICS and own != "r2" else "rmse"
    return own if own not in REGRESSION_METRICS else "accuracy"


def has_target_val(data) -> bool:
    """Whether the setting leaves target labels to validate on (a fifth of the shots, so 5 a class or more)."""
    if data.setting == "supervised":
        return True
    return data.setting == "few_shot" and (data.shots < 1 or data.shots >= 5)


def _resolve_text(config: DictConfig, encoder_entry) -> None:
    """Where `data.text` leaves it open, give texts the form that the encoder takes, and its tokenizer."""
    if "text" not in config.data:
        return
    text = config.data.text
    if text.form == "auto":
        form = encoder_entry.info.get("text") or "tfidf"
        text.form = form(config.encoder) if callable(form) else form
    if text.form == "pretrained" and text.tokenizer is None:
        text.tokenizer = config.encoder.hf.path if "hf" in config.encoder else config.encoder.get("path")


def _resolve_rule(config: DictConfig) -> str:
    if config.selection.rule != "auto":
        return config.selection.rule
    if getattr(config.data, "transductive", False):
        return "last"  # every source row trains
    if config.data.setting == "unsupervised":
        return "source_val"
    return "target_val" if has_target_val(config.data) else "last"
