"""What a recipe and its overrides say, as one nested mapping, before it has a schema."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from omegaconf import DictConfig, ListConfig, OmegaConf

from tl_research.config.values import Literal, Words, shown, text
from tl_research.errors import ConfigError
from tl_research.registry import METHODS, SAMPLERS, WEIGHTINGS, Entry
from tl_research.yaml_text import MOST_LEVELS, SpelledNull, parse_value, read_yaml

#: Keys that have keys below them, or a name in their place.
WHOLE_GROUPS = ("data", "encoder", "method", "optimizer", "trainer", "selection", "wandb")
WHOLE_GROUPS += ("method.weighting", "data.sampler")


def name_in(tree: dict[str, Any], group: str) -> str | None:
    """The name that a tree gives a group (`data`, `encoder`, `method`); None where it gives none."""
    given = tree.get(group)
    if not isinstance(given, dict) or "name" not in given:
        return None
    if given["name"] is None:
        raise ConfigError(f"{group}.name: got nothing (null), wants a name")
    return text(given["name"], f"{group}.name")


#: Groups within groups that a name chooses.
PARTS = (("method", "weighting"), ("data", "sampler"))


def name_parts(tree: dict[str, Any]) -> None:
    """Make the mapping {name: ...} of a weighting or a sampler that is given by its name alone."""
    for group, part in PARTS:
        keys = tree.get(group)
        if isinstance(keys, dict) and isinstance(keys.get(part), str):
            tree[group] = {**keys, part: {"name": keys[part]}}


def drop_the_replaced_parts(given: dict[str, Any], override: dict[str, Any]) -> None:
    """Take the recipe's options of a weighting or a sampler out where an override names another one."""
    for group, part in PARTS:
        old, new = ((tree.get(group) or {}) for tree in (given, override))
        old, new = (keys.get(part) if isinstance(keys, dict) else None for keys in (old, new))
        if isinstance(old, dict) and isinstance(new, dict) and new.get("name") not in (None, old.get("name")):
            given[group].pop(part)


def sampler_entry(tree: dict[str, Any]) -> Entry | None:
    """The entry that `data.sampler` names, or the method; None for uniform batches. Its name goes into the tree."""
    data = tree.get("data") or {}
    if not isinstance(data, dict):
        return None
    own = getattr(METHODS.get(name_in(tree, "method") or "source_only").target, "sampler", None)
    given = data.get("sampler", {"name": own} if own else None)
    if given is None:
        return None
    if not isinstance(given, dict):
        wants = "a name, or keys below it (data.sampler.name=...)"
        raise ConfigError(f"data.sampler: got {shown(given)}, wants {wants}")
    name = given.get("name", own)
    if name is None:
        raise ConfigError(f"data.sampler.name: missing; one of {', '.join(SAMPLERS.names())}")
    name = text(name, "data.sampler.name")
    tree["data"] = {**data, "sampler": {**given, "name": name}}
    return SAMPLERS.get(name)


def weighting_entry(tree: dict[str, Any]):
    """The entry that `method.weighting` names, or that the method is; None without one. Its name goes into the tree."""
    method = tree.get("method") or {}
    if not isinstance(method, dict):
        return None
    given = method.get("weighting")
    own = METHODS.get(name_in(tree, "method") or "source_only").info["weighting"]
    if given is None and "weighting" in method:
        if own is not None:
            raise ConfigError(f"method.weighting: method {own!r} is this weighting; source_only trains without one")
        return None
    if given is None and own is None:
        return None
    if given is not None and not isinstance(given, dict):
        wants = "a name, or keys below it (method.weighting.name=...)"
        raise ConfigError(f"method.weighting: got {shown(given)}, wants {wants}")
    name = (given or {}).get("name", own)
    name = None if name is None else text(name, "method.weighting.name")
    if name is None:
        raise ConfigError(f"method.weighting.name: missing; one of {', '.join(WEIGHTINGS.names())}")
    if own is not None and name != own:
        raise ConfigError(f"method.weighting.name: method {own!r} is the weighting {own!r}, got {name!r}")
    method["weighting"] = {**(given or {}), "name": name}
    tree["method"] = method
    return WEIGHTINGS.get(name)


def as_tree(recipe) -> dict[str, Any]:
    """What a YAML file, a nested mapping or nothing says."""
    if recipe is None:
        return {}
    if isinstance(recipe, Mapping):
        return _plain(OmegaConf.to_container(recipe) if isinstance(recipe, DictConfig) else recipe, "")
    if not isinstance(recipe, str | PurePath):
        raise ConfigError(f"a recipe is a YAML file, a mapping or None, got a {type(recipe).__name__}")
    if is_folder(recipe):
        raise ConfigError(f"{recipe}: is a folder, wants a recipe file")
    if not is_file(recipe):
        raise ConfigError(f"{recipe}: there is no such recipe file")
    tree = read_yaml(recipe, spelled=True)
    if not tree:
        raise ConfigError(f"{recipe}: is empty, wants a recipe; without a recipe file the defaults are trained")
    return tree


def _plain(value: Any, key: str, depth: int = 0) -> Any:
    """The same in dictionaries, lists, numbers and text, as JSON has them."""
    if depth > MOST_LEVELS:
        raise ConfigError(f"{key.split('.')[0]}: nested too deeply, or without end")
    if isinstance(value, Mapping):
        return {str(name): _plain(item, f"{key}.{name}".lstrip("."), depth + 1) for name, item in value.items()}
    if isinstance(value, list | tuple | ListConfig):
        return [_plain(item, f"{key}[{i}]", depth + 1) for i, item in enumerate(value)]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, PurePath):
        return str(value)
    if value is None or isinstance(value, str | int | float | SpelledNull):
        return value
    raise ConfigError(f"{key}: got a {type(value).__name__}, wants a number, a text, true or false, or a list of them")


def literal(tree: Any) -> Any:
    """The same tree with every text as it stands: its `${...}` are not filled in."""
    if isinstance(tree, dict):
        return {key: literal(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [literal(value) for value in tree]
    return Literal(tree) if isinstance(tree, str) else tree


def is_file(path: str | Path) -> bool:
    """Whether there is such a file; no path is so long or so odd that it would be an error."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: str | Path) -> bool:
    """Whether there is such a folder; as `is_file`."""
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):
        return False


def override_tree(overrides: Iterable[str] | Mapping[str, Any]) -> dict[str, Any]:
    """Return `key=value` strings as a nested mapping whose values are still words (`config_values.Words`).

    Raises:
        ConfigError: one is not of that form, or a key has a value and a key below it.
    """
    if isinstance(overrides, str):
        overrides = [overrides]
    if isinstance(overrides, Mapping):
        return as_tree(overrides)
    tree: dict[str, Any] = {}
    for said in overrides:
        key, equals, value = said.partition("=")
        if not equals or not key or key != key.strip():
            raise ConfigError(f"{shown(said)}: an override is written key=value, such as optimizer.lr=0.01")
        node = tree
        *parents, last = key.split(".")
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise ConfigError(f"{key}: {parent} was given a value and a key below it at the same time")
        given, before = _of_group(value, key), node.get(last)
        if isinstance(before, dict):
            if not isinstance(given, dict):
                raise ConfigError(f"{key}: was given a value and a key below it at the same time")
            # The last word counts, key by key; another name replaces all.
            given = deep_merge(before, given) if given.get("name") in (None, before.get("name")) else given
        node[last] = given
    return tree


def _of_group(value: str, key: str) -> Any:
    """A group's keys and values, which are merged key by key; all else stays words until the key's type is known."""
    stripped = value.strip()
    if key in WHOLE_GROUPS or stripped[:1] + stripped[-1:] == "{}":
        try:
            given = parse_value(value, key, spelled=True)
        except ConfigError:
            if key in WHOLE_GROUPS:
                raise
            return Words(value)
        if key in WHOLE_GROUPS or isinstance(given, dict):
            return given
    return Words(value)


def deep_merge(base: dict, over: dict) -> dict:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = deep_merge(merged[key], value) if both else value
    return merged
