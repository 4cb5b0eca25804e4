"""What a field of a configuration's dataclass says of itself, beside its type and default.

    num_workers: int = launch(0)                  # says how a run is started, not what it computes: no part of `run_id`
    task: str = added_later("class")              # runs were named without it: no part of `run_id` at its default
    new_head: bool = renamed("head", {False: "source", True: "new"}, default=False)   # enters as it was called
    start: str = by_content(start_content, default="phases")                          # enters by what it stands for

A subclass that declares such a field again, with another default, keeps what the field says.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any


def told(default: Any, **facts: Any) -> Any:
    """A dataclass field with this default that says these facts of itself; a list or a dictionary is copied."""
    if isinstance(default, list | dict):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=facts)
    return dataclasses.field(default=default, metadata=facts)


def launch(default: Any) -> Any:
    """A field that says how or where a run is started, not what it computes: it is no part of `run_id`."""
    return told(default, launch=True)


def added_later(default: Any, **facts: Any) -> Any:
    """A field that runs were named without: at its default it is no part of `run_id`; further facts may follow.

    With `from_file=True` its value, a mapping, may be given as the path of a YAML file that holds it.
    """
    return told(default, added_later=True, **facts)


def renamed(formerly: str, values: Mapping[Any, Any], *, default: Any) -> Any:
    """A field that had another name and other values.

    Args:
        formerly: its former name, under which it enters `run_id` and is read from old records.
        values: value of now -> value of then.
        default: of now.
    """
    return told(default, formerly=formerly, values=dict(values))


def by_content(content: Callable[[Any], Any], *, default: Any) -> Any:
    """A field whose value enters `run_id` as what `content` returns for it, such as the digest of a file."""
    return told(default, content=content)


def named(registry: Any, name: str | None = None, *, kept: Iterable[str] = (), **facts: Any) -> Any:
    """A field that is a named group: its keys are those of the config registered under its name (`config.groups`).

    Args:
        registry: what the names are those of.
        name: where a recipe gives none; None: the group is left out, or another part of the configuration says it.
        kept: keys that mean the same under every name, so that another name does not drop them.
        facts: further ones, such as `added_later=True`.
    """
    facts |= {"registry": registry, "name": name, "kept": frozenset(kept)}
    if name is None:
        return dataclasses.field(default=None, metadata=facts)
    return dataclasses.field(default_factory=lambda: registry.get(name).config(), metadata=facts)


@cache
def facts_of(schema: type) -> dict[str, dict[str, Any]]:
    """Return, for each field of a dataclass, what it and the same field of its base classes say; the last word counts.

    The key `default` holds the field's default where it has a plain one.
    """
    found: dict[str, dict[str, Any]] = {item.name: {} for item in dataclasses.fields(schema)}
    for part in reversed(schema.__mro__):
        for item in dataclasses.fields(part) if dataclasses.is_dataclass(part) else ():
            found[item.name] |= {**item.metadata, "default": item.default}
    return found
