"""What the words behind `fit` say: a recipe file, two names (`digits dann`), or overrides alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tl_research.config.fields import facts_of
from tl_research.config.groups import name_of
from tl_research.config.schema import DataConfig
from tl_research.config.tree import is_file, override_tree
from tl_research.errors import ConfigError
from tl_research.registry import DATASETS, METHODS

#: Target labels per class of a method that needs some, where nothing says how many: the fewest that leave one for
#: validation.
SHOTS = 5


def run_of_words(recipe: Any, overrides: Iterable[str]) -> tuple[Any, list[str]]:
    """Return recipe and overrides as `compose` takes them.

    Args:
        recipe: a file, a nested mapping, None, the name of a data set, or the first override.
        overrides: `key=value` strings; behind the name of a data set the first is the name of a method, or one says
            `method=NAME`. A file of the data set's name comes first.

    Raises:
        ConfigError: there is no such data set or method, or the data set has no domains that a run may begin with.
    """
    overrides = list(overrides)
    if not isinstance(recipe, str) or is_file(recipe):
        return recipe, overrides
    if "=" in recipe:
        return None, [recipe, *overrides]
    if overrides and "=" not in overrides[0]:
        known = DATASETS.find(recipe) or METHODS.find(overrides[0])
        return (_by_names(recipe, *overrides), overrides[1:]) if known else (recipe, overrides)
    if DATASETS.find(recipe) is None:
        return recipe, overrides
    return _by_names(recipe, _method_of(recipe, overrides), *overrides), overrides


def _method_of(dataset: str, overrides: list[str]) -> str:
    """The method that overrides name behind the name of a data set."""
    given = override_tree(overrides)
    method = name_of(given.get("method"), "method")
    if method is None:
        got = "got nothing (null), wants" if "method" in given else "missing; give"
        raise ConfigError(f"method.name: {got} the name of a method behind the data set, such as `fit {dataset} dann`")
    return method


def _by_names(dataset: str, method: str, *overrides: str) -> dict[str, Any]:
    """The shortest run of a method on a data set: its default task, and the setting that is natural for the method."""
    given = {word.partition("=")[0] for word in overrides}
    data_entry, setting = DATASETS.get(dataset), METHODS.get(method).settings[0]
    data: dict[str, Any] = {"name": dataset}
    missing = {"sources", "target"} - {key.removeprefix("data.") for key in given}
    if missing and "data" not in given:
        if not data_entry.default:
            domains = ", ".join(data_entry.domains) or "files or folders of your own"
            raise ConfigError(
                f"data.sources: missing; data set {dataset!r} has no default task, give data.sources=[...] and "
                f"data.target=... ({domains})"
            )
        source, target = data_entry.default
        data |= {key: value for key, value in (("sources", [source]), ("target", target)) if key in missing}
    is_open = facts_of(data_entry.config)["setting"]["default"] == facts_of(DataConfig)["setting"]["default"]
    if is_open and not given & {"data", "data.setting", "data.shots"}:
        data |= {"setting": setting} | ({"shots": SHOTS} if setting == "few_shot" else {})
    return {"data": data, "method": {"name": method}}
