"""What a recipe and its overrides say, as one nested mapping, before it has a schema."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from tl_research.errors import ConfigError, nearest
from tl_research.yaml_text import parse_value, read_yaml


def name_weightings(tree: dict[str, Any]) -> None:
    """Make the mapping {name: ...} of a weighting that is given by its name alone."""
    method = tree.get("method")
    if isinstance(method, dict) and isinstance(method.get("weighting"), str):
        tree["method"] = {**method, "weighting": {"name": method["weighting"]}}


def drop_the_replaced_weighting(given: dict[str, Any], override: dict[str, Any]) -> None:
    """Take the recipe's options of a weighting out where an override names another one."""
    old, new = ((tree.get("method") or {}) for tree in (given, override))
    old, new = (method.get("weighting") if isinstance(method, dict) else None for method in (old, new))
    if isinstance(old, dict) and isinstance(new, dict) and new.get("name") not in (None, old.get("name")):
        given["method"].pop("weighting")


def weighting_entry(tree: dict[str, Any]):
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


def as_tree(recipe) -> dict[str, Any]:
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
        return as_tree(overrides)
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


def deep_merge(base: dict, over: dict) -> dict:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = deep_merge(merged[key], value) if both else value
    return merged


def refuse_unknown(tree: dict, schema: type, groups: dict[str, type], prefix: str = "") -> None:
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
            refuse_unknown(value, nested, groups, f"{prefix}{key}.")
