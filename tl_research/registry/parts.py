"""`Parts`: parts without a configuration of their own, by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, TypeVar

from tl_research.errors import nearest
from tl_research.registry.plugins import import_plugins


class Part(Protocol):
    """What every part has."""

    @property
    def function(self) -> Callable[..., Any]:
        """What computes it; where it is written tells a part from another of its name."""


P = TypeVar("P", bound=Part)


class Parts(Mapping[str, P]):
    """Parts without a configuration of their own, by name: metrics, selection rules.

    Args:
        kind: what a part is called in messages.
        modules: the package's own parts; each registers its parts when it is imported, on the first look-up.
        order: sort key of a part; equal parts stay in the order of their registration.
    """

    def __init__(self, kind: str, *modules: str, order: Callable[[P], Any] = lambda part: 0):
        self.kind, self.modules, self.order = kind, modules, order
        self._parts: dict[str, P] = {}

    def add(self, name: str, part: P) -> None:
        """Add a part; `ValueError` where the name is taken by another one."""
        present = self._parts.get(name)
        if present is not None and _source_of(present) != _source_of(part):
            raise ValueError(f"{self.kind} {name!r} is registered twice")
        self._parts[name] = part

    def find(self, name: str) -> P:
        """Return the part, or raise `ValueError` with the nearest known name."""
        if name not in self:
            raise ValueError(f"{self.kind}: there is no {name!r}{nearest(name, self)}")
        return self[name]

    def _known(self) -> dict[str, P]:
        for module in self.modules:
            importlib.import_module(module)
        import_plugins()
        return self._parts

    def __getitem__(self, name: str) -> P:
        return self._known()[name]

    def __iter__(self) -> Iterator[str]:
        known = self._known()
        return iter(sorted(known, key=lambda name: self.order(known[name])))

    def __len__(self) -> int:
        return len(self._known())


def _source_of(part: Part) -> tuple[str, str]:
    """Where a part is written: the same for a plugin that is imported again after it has failed."""
    return part.function.__module__, part.function.__qualname__
