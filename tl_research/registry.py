"""Names to classes: `@register_method`, `@register_dataset`, `@register_encoder`, and their listings.

A registry finds its entries by importing every module of one package, so that adding a method is adding a
file. `TL_RESEARCH_PLUGINS` (files or folders, separated as in PATH) adds modules from outside the package;
worker processes inherit it.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import inspect
import os
import pkgutil
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tl_research.errors import ConfigError, UserError, nearest

SETTINGS = ("unsupervised", "few_shot", "supervised")
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
    """Entries of one kind.

    Args:
        kind: what an entry is called in messages.
        package: walked on the first look-up; None: whoever registers is imported already.
        group: full key of the group whose name selects an entry.
    """

    def __init__(self, kind: str, package: str | None, group: str):
        self.kind, self.package, self.group = kind, package, group
        #: What every config of this kind is a subclass of; the room `config` says it.
        self.base: type = object
        self._entries: dict[str, Entry] = {}
        self._walked = False
        self._followers: list[Callable[[Entry], None]] = []

    def register(self, name: str, *, config: type, **info: Any) -> Callable[[Any], Any]:
        """Decorator that adds `target` under `name`; a second, different target of that name is refused."""

        def add(target: Any) -> Any:
            present = self._entries.get(name)
            if present is not None and present.target.__qualname__ != target.__qualname__:
                raise ValueError(f"{self.kind} {name!r} is registered twice: {present.target} and {target}")
            entry = self._entries[name] = Entry(name, target, config, info)
            for follow in self._followers:
                follow(entry)
            return target

        return add

    def each(self, follow: Callable[[Entry], None]) -> None:
        """Call `follow` with every entry, and from now on with each that is registered, by a plugin for example."""
        for entry in self.entries():
            follow(entry)
        self._followers.append(follow)

    def get(self, name: str) -> Entry:
        """Return the entry, or raise `ConfigError` that names the key and the nearest known name."""
        self.discover()
        if name not in self._entries:
            raise ConfigError(f"{self.group}.name: there is no {self.kind} {name!r}{nearest(name, self._entries)}")
        return self._entries[name]

    def find(self, name: Any) -> Entry | None:
        """Return the entry, or None where there is none of this name."""
        self.discover()
        return self._entries.get(name) if isinstance(name, str) else None

    def names(self) -> list[str]:
        """Return the names of all parts, plugins included, in alphabetical order."""
        self.discover()
        return sorted(self._entries)

    def entries(self) -> list[Entry]:
        """Return the entries of all parts, by name."""
        return [self._entries[name] for name in self.names()]

    def discover(self) -> None:
        """Import every module of the package once, and the plugins that are new since the last call."""
        if not self._walked:
            self._walked = True
            path = importlib.import_module(self.package).__path__ if self.package else ()
            for module in pkgutil.walk_packages(path, prefix=f"{self.package}."):
                importlib.import_module(module.name)
        import_plugins()


class Parts(Mapping[str, Any]):
    """Parts without a configuration of their own, by name: metrics, selection rules.

    Args:
        kind: what a part is called in messages.
        modules: the package's own parts; each registers its parts when it is imported, on the first look-up.
        order: sort key of a part; equal parts stay in the order of their registration.
    """

    def __init__(self, kind: str, *modules: str, order: Callable[[Any], Any] = lambda part: 0):
        self.kind, self.modules, self.order = kind, modules, order
        self._parts: dict[str, Any] = {}

    def add(self, name: str, part: Any) -> None:
        """Add a part; `ValueError` where the name is taken by another one."""
        present = self._parts.get(name)
        if present is not None and _source_of(present) != _source_of(part):
            raise ValueError(f"{self.kind} {name!r} is registered twice")
        self._parts[name] = part

    def find(self, name: str) -> Any:
        """Return the part, or raise `ValueError` with the nearest known name."""
        if name not in self:
            raise ValueError(f"{self.kind}: there is no {name!r}{nearest(name, self)}")
        return self[name]

    def _known(self) -> dict[str, Any]:
        for module in self.modules:
            importlib.import_module(module)
        import_plugins()
        return self._parts

    def __getitem__(self, name: str) -> Any:
        return self._known()[name]

    def __iter__(self) -> Iterator[str]:
        known = self._known()
        return iter(sorted(known, key=lambda name: self.order(known[name])))

    def __len__(self) -> int:
        return len(self._known())


def _source_of(part: Any) -> tuple[str, str]:
    """Where a part is written: the same for a plugin that is imported again after it has failed."""
    return part.function.__module__, part.function.__qualname__


def import_plugins() -> None:
    """Import the files of `TL_RESEARCH_PLUGINS` that are new since the last call."""
    for part in filter(None, os.environ.get(PLUGIN_VARIABLE, "").split(os.pathsep)):
        path = Path(part)
        if not path.exists():
            raise ConfigError(f"{PLUGIN_VARIABLE}: {part} does not exist")
        if not path.is_dir() and path.suffix != ".py":
            raise ConfigError(f"{PLUGIN_VARIABLE}: {part}: wants a Python file (.py), or a folder of them")
        for file in sorted(path.glob("*.py")) if path.is_dir() else [path]:
            file = file.resolve()
            if file not in _imported_plugins:
                _imported_plugins.add(file)
                _import_plugin(file)


def _import_plugin(file: Path) -> None:
    name = f"tl_research_plugin_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        # Ctrl-C, and a signal that ends the process by a SystemExit of its own kind, are not the plugin's.
        is_signal = isinstance(error, SystemExit) and type(error) is not SystemExit
        if is_signal or isinstance(error, KeyboardInterrupt):
            raise
        # Whoever asks again is told again.
        _imported_plugins.discard(file)
        sys.modules.pop(name, None)
        said = " ".join(str(getattr(error, "msg", None) or error).split())
        kind = "" if isinstance(error, UserError | ValueError) else f"{type(error).__name__}: "
        raise ConfigError(f"{PLUGIN_VARIABLE}: {file}{_line_of(error, file)}: {kind}{said}") from error


def _line_of(error: BaseException, file: Path) -> str:
    if isinstance(error, SyntaxError) and error.lineno:
        return f", line {error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    return f", line {lines[-1]}" if lines else ""


def _refuse_unfit(kind: str, name: Any, target: Any, config: Any, base: type, has: tuple[str, ...] = ()) -> None:
    """Raise `ValueError` for what cannot be an entry: found here, it has the line where it is registered."""
    if not isinstance(name, str) or not name:
        raise ValueError(f"{kind}: got the name {name!r}, wants a text")
    if not (isinstance(config, type) and issubclass(config, base) and dataclasses.is_dataclass(config)):
        raise ValueError(f"{kind} {name!r}: config is {config!r}, wants a dataclass, a subclass of {base.__name__}")
    lacking = [attribute for attribute in has if not hasattr(target, attribute)]
    if not callable(target) or lacking:
        raise ValueError(f"{kind} {name!r}: {target!r} wants a base class of the package (CONTRIBUTING.md)")


#: Hooks that were called otherwise: name -> what takes its place. One that nobody calls would be lost without a word.
FORMER_HOOKS = {"adaptation_loss": "terms(step)", "target_loss": "terms(step)"}


def _refuse_former_hooks(name: str, target: Any) -> None:
    for old, new in FORMER_HOOKS.items():
        if hasattr(target, old):
            raise ValueError(f"method {name!r}: {old} is not called; the hook is {new} (CONTRIBUTING.md)")
    if len(inspect.signature(target.source_weights).parameters) != 2:
        raise ValueError(f"method {name!r}: source_weights wants one argument, source_weights(step) (CONTRIBUTING.md)")


METHODS = Registry("method", "tl_research.methods", "method")
DATASETS = Registry("data set", "tl_research.data.catalog", "data")
ENCODERS = Registry("encoder", "tl_research.encoders", "encoder")
WEIGHTINGS = Registry("weighting", "tl_research.weighting", "method.weighting")
SAMPLERS = Registry("sampler", "tl_research.data.sampling", "data.sampler")
METRICS = Parts("metric", "tl_research.metrics.classes", "tl_research.metrics.numbers")
RULES = Parts(
    "rule",
    "tl_research.evaluation.rules",
    "tl_research.evaluation.validators",
    # Those that read the most of the target's labels come last.
    order=lambda rule: (rule.needs_target_labels, rule.is_oracle),
)


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
    if not settings or not set(settings) <= set(SETTINGS):
        raise ValueError(f"settings: got {settings!r}, wants some of {SETTINGS}")
    add = METHODS.register(
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

    def checked(target: Any) -> Any:
        _refuse_unfit("method", name, target, config, METHODS.base, ("reads", "check_config", "training_step"))
        _refuse_former_hooks(name, target)
        return add(target)

    return checked


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
    default: tuple[str, str] | tuple[()] = (),
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
        default: source and target of the run that `tl-research fit NAME METHOD` makes; empty where there is none.
    """
    add = DATASETS.register(
        name,
        config=config,
        domains=domains,
        metric=metric,
        encoder=encoder,
        paper=paper,
        licence=licence,
        task=task,
        default=default,
    )

    def checked(target: Any) -> Any:
        _refuse_unfit("data set", name, target, config, DATASETS.base)
        return add(target)

    return checked


def register_encoder(name: str, *, config: type, paper: str = "", text: str | None = None) -> Callable[[Any], Any]:
    """Register an encoder; `config` is the dataclass of the group `encoder`, a subclass of `EncoderConfig`.

    Which kinds of rows it takes, its class says (`Encoder.takes`). `text` is the form of texts (`data.text.form`)
    that it takes where a recipe leaves it open, or a function of its group that says so.
    """
    add = ENCODERS.register(name, config=config, paper=paper, text=text)

    def checked(target: Any) -> Any:
        _refuse_unfit("encoder", name, target, config, ENCODERS.base)
        return add(target)

    return checked


def register_weighting(name: str, *, config: type, paper: str, gain: float | None = None):
    """Register a weighting; a method of the same name trains the source model with it.

    The function is called as (source (n, d), target (m, d), config, *, label (n,), seed) and returns raw weights
    (n,) >= 0, or these and a dictionary of facts for the record. `gain` is as in `register_method`.
    """
    return WEIGHTINGS.register(name, config=config, paper=paper, gain=gain)


def register_sampler(name: str, *, config: type, paper: str = ""):
    """Register a way to draw batches; `config` is the dataclass of the group `data.sampler`.

    What is registered is called as (config, samples, batch_size, *, seed, side, rank, world_size) and returns a `Plan`.
    """
    return SAMPLERS.register(name, config=config, paper=paper)
