"""What a recipe and its overrides say, as one nested mapping, before it has a schema."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from omegaconf import DictConfig, ListConfig, OmegaConf

from tl_research.config.fields import facts_of
from tl_research.config.groups import merge
from tl_research.config.schema import RunConfig
from tl_research.config.values import Literal, Words, shown
from tl_research.config.yaml_text import MOST_LEVELS, SpelledNull, parse_value, read_yaml
from tl_research.errors import ConfigError
from tl_research.storage import shipped
from tl_research.storage.files import is_file, is_folder


def as_tree(recipe: Any) -> dict[str, Any]:
    """What a YAML file, a nested mapping or nothing says; a recipe of the package may be given by its name.

    A file may extend another one (`extends: base`, a path from the file's own folder; `.yaml` may be left out): it then
    says only what differs.

    Raises:
        ConfigError: neither a file, a mapping nor None, or a file that cannot be read or is no mapping.
    """
    if recipe is None:
        return {}
    if isinstance(recipe, Mapping):
        return _plain(OmegaConf.to_container(recipe) if isinstance(recipe, DictConfig) else recipe, "")
    if not isinstance(recipe, str | PurePath):
        raise ConfigError(f"a recipe is a YAML file, a mapping or None, got a {type(recipe).__name__}")
    return _read_recipe(shipped.find(recipe, shipped.RECIPES), ())


def _read_recipe(path: Path, below: tuple[Path, ...]) -> dict[str, Any]:
    """Read a recipe and lay it upon the one that it extends; `below` are those that extend this one."""
    where = f"{below[-1]}: extends: " if below else ""
    if is_folder(path):
        raise ConfigError(f"{where}{path}: is a folder, wants a recipe file")
    if not is_file(path):
        raise ConfigError(f"{where}{path}: there is no such recipe file")
    if any(path.samefile(other) for other in below):
        raise ConfigError(f"{below[0]}: extends: {' -> '.join(map(str, (*below, path)))} is a circle")
    tree = read_yaml(path, spelled=True)
    if not tree:
        raise ConfigError(f"{path}: is empty, wants a recipe; without a recipe file the defaults are trained")
    if "extends" not in tree:
        return tree
    base = tree.pop("extends")
    if not isinstance(base, str) or not base:
        raise ConfigError(f"{path}: extends: got {shown(base)}, wants the path of a recipe, from its folder")
    base = path.parent / (base if base.endswith((".yaml", ".yml")) else f"{base}.yaml")
    return merge(_read_recipe(base, (*below, path)), tree)


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


#: Groups that are given by a name, or that have such groups below them: a name and keys may both be given.
NAMED = tuple(key for key, told in facts_of(RunConfig).items() if "registry" in told)


def override_tree(overrides: Iterable[str] | Mapping[str, Any]) -> dict[str, Any]:
    """Return `key=value` strings as a nested mapping whose values are still words (`values.Words`).

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
            if parents[0] in NAMED and isinstance(node.get(parent), Words):
                node[parent] = {"name": node[parent]}
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise ConfigError(f"{key}: {parent} was given a value and a key below it at the same time")
        given, before = _keys_or_words(value, key), node.get(last)
        if isinstance(before, dict):
            if key.split(".")[0] in NAMED and isinstance(given, Words) and "name" not in before:
                before["name"] = given
                continue
            if not isinstance(given, dict):
                raise ConfigError(f"{key}: was given a value and a key below it at the same time")
            tree = merge(tree, _nested(key, given))
        else:
            node[last] = given
    return tree


def _nested(key: str, value: Any) -> dict[str, Any]:
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def _keys_or_words(value: str, key: str) -> Any:
    """Read `{...}` as keys and values; all else stays words until the type of its key is known."""
    stripped = value.strip()
    if stripped[:1] + stripped[-1:] == "{}":
        with contextlib.suppress(ConfigError):
            given = parse_value(value, key, spelled=True)
            if isinstance(given, dict):
                return given
    return Words(value)
