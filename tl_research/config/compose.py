"""Recipe and overrides become one checked configuration.

The registry entry that the name of a group selects (`data.name`, `encoder.name`, `method.name`) gives the schema of the
group; the recipe and then the overrides are merged into it. Every mistake is one `ConfigError` that names the full key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from tl_research.config.checked import Checked, checked
from tl_research.config.groups import chosen, merge
from tl_research.config.rules import check_together, refuse_unread_label, resolve_rule, resolve_text
from tl_research.config.schema import RunConfig
from tl_research.config.tree import as_tree, literal, override_tree
from tl_research.config.values import typed
from tl_research.registry import DATASETS, ENCODERS, METHODS, Entry


def compose(
    recipe: str | Path | Mapping[str, Any] | None = None,
    overrides: Iterable[str] | Mapping[str, Any] = (),
    *,
    resolved: bool = False,
) -> DictConfig:
    """Merge schema, recipe and overrides into one checked, read-only configuration.

    Args:
        recipe: a YAML file, a nested mapping, or None for defaults alone.
        overrides: `key=value` strings, or a nested mapping. What stands behind `=` is read by the type of its key:
            text as it is written, all else as YAML.
        resolved: whether the recipe is the configuration of a record or a checkpoint, in which nothing is left to be
            filled in: its `${...}` stand for themselves. Keys may have the names that they had when it was written.

    An override that gives a named group another name drops what the recipe says of the group (`groups.merge`).

    Raises:
        ConfigError: unknown key, wrong type, value out of range or missing; the message names the full key.
    """
    given = as_tree(recipe)
    tree = merge(literal(given) if resolved else given, override_tree(overrides))
    return check_tree(tree, former=resolved).config()


def check_tree(tree: dict[str, Any], *, former: bool = False) -> Checked:
    """Check the tree of a run: what `compose` does before it makes the configuration.

    Args:
        tree: keys and values as they were given.
        former: whether keys may have the names that they had before they were renamed.

    Raises:
        ConfigError: as `compose`.
    """
    tree, entries, filled = typed_tree(tree, former=former)
    made = checked(tree, entries, filled)
    run = made.run
    data_entry = DATASETS.get(run.data.name)
    if not former:
        refuse_unread_label(run, data_entry)
    check_together(run, data_entry, METHODS.get(run.method.name))
    if run.selection.rule == "auto":
        made.set("selection.rule", resolve_rule(run))
        made.set("selection.from_auto", True)
    for key, value in resolve_text(run, ENCODERS.get(run.encoder.name)).items():
        made.set(key, value)
    return made


def typed_tree(
    tree: dict[str, Any], *, former: bool = False
) -> tuple[dict[str, Any], dict[str, Entry], dict[str, Any]]:
    """Read every value of a recipe by the type of its key.

    Returns:
        The same tree with values of the declared types; the registry entry of each named group; and full key -> type
        of the values that are to be filled in.

    Raises:
        ConfigError: an unknown key, or a value of the wrong type.
    """
    tree, entries = chosen(tree)
    filled: dict[str, Any] = {}
    groups = {key: entry.config for key, entry in entries.items()}
    return typed(tree, RunConfig, groups, filled=filled, former=former), entries, filled
