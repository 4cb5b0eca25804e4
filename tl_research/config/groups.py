"""Named groups: parts of a configuration whose keys depend on the name that is chosen.

`data`, `encoder`, `method`, `method.weighting`, and every field of any of their configs that is made by
`fields.named`. A named group is written as a name (`kmm`) or as keys (`{name: kmm, clip: 10}`). Its keys are those of
the config that is registered under the name. Another name replaces the group whole.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from tl_research.config.fields import facts_of
from tl_research.config.schema import RunConfig
from tl_research.config.values import Words, is_optional, nested_in, shown, text, types_of
from tl_research.config.yaml_text import parse_value
from tl_research.errors import ConfigError
from tl_research.registry import DATASETS, METHODS, Entry, MethodEntry


def as_keys(given: Any) -> Any:
    """Return the keys of a named group that is written as its name alone; all else as it is."""
    if isinstance(given, Words):
        with contextlib.suppress(ConfigError):
            read = parse_value(given, "")
            given = given if isinstance(read, str) else read
    return {"name": given} if isinstance(given, str) else given


def name_of(given: Any, key: str) -> str | None:
    """The name that a tree gives the group `key`; None where it gives none.

    Raises:
        ConfigError: the name is no text.
    """
    given = as_keys(given)
    if not isinstance(given, dict) or "name" not in given:
        return None
    name = given["name"]
    if name is None:
        raise ConfigError(f"{key}.name: got nothing (null), wants a name")
    if isinstance(name, str) and "${" in name:
        raise ConfigError(f"{key}.name: got {shown(name)}, wants a name as it is: it says which keys there are")
    return text(name, f"{key}.name")


def merge(base: Mapping[str, Any], over: Mapping[str, Any], schema: type | None = RunConfig) -> dict[str, Any]:
    """Lay one tree upon another, key by key; what `over` says counts.

    Where both give a named group and `over` gives it another name, what `base` says of the group is dropped, but for
    the keys that mean the same under every name (of `data`: the setting, the batch size and the like). Of `data`
    without a name in `base` everything stays: what the data set that `over` names does not have is refused later.

    Args:
        base, over: nested keys and values; neither is changed.
        schema: dataclass of their keys; None for keys of any name, which hold no named group.
    """
    merged, facts = dict(base), facts_of(schema) if schema else {}
    for key, value in over.items():
        below, told = merged.get(key), facts.get(key, {})
        registry = told.get("registry")
        if registry is not None:
            below, value = as_keys(below), as_keys(value)
        if not (isinstance(value, dict) and isinstance(below, dict)):
            merged[key] = value
            continue
        inner = nested_in(schema, key) if schema else None
        if registry is not None:
            # Keys of data without a name are meant for the data set that is named later.
            is_open = "name" not in below and registry is DATASETS
            if not is_open and value.get("name") not in (None, below.get("name")):
                below = {name: below[name] for name in below if name in told["kept"]}
            entry = registry.find(value.get("name") or below.get("name") or told["name"])
            inner = entry and entry.config
        merged[key] = merge(below, value, inner)
    return merged


def chosen(tree: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Entry]]:
    """Find the entry that each named group of a run selects.

    Returns:
        The tree with every named group as keys, and full key -> registry entry.

    Raises:
        ConfigError: a name that is not registered, or a group that is no name and no keys.
    """
    data, method = DATASETS.get(_name_or_default(tree, "data")), METHODS.get(_name_or_default(tree, "method"))
    # What a recipe leaves open the method says, or else the data set.
    defaults = {
        "encoder": method.encoder or data.encoder,
        "method.weighting": method.weighting,
        "data.sampler": getattr(method.target, "sampler", None),
    }
    _refuse_other_weighting(tree, method)
    entries: dict[str, Entry] = {}
    return _chosen(tree, RunConfig, "", defaults, entries), entries


def _name_or_default(tree: dict[str, Any], key: str) -> str:
    return name_of(tree.get(key), key) or facts_of(RunConfig)[key]["name"]


def _chosen(
    tree: dict[str, Any], schema: type, prefix: str, defaults: dict[str, str | None], entries: dict[str, Entry]
) -> dict[str, Any]:
    tree = dict(tree)
    for key, told in facts_of(schema).items():
        if "registry" not in told:
            continue
        full = f"{prefix}{key}"
        given, default = as_keys(tree.get(key)), defaults.get(full) or told["name"]
        if given is None and key in tree and is_optional(types_of(schema)[key]):
            tree[key] = None
            continue
        if given is None and default is None:
            continue
        if key in tree and not isinstance(given, dict):
            raise ConfigError(f"{full}: got {shown(given)}, wants a name, or keys below it ({full}.name=...)")
        name = name_of(given, full) or default
        if name is None:
            raise ConfigError(f"{full}.name: missing; one of {', '.join(told['registry'].names())}")
        entries[full] = told["registry"].get(name)
        below = _chosen(given or {}, entries[full].config, f"{full}.", defaults, entries)
        if given is not None:
            tree[key] = below
    return tree


def _refuse_other_weighting(tree: dict[str, Any], method: MethodEntry) -> None:
    """Raise `ConfigError` where a method that is a weighting itself is given another one, or none."""
    own, group = method.weighting, as_keys(tree.get("method"))
    if own is None or not isinstance(group, dict) or "weighting" not in group:
        return
    if as_keys(group["weighting"]) is None:
        raise ConfigError(f"method.weighting: method {own!r} is this weighting; source_only trains without one")
    name = name_of(group["weighting"], "method.weighting")
    if name not in (None, own):
        raise ConfigError(f"method.weighting.name: method {own!r} is the weighting {own!r}, got {name!r}")
