"""`Registry`: the entries of one kind, found by importing every module of a package."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import pkgutil
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar

from tl_research.errors import ConfigError, nearest
from tl_research.registry.entries import Entry
from tl_research.registry.plugins import import_plugins

E = TypeVar("E", bound=Entry)
T = TypeVar("T")
Fields = ParamSpec("Fields")


class Registry(Generic[E]):
    """Entries of one kind.

    Args:
        kind: what an entry is called in messages.
        package: walked on the first look-up, or several; None: whoever registers is imported already.
        group: full key of the group whose name selects an entry.
        check: raises `ValueError` for an entry that cannot be one of this kind.
    """

    def __init__(
        self,
        kind: str,
        package: str | tuple[str, ...] | None,
        group: str,
        *,
        check: Callable[[E], None] | None = None,
    ):
        self.kind, self.group, self.check = kind, group, check
        self.packages = (package,) if isinstance(package, str) else package or ()
        #: What every config of this kind is a subclass of; the room `config` says it.
        self.base: type = object
        self._entries: dict[str, E] = {}
        self._walked = False
        self._followers: list[Callable[[E], None]] = []

    def add(self, entry: E) -> None:
        """Add an entry.

        Raises:
            ValueError: it cannot be one, or another target has its name.
        """
        self._refuse_unfit(entry)
        name, present = entry.name, self._entries.get(entry.name)
        if present is not None and present.target.__qualname__ != entry.target.__qualname__:
            raise ValueError(f"{self.kind} {name!r} is registered twice: {present.target} and {entry.target}")
        self._entries[name] = entry
        for follow in self._followers:
            follow(entry)

    def _refuse_unfit(self, entry: E) -> None:
        """Raise `ValueError` for what cannot be an entry: found here, it has the line where it is registered."""
        name, config = entry.name, entry.config
        if not isinstance(name, str) or not name:
            raise ValueError(f"{self.kind}: got the name {name!r}, wants a text")
        if not (isinstance(config, type) and issubclass(config, self.base) and dataclasses.is_dataclass(config)):
            wants = f"a dataclass, a subclass of {self.base.__name__}"
            raise ValueError(f"{self.kind} {name!r}: config is {config!r}, wants {wants}")
        if not callable(entry.target):
            raise ValueError(f"{self.kind} {name!r}: {entry.target!r} wants a class or a function (CONTRIBUTING.md)")
        if self.check is not None:
            self.check(entry)

    def each(self, follow: Callable[[E], None]) -> None:
        """Call `follow` with every entry, and from now on with each that is registered, by a plugin for example."""
        for entry in self.entries():
            follow(entry)
        self._followers.append(follow)

    def get(self, name: str) -> E:
        """Return the entry, or raise `ConfigError` that names the key and the nearest known name."""
        self.discover()
        if name not in self._entries:
            raise ConfigError(f"{self.group}.name: there is no {self.kind} {name!r}{nearest(name, self._entries)}")
        return self._entries[name]

    def find(self, name: Any) -> E | None:
        """Return the entry, or None where there is none of this name."""
        self.discover()
        return self._entries.get(name) if isinstance(name, str) else None

    def names(self) -> list[str]:
        """Return the names of all parts, plugins included, in alphabetical order."""
        self.discover()
        return sorted(self._entries)

    def entries(self) -> list[E]:
        """Return the entries of all parts, by name."""
        return [self._entries[name] for name in self.names()]

    def discover(self) -> None:
        """Import every module of the package once, and the plugins that are new since the last call."""
        if not self._walked:
            self._walked = True
            for package in self.packages:
                path = importlib.import_module(package).__path__
                for module in pkgutil.walk_packages(path, prefix=f"{package}."):
                    importlib.import_module(module.name)
        import_plugins()


def registers(registry: Registry[E], make: Callable[Fields, E]) -> Callable[Fields, Callable[[T], T]]:
    """Return a decorator that registers what stands below it; its arguments are those of the entry.

    Args:
        registry: where the entry is added.
        make: class of the entry, but for its `target`.
    """

    @functools.wraps(make, updated=())
    def register(*args: Fields.args, **fields: Fields.kwargs) -> Callable[[T], T]:
        entry = make(*args, **fields)

        def add(target: T) -> T:
            registry.add(dataclasses.replace(entry, target=target))
            return target

        return add

    return register
