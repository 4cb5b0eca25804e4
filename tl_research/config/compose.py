"""Recipe and overrides become one checked configuration.

The registry entry that `data.name`, `encoder.name` and `method.name` select gives the schema of its group;
the recipe and then the overrides are merged into it. Every mistake is one `ConfigError` that names the full key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tl_research.config.checks import readable, refuse_missing, run_checks
from tl_research.config.rules import check_together, resolve_rule, resolve_text
from tl_research.config.schema import COMMON_DATA_KEYS, RunConfig
from tl_research.config.tree import (
    as_tree,
    deep_merge,
    drop_the_replaced_weighting,
    literal,
    name_in,
    name_weightings,
    override_tree,
    weighting_entry,
)
from tl_research.config.values import read, typed
from tl_research.errors import ConfigError
from tl_research.registry import DATASETS, ENCODERS, METHODS

GROUPS = ("data", "encoder", "method")


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

    An override of `data.name`, `encoder.name` or `method.name` that differs from the recipe's drops what the
    recipe says of the name that was replaced: the group's other keys, but of `data` only the domains and the data
    set's own keys (`batch_size`, `setting` and the like stay).

    Raises:
        ConfigError: unknown key, wrong type, value out of range or missing; the message names the full key.
    """
    given = as_tree(recipe)
    override = override_tree(overrides)
    for group in GROUPS:
        replaced = name_in(override, group)
        if isinstance(given.get(group), dict) and replaced is not None and replaced != name_in(given, group):
            given[group] = {
                key: given[group][key] for key in given[group] if group == "data" and key in COMMON_DATA_KEYS
            }
    name_weightings(given)
    name_weightings(override)
    drop_the_replaced_weighting(given, override)
    tree, entries, filled = typed_tree(deep_merge(literal(given) if resolved else given, override), former=resolved)
    root = OmegaConf.structured(RunConfig)
    for group, entry in entries.items():
        OmegaConf.update(root, group, OmegaConf.structured(entry.config))
        OmegaConf.update(root, f"{group}.name", entry.name)
    try:
        config = OmegaConf.merge(root, OmegaConf.create(tree))
        # Checked, not replaced: a value that is ${seed} must follow the seed that a suite sets afterwards.
        OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(readable(error, filled)) from None
    except RecursionError:
        raise ConfigError(f"{', '.join(filled)}: ${{...}} stands for itself") from None
    refuse_missing(config, entries["data"])
    for key, kind in filled.items():
        value = OmegaConf.select(config, key)
        read(OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value, kind, key)
    run_checks(config)
    check_together(config, entries["data"], entries["method"])
    if config.selection.rule == "auto":
        config.selection.rule, config.selection.from_auto = resolve_rule(config), True
    resolve_text(config, entries["encoder"])
    OmegaConf.set_readonly(config, True)
    return config


def typed_tree(tree: dict[str, Any], *, former: bool = False) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Read every value of a recipe by the type of its key.

    Returns:
        The same tree with values of the declared types; the registry entry of each group that a name chooses
        (`data`, `encoder`, `method`, `method.weighting`); and full key -> type of the values that are to be filled in.

    Raises:
        ConfigError: an unknown key, or a value of the wrong type.
    """
    tree, filled = dict(tree), {}
    weighting = weighting_entry(tree)
    data_entry = DATASETS.get(name_in(tree, "data") or "simulated_market")
    method_entry = METHODS.get(name_in(tree, "method") or "source_only")
    encoder = name_in(tree, "encoder") or method_entry.info["encoder"] or data_entry.info["encoder"]
    entries = {"data": data_entry, "encoder": ENCODERS.get(encoder), "method": method_entry}
    if weighting is not None:
        entries["method.weighting"] = weighting
    groups = {group: entry.config for group, entry in entries.items()}
    return typed(tree, RunConfig, groups, filled=filled, former=former), entries, filled
