"""A typed tree becomes the dataclasses of a run: defaults filled in, `${...}` resolved, every group's checks passed."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import (
    GrammarParseError,
    InterpolationKeyError,
    InterpolationResolutionError,
    OmegaConfBaseException,
)

from tl_research.config.bounds import check_bounds
from tl_research.config.fields import facts_of
from tl_research.config.identity import id_of
from tl_research.config.schema import RunConfig
from tl_research.config.values import is_number, nested_in, read, types_of
from tl_research.errors import ConfigError
from tl_research.registry import DATASETS, Entry

Tree = dict[str, Any]


@dataclass
class Checked:
    """The configuration of a run, checked.

    Fields:
        tree: every key and its value; `${...}` as they are written.
        run: the same as dataclasses, with `${...}` filled in.
        entries: full key of each named group -> its registry entry.
        filled: full key -> type of the values that stand for others.
    """

    tree: Tree
    run: RunConfig
    entries: dict[str, Entry]
    filled: dict[str, Any]

    def with_seed(self, seed: int) -> Checked:
        """The same run with another seed; no check of a configuration reads it."""
        tree = {**self.tree, "seed": seed}
        return Checked(tree, _group(RunConfig, _filled_in(tree, self.filled), self.entries), self.entries, self.filled)

    @property
    def run_id(self) -> str:
        """Hash of what the run computes; launch settings do not enter."""
        return id_of(self.run)

    def set(self, key: str, value: Any) -> None:
        """Give the key `group.name`, or one within a group of it, a value that follows from others."""
        *parents, last = key.split(".")
        tree, group = self.tree, self.run
        for parent in parents:
            tree, group = tree[parent], getattr(group, parent)
        tree[last] = value
        setattr(group, last, value)

    def config(self, **changes: Any) -> DictConfig:
        """The same as a read-only configuration; `changes` are keys of the root.

        Raises:
            ConfigError: a change is of another type than its key.
        """
        try:
            config = OmegaConf.structured(_group(RunConfig, {**self.tree, **changes}, self.entries))
        except OmegaConfBaseException as error:
            raise ConfigError(readable(error, ())) from None
        OmegaConf.set_readonly(config, True)
        return config


def checked(tree: Tree, entries: dict[str, Entry], filled: dict[str, Any]) -> Checked:
    """Fill in defaults and run the checks of every group.

    Args:
        tree: from `values.typed`.
        entries: full key of each named group -> its registry entry.
        filled: full key -> type of the values that stand for others (`${seed}`).

    Raises:
        ConfigError: a key without a value, or one that is out of range; the message names the full key.
    """
    filled = dict(filled)
    tree = _complete(tree, RunConfig, entries, filled)
    values = _filled_in(tree, filled)
    _refuse_missing(values, DATASETS.get(entries["data"].name).domains)
    run = _group(RunConfig, values, entries)
    _check(run)
    return Checked(tree, run, entries, filled)


def _complete(
    tree: Tree, schema: type, entries: dict[str, Entry], filled: dict[str, Any], prefix: str = "", own: Any = None
) -> Tree:
    """The tree with a value for every key; `own` holds the defaults that a group has where it stands."""
    found: Tree = {}
    for key in types_of(schema):
        full, default = f"{prefix}{key}", getattr(own, key) if own is not None else _defaults(schema)[key]
        if full in entries:
            below = _complete(tree.get(key) or {}, entries[full].config, entries, filled, f"{full}.")
            found[key] = below | {"name": entries[full].name}
        elif dataclasses.is_dataclass(default):
            found[key] = _complete(tree.get(key, {}), type(default), entries, filled, f"{full}.", default)
        elif key in tree:
            found[key] = tree[key]
        else:
            found[key] = copy.deepcopy(default)
            if _has_dollar(default):
                filled[full] = types_of(schema)[key]
    return found


@cache
def _defaults(schema: type) -> Tree:
    """Default of each field; a whole number where the field wants a number with a point is made one."""
    found = {}
    for item in dataclasses.fields(schema):
        value = item.default
        if value is dataclasses.MISSING:
            value = MISSING if item.default_factory is dataclasses.MISSING else item.default_factory()
        whole = isinstance(value, int) and not isinstance(value, bool)
        found[item.name] = float(value) if whole and is_number(types_of(schema)[item.name]) else value
    return found


def _group(schema: type, tree: Tree, entries: dict[str, Entry], prefix: str = "") -> Any:
    """Make a dataclass of values without running its checks."""
    made: Any = object.__new__(schema)
    for key, value in tree.items():
        full = f"{prefix}{key}"
        inner = entries[full].config if full in entries else nested_in(schema, key)
        if inner is not None and value is not None:
            value = _group(inner, value, entries, f"{full}.")
        setattr(made, key, value)
    return made


def _filled_in(tree: Tree, filled: dict[str, Any]) -> Tree:
    r"""The tree with every `${...}` filled in by a value of the key's type, and `\${...}` as the text it stands for."""
    values = _resolved(tree, filled)
    for key, kind in filled.items():
        *parents, last = key.split(".")
        node = values
        for parent in parents:
            node = node[parent]
        if node[last] != MISSING:
            node[last] = read(node[last], kind, key)
    return values


def _resolved(tree: Tree, filled: Iterable[str]) -> Tree:
    if not _has_dollar(tree):
        return tree
    # Nodes of OmegaConf are slow to make: most `${...}` name a key of their own group, or one of the root.
    few = {key: part for key, part in tree.items() if not isinstance(part, dict) or _has_dollar(part)}
    try:
        try:
            return tree | _container(few)
        except InterpolationKeyError:
            return _container(tree)
    except OmegaConfBaseException as error:
        raise ConfigError(readable(error, filled)) from None
    except RecursionError:
        raise ConfigError(f"{', '.join(filled)}: ${{...}} stands for itself") from None


def _container(tree: Tree) -> Tree:
    values: Any = OmegaConf.to_container(OmegaConf.create(tree), resolve=True)
    return values


def _has_dollar(value: Any) -> bool:
    if isinstance(value, dict | list):
        return any(_has_dollar(part) for part in (value.values() if isinstance(value, dict) else value))
    return isinstance(value, str) and "${" in value


def _refuse_missing(tree: Tree, domains: tuple[str, ...]) -> None:
    missing = sorted(_missing(tree))
    if not missing:
        return
    key = missing[0]
    hint = f" (known domains: {', '.join(domains)})" if key in ("data.sources", "data.target") and domains else ""
    raise ConfigError(f"{key}: missing; it has no default, give it in the recipe or as {key}=...{hint}")


def _missing(tree: Tree, prefix: str = "") -> list[str]:
    found = []
    for key, value in tree.items():
        full = f"{prefix}{key}"
        found += _missing(value, f"{full}.") if isinstance(value, dict) else [full] if value == MISSING else []
    return found


def _check(group: Any, key: str = "") -> None:
    """Run the checks of a group and of all below it; a message names the key where the group stands."""
    for item in dataclasses.fields(group):
        below, full = getattr(group, item.name), f"{key}.{item.name}".lstrip(".")
        if dataclasses.is_dataclass(below):
            if getattr(below, "key", full) != full:
                _refuse_other_name(below, full)
            _check(below, full)
    check_bounds(group, key)
    try:
        getattr(group, "__post_init__", lambda: None)()
    except ConfigError as error:
        home = getattr(group, "key", key)
        elsewhere = str(error).startswith(f"{home}.") and not str(error).startswith(f"{key}.")
        raise ConfigError(f"{key}{str(error)[len(home) :]}" if elsewhere else str(error)) from None


def _refuse_other_name(group: Any, key: str) -> None:
    """A group that a name chooses elsewhere and that stands here by its class has the name of that class."""
    schema: type = type(group)
    own = facts_of(schema)["name"]["default"]
    if group.name != own:
        raise ConfigError(f"{key}.name: got {group.name!r}, wants {own!r}: what stands here has no other")


def readable(error: OmegaConfBaseException, filled: Iterable[str]) -> str:
    """One line about what OmegaConf refused, in the words of this project.

    Args:
        error: what it raised.
        filled: full keys of the values that stand for others (`${seed}`).
    """
    first = str(error.msg if getattr(error, "msg", None) else error).split("\n")[0]
    key = str(getattr(error, "full_key", None) or ", ".join(filled) or "configuration")
    literally = "in a file, \\${...} is the text itself"
    if isinstance(error, InterpolationKeyError):
        return f"{key}: ${{...}} names no key of the configuration; {literally}"
    if isinstance(error, GrammarParseError):
        return f"{key}: ${{ is not closed, or holds no key; {literally}"
    if isinstance(error, InterpolationResolutionError) or filled:
        return f"{key}: ${{...}} stands for a value of another type, or for itself; {literally}"
    return first if first.startswith(key) else f"{key}: {first}"
