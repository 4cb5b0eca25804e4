"""What the keys of different groups must agree on, and the values that follow from others."""

from __future__ import annotations

from typing import Any

from tl_research.config import devices
from tl_research.config.bounds import check, check_choice
from tl_research.config.fields import facts_of
from tl_research.config.schema import DataConfig, RunConfig
from tl_research.errors import ConfigError
from tl_research.registry import (
    METHODS,
    OUTCOMES,
    RULES,
    SOURCE_FREE,
    WITH_LABEL_SETS,
    DatasetEntry,
    EncoderEntry,
    MethodEntry,
)


def check_together(config: RunConfig, data_entry: DatasetEntry, method_entry: MethodEntry) -> None:
    """Check what no group can check by itself: the setting, the domains and the rule against data set and method.

    Args:
        config: the whole configuration.
        data_entry: registry entry of the data set.
        method_entry: registry entry of the method; its own `check_config` comes last.

    Raises:
        ConfigError: values that do not go together; the message names one of the keys.
    """
    data, settings = config.data, method_entry.settings
    devices.check_config(config)
    kind = getattr(data, "task", data_entry.task)
    if kind in OUTCOMES:
        check_target(method_entry, kind, rule=config.selection.rule)
    if data.setting not in settings:
        raise ConfigError(
            f"data.setting: method {method_entry.name!r} needs one of {', '.join(settings)}, got {data.setting!r}"
        )
    if config.method.weighting is not None and "source" not in method_entry.target.reads:
        raise ConfigError(f"method.weighting: method {method_entry.name!r} trains on no source row to be weighted")
    if not data.sources:
        raise ConfigError("data.sources: got an empty list, wants at least one domain")
    _check_label_sets(data, kind, method_entry)
    if "" in data.sources:
        raise ConfigError("data.sources: got an empty name, wants the name of a domain")
    domains = data_entry.domains
    for key, names in (("data.sources", data.sources), ("data.target", [data.target])):
        for name in names:
            if domains:
                check_choice(key, name, domains)
    if data.target in data.sources:
        raise ConfigError(f"data.target: {data.target!r} is one of data.sources too")
    for name in {"mean", "worst"} & set(data.sources) if len(data.sources) > 1 else ():
        raise ConfigError(f"data.sources: {name!r} cannot be a domain's name: figures over all sources are called so")
    if len(set(data.sources)) != len(data.sources):
        raise ConfigError(f"data.sources: {list(data.sources)} names a domain twice")
    if getattr(data, "transductive", False):
        _check_transductive(config)
    if data.setting == SOURCE_FREE:
        _check_source_free(config.selection.rule)
    if config.selection.rule == "target_val" and not has_target_val(data):
        raise ConfigError(
            "selection.rule: target_val needs target labels to validate on: data.setting=supervised, or few_shot "
            "with data.shots of 5 per class or more (a fifth of them validate)"
        )
    check_config = getattr(method_entry.target, "check_config", None)
    if check_config is not None:
        check_config(config)


def _check_label_sets(data: DataConfig, kind: str, method_entry: MethodEntry) -> None:
    got = data.label_sets
    if got not in method_entry.label_sets:
        others = [entry.name for entry in METHODS.entries() if got in entry.label_sets]
        why = "has no output for target rows of none of the source's classes" if got == "open" else "wants such rows"
        takes = " or ".join(method_entry.label_sets)
        raise ConfigError(
            f"method.name: {method_entry.name!r} {why}: it takes data.label_sets={takes}, got {got!r}"
            + (f"; {got!r} is taken by {', '.join(others)}" if got == "open" else "")
        )
    if not data.cuts_classes:
        return
    key = "data.label_sets" if got != "equal" else "data.source_classes"
    found = got if got != "equal" else list(data.source_classes or ())
    # A label of files is known once they are read (`auto`).
    can_be_cut = kind not in OUTCOMES or kind in WITH_LABEL_SETS
    check(can_be_cut, key, found, f"nothing: this label is of kind {kind}, not of classes")
    wants = "nothing: data.setting=source_free reads the classes of a finished run"
    check(data.setting != SOURCE_FREE, key, found, wants)
    wants = "unsupervised, because data.label_sets=open hides which target rows are of no source class"
    check(got != "open" or data.setting == "unsupervised", "data.setting", data.setting, wants)


def refuse_unread_label(config: RunConfig, data_entry: DatasetEntry) -> None:
    """Raise `ConfigError` where a label column is named for a data set that has one label only, its own.

    A data set of the catalogue that has several labels gives `label` a default. Records of before may name one.
    """
    has_one = bool(data_entry.domains) and facts_of(data_entry.config)["label"]["default"] is None
    wants = f"nothing: data set {data_entry.name!r} has one label; a column is named for files of your own"
    check(config.data.label is None or not has_one, "data.label", config.data.label, wants)


def _check_transductive(config: RunConfig) -> None:
    wants = "unsupervised, because data.transductive=true measures on the very target rows"
    check(config.data.setting == "unsupervised", "data.setting", config.data.setting, wants)
    rule = config.selection.rule
    reads_held_out = rule in RULES and "source_val" in RULES[rule].splits
    wants = "last or im, because data.transductive=true trains on every source row and holds none out"
    check(not reads_held_out, "selection.rule", rule, wants)


def _check_source_free(rule: str) -> None:
    of_target = [name for name, found in RULES.items() if not found.is_oracle and not _reads_source(name)]
    wants = f"one of {', '.join(of_target)}, because data.setting=source_free reads no source row"
    check(rule not in RULES or not _reads_source(rule), "selection.rule", rule, wants)


def _reads_source(rule: str) -> bool:
    return any(read.startswith("source") for read in RULES[rule].reads)


def check_target(method_entry: MethodEntry, kind: str, *, rule: str) -> None:
    """Raise `ConfigError` where a method or a selection rule cannot do with the data's kind of label.

    Args:
        method_entry: the method's registry entry.
        kind: of the label, one of `OUTCOMES`.
        rule: `selection.rule`.
    """
    name, targets = method_entry.name, method_entry.targets
    if kind not in targets:
        raise ConfigError(f"method.name: {name!r} takes a label of kind {' or '.join(targets)}, this one is {kind}")
    if rule in RULES and not _scores(rule, kind):
        others = [other for other, found in RULES.items() if not found.is_oracle and _scores(other, kind)]
        of = " or ".join(RULES[rule].of or ())
        wants = f"wants one of {', '.join(others)}"
        raise ConfigError(f"selection.rule: {rule!r} takes a label of kind {of}, this one is {kind}; {wants}")


def _scores(rule: str, kind: str) -> bool:
    of = RULES[rule].of
    return of is None or kind in of


def has_target_val(data: DataConfig) -> bool:
    """Whether the setting leaves target labels to validate on (a fifth of the shots, so 5 per class or more)."""
    if data.setting == "few_shot" and data.shots is not None:
        return data.shots < 1 or data.shots >= 5
    return data.setting == "supervised"


def resolve_text(config: RunConfig, encoder_entry: EncoderEntry) -> dict[str, Any]:
    """Where `data.text` leaves it open, return the form of texts that the encoder takes, and its tokenizer."""
    found: dict[str, Any] = {}
    text = getattr(config.data, "text", None)
    if text is None:
        return found
    form = text.form
    if form == "auto":
        form = encoder_entry.text or "tfidf"
        found["data.text.form"] = form = form(config.encoder) if callable(form) else form
    if form == "pretrained" and text.tokenizer is None:
        found["data.text.tokenizer"] = getattr(getattr(config.encoder, "hf", config.encoder), "path", None)
    return found


def resolve_rule(config: RunConfig) -> str:
    """What `selection.rule=auto` means."""
    if getattr(config.data, "transductive", False):
        return "last"  # every source row trains
    if config.data.setting == "unsupervised":
        return "source_val"
    return "target_val" if has_target_val(config.data) else "last"
