"""Names to classes: `@register_method`, `@register_dataset`, `@register_encoder`, and their listings.

A registry finds its entries by importing every module of one package, so that adding a method is adding a
file. `TL_RESEARCH_PLUGINS` (files or folders, separated as in PATH) adds modules from outside the package;
worker processes inherit it.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import pkgutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tl_research.errors import ConfigError, nearest

#: Kinds of label.
TARGETS = ("class", "regression")
PLUGIN_VARIABLE = "TL_RESEARCH_PLUGINS"
_imported_plugins: set[Path] = set()


@dataclass(frozen=True)
class Entry:
    """One registered name: the class or function, the dataclass of its config group, and facts about it."""

    name: str
    target: Any
    config: type
    info: dict[str, Any] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """First line of the docstring."""
        return (self.target.__doc__ or "").strip().split("\n")[0]


class Registry:
    """Entries of one kind; `package` is walked on the first look-up."""

    def __init__(self, kind: str, package: str, group: str):
        self.kind, self.package, self.group = kind, package, group
        self._entries: dict[str, Entry] = {}
        self._walked = False

    def register(self, name: str, *, config: type, **info: Any) -> Callable[[Any], Any]:
        """Decorator that adds `target` under `name`; a second, different target of that name is refused."""

        def add(target: Any) -> Any:
            present = self._entries.get(name)
            if present is not None and present.target.__qualname__ != target.__qualname__:
                raise ValueError(f"{self.kind} {name!r} is registered twice: {present.target} and {target}")
            self._entries[name] = Entry(name, target, config, info)
            return target

        return add

    def get(self, name: str) -> Entry:
        """Return the entry, or raise `ConfigError` that names the key and the nearest known name."""
        self.discover()
        if name not in self._entries:
            raise ConfigError(f"{self.group}.name: there is no {self.kind} {name!r}{nearest(name, self._entries)}")
        return self._entries[name]

    def names(self) -> list[str]:
        self.discover()
        return sorted(self._entries)

    def entries(self) -> list[Entry]:
        return [self._entries[name] for name in self.names()]

    def discover(self) -> None:
        """Import every module of the package once, and the plugins that are new since the last call."""
        if not self._walked:
            self._walked = True
            package = importlib.import_module(self.package)
            for module in pkgutil.walk_packages(package.__path__, prefix=f"{self.package}."):
                importlib.import_module(module.name)
        _import_plugins()


def _import_plugins() -> None:
    for part in filter(None, os.environ.get(PLUGIN_VARIABLE, "").split(os.pathsep)):
        path = Path(part)
        if not path.exists():
            raise ConfigError(f"{PLUGIN_VARIABLE}: {part} does not exist")
        for file in sorted(path.glob("*.py")) if path.is_dir() else [path]:
            file = file.resolve()
            if file in _imported_plugins:
                continue
            _imported_plugins.add(file)
            name = f"tl_research_plugin_{file.stem}"
            spec = importlib.util.spec_from_file_location(name, file)
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module
            spec.loader.exec_module(module)


METHODS = Registry("method", "tl_research.methods", "method")
DATASETS = Registry("data set", "tl_research.data.catalog", "data")
ENCODERS = Registry("encoder", "tl_research.encoders", "encoder")


def register_method(
    name: str,
    *,
    config: type,
    family: str,
    settings: tuple[str, ...],
    paper: str,
    null: float | None = None,
    gain: float | None = None,
    gain_in: str = "accuracy",
    over: tuple[str, ...] = (),
    no_gain: str = "",
    encoder: str | None = None,
    weighting: str | None = None,
    problem: tuple[str, ...] = (),
    targets: tuple[str, ...] = ("class", "regression"),
) -> Callable[[Any], Any]:
    """Register a method.

    Args:
        name: value of `method.name`.
        config: dataclass of the group `method`, a subclass of `MethodConfig`.
        family: one of the families of the design (`adversarial`, `feature`, ...).
        settings: settings it can be run in; the first is its natural one.
        paper: citation with equation.
        null: value of the sum of its adaptation terms when source and target are one distribution (0 for a
            discrepancy, ln 2 for a binary discriminator); None where it has no such terms. Tested.
        gain: by how much of `gain_in` it must beat its baseline on the behavioural problem of the tests; None for
            baselines. Tested, and tested to be due to its terms.
        gain_in: `accuracy`, or `log_loss`, which it lowers by its gain.
        over: the baseline, a method's name and then its options: the same training without what makes this method. ():
            `shallow` for one fitted in closed form, `fine_tune` for one that adds a term to it, else `source_only`, or
            `target_only` where the setting has labels.
        no_gain: of a method without a gain that is no baseline, why; what it does promise has a test of its own.
        encoder: encoder used where a recipe names none; None for the data set's.
        weighting: weighting of the source rows used where a recipe names none.
        problem: overrides of the behavioural problem for a method that undoes another kind of shift.
        targets: kinds of label it can learn: `class`, `regression` or both; another kind is refused before training.
    """
    if not targets or not set(targets) <= set(TARGETS):
        raise ValueError(f"targets: got {targets!r}, wants some of {TARGETS}")
    return METHODS.register(
        name,
        config=config,
        family=family,
        settings=settings,
        paper=paper,
        null=null,
        gain=gain,
        gain_in=gain_in,
        over=over,
        no_gain=no_gain,
        encoder=encoder,
        weighting=weighting,
        problem=problem,
        targets=targets,
    )


def register_dataset(
    name: str,
    *,
    config: type,
    domains: tuple[str, ...],
    metric: str,
    encoder: str,
    paper: str,
    licence: str = "",
    task: str = "class",
) -> Callable[[Any], Any]:
    """Register a data set.

    Args:
        name: value of `data.name`.
        config: dataclass of the group `data`, a subclass of `DataConfig`.
        domains: names of its domains; empty where they depend on the config (`files`).
        metric: the metric its tables show first (`accuracy`, `auroc`, ...).
        encoder: encoder used where a recipe names none.
        paper: where it comes from.
        licence: terms of use as far as they are known.
        task: kind of its label, `class` or `regression`; a key `data.task` of its config, where there is one, says it
            instead (`auto`: known once the files are read).
    """
    return DATASETS.register(
        name, config=config, domains=domains, metric=metric, encoder=encoder, paper=paper, licence=licence, task=task
    )


def register_encoder(name: str, *, config: type, paper: str = "", text: str | None = None) -> Callable[[Any], Any]:
    """Register an encoder; `config` is the dataclass of the group `encoder`, a subclass of `EncoderConfig`.

    `text` is the form of texts (`data.text.form`) that it takes where a recipe leaves it open, or a
    function of its group that says so.
    """
    return ENCODERS.register(name, config=config, paper=paper, text=text)
