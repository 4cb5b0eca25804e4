"""A suite: the grid of tasks, methods and seeds whose results make one table."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from tl_research.config import LARGEST_SEED, check, check_choice
from tl_research.config.checked import Checked
from tl_research.config.compose import check_tree
from tl_research.config.groups import as_keys, merge, name_of
from tl_research.config.schema import check_output
from tl_research.config.tree import is_file, is_folder
from tl_research.config.values import LARGEST_INT, escaped, shown, text
from tl_research.config.yaml_text import SPELLED, read_yaml, settle
from tl_research.errors import ConfigError, nearest
from tl_research.registry import DATASETS, METHODS, METRICS, OUTCOMES, RULES
from tl_research.storage import shipped

ALL_PAIRS = "all_pairs"
SUITE_KEYS = (
    "name",
    "metric",
    "common",
    "tasks",
    "shots",
    "methods",
    "baseline",
    "seeds",
    "metrics",
    "rules",
    "reference",
    "notes",
)
#: Of these, those that hold keys of a run.
SPELLED_KEYS = ("name", "common", "tasks", "methods", "baseline")
#: In `shots`: every target label, the setting `supervised`.
ALL_LABELS = "all"
#: Letters of a suite's name, to which `.md` and the like are added for its files.
LONGEST_NAME = 200
#: Of a suite: far more is a slip, and would fill the memory with configurations.
MOST_SEEDS = 10_000
#: Keys of a run that no `common`, task or row may set, and what sets them.
OWNED = {"method": "the rows of `methods`", "seed": "`seeds`", "output": "the runner"}


@dataclass(frozen=True)
class Task:
    """Source domains -> target domain: a column of the table, and what it sets in a run's configuration.

    Fields:
        of: in a suite with `shots`, the task as the file names it.
        shots: in such a suite, the target labels of this column: a number as of `data.shots`, or `all`.
    """

    name: str
    overrides: dict[str, Any]
    of: str = ""
    shots: float | str | None = None


@dataclass(frozen=True)
class Row:
    """A method as one row of the table, and what it sets in a run's configuration."""

    label: str
    method: str
    overrides: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Reference:
    """Published values, shown beside the row labelled `beside`; `values` maps task names to numbers."""

    paper: str
    label: str
    beside: str
    metric: str
    values: dict[str, float]


@dataclass(frozen=True)
class Cell:
    """One run of the grid; its configuration is made when it is first asked for."""

    label: str
    method: str
    task: str
    seed: int
    run_id: str
    checked: Checked = field(repr=False, compare=False)
    output: str = "runs"

    @cached_property
    def config(self) -> DictConfig:
        """The read-only configuration of the run."""
        return self.checked.config(output=escaped(self.output))


@dataclass(frozen=True)
class Suite:
    """What `load_suite` reads.

    Fields:
        metric: shown first; where the file names none, that of the data set.
        common: merged under every run.
        baseline: label of the row that differences are taken to; None where the suite has no such row.
        metrics: those on the table page; empty where the file leaves it to the table.
        rules: extra selection rules on the table page.
        shots: numbers of target labels, each task at each of them, for learning curves; empty where the file has none.
        path: the file, for messages.
    """

    name: str
    metric: str
    common: dict[str, Any]
    tasks: tuple[Task, ...]
    methods: tuple[Row, ...]
    seeds: tuple[int, ...]
    baseline: str | None
    metrics: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    reference: tuple[Reference, ...] = ()
    notes: str = ""
    path: str = ""
    shots: tuple[float | str, ...] = ()

    def cells(self, output: str | Path = "runs") -> list[Cell]:
        """Return every run, checked: all tasks and rows of the first seed first. The grid is checked once per suite.

        Later ones win: schema, `common`, the task, the row's `with`, seed and output.

        Raises:
            ConfigError: a key is wrong, or two cells are the same run.
        """
        folder = text(str(output), "output")
        check_output(folder)
        return [replace(cell, output=folder) for cell in self._cells]

    @cached_property
    def _cells(self) -> list[Cell]:
        grid = [(task, row, self._checked(task, row)) for task in self.tasks for row in self.methods]
        cells: dict[str, Cell] = {}
        for seed in self.seeds:
            for task, row, checked in grid:
                seeded = checked.with_seed(seed)
                cell = Cell(row.label, row.method, task.name, seed, seeded.run_id, seeded)
                if cell.run_id in cells:
                    twin = cells[cell.run_id]
                    raise ConfigError(
                        f"{self.path}: {row.label!r} on {task.name!r} and {twin.label!r} on {twin.task!r} are the "
                        "same run; leave one of them out"
                    )
                cells[cell.run_id] = cell
        return list(cells.values())

    def _checked(self, task: Task, row: Row) -> Checked:
        method = {"method": {**(as_keys(row.overrides.get("method")) or {}), "name": row.method}}
        tree = merge(merge(merge(self.common, task.overrides), row.overrides), method)
        if isinstance(wandb := tree.setdefault("wandb", {}), dict) and wandb.get("group") is None:
            tree["wandb"] = {**wandb, "group": self.name}
        try:
            return check_tree(tree)
        except ConfigError as error:
            where = self._origin(str(error), task, row)
            raise ConfigError(f"{self.path}: {where}{error} (row {row.label!r}, task {task.name!r})") from None

    def _origin(self, message: str, task: Task, row: Row) -> str:
        """Which part of the file the key at the start of `message` was given in, as a prefix of that key."""
        keys = message.split(":")[0].split(".")
        parts = (("methods.with.", row.overrides), ("tasks.", task.overrides), ("common.", self.common))
        for prefix, tree in parts:
            node: Any = tree
            for key in keys:
                node = node.get(key, KeyError) if isinstance(node, dict) else KeyError
            if node is not KeyError:
                return prefix
        return ""


def load_suite(path: str | Path) -> Suite:
    """Read a suite from YAML and check everything but the configurations themselves, which `Suite.cells` does.

    Args:
        path: a file, or the name of a suite that travels with the package, such as `demo`.

    Raises:
        ConfigError: the message names the file and the key.
    """
    path = shipped.find(path, shipped.SUITES)
    if is_folder(path):
        raise ConfigError(f"{path}: is a folder, wants a suite file")
    if not is_file(path):
        known = ", ".join(shipped.names(shipped.SUITES))
        raise ConfigError(f"{path}: there is no such suite file; by name there are {known}")
    tree = read_yaml(path, spelled=True)
    # What goes into the configuration of runs keeps its spelling until the type of its key is known.
    tree = {key: value if key in SPELLED_KEYS else settle(value) for key, value in tree.items()}
    try:
        return _suite(tree, str(path))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _suite(tree: dict[str, Any], path: str) -> Suite:
    _refuse_unknown(tree, SUITE_KEYS)
    for key in ("name", "tasks", "methods", "seeds"):
        if tree.get(key) is None:
            raise ConfigError(f"{key}: missing")
    name = _text(tree["name"], "name")
    plain = isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9._-]+", name) is not None
    check(plain, "name", name, "letters, digits, '_', '-' and '.': the table's files bear it")
    check(len(name) <= LONGEST_NAME, "name", shown(name), f"at most {LONGEST_NAME} letters: the table's files bear it")
    common = _run_keys(tree.get("common") or {}, "common")
    shots = _shots(tree.get("shots"))
    tasks = _at_shots(_tasks(tree["tasks"], common), shots)
    rows = _rows(tree["methods"])
    labels = [row.label for row in rows]
    metric = _metric(tree.get("metric"), tasks, common)
    baseline = tree.get("baseline")
    if baseline is not None:
        baseline = _text(baseline, "baseline")
        check_choice("baseline", baseline, labels)
    elif "source_only" in labels:
        baseline = "source_only"
    metrics = _names(tree.get("metrics"), "metrics", METRICS)
    for other in metrics:
        _refuse_unfit("metrics", other, tasks, common)
    return Suite(
        name=name,
        metric=metric,
        common=common,
        tasks=tasks,
        methods=rows,
        seeds=_seeds(tree["seeds"]),
        baseline=baseline,
        metrics=metrics,
        rules=_names(tree.get("rules"), "rules", RULES),
        reference=_references(tree.get("reference"), metric, labels, [task.name for task in tasks]),
        notes=_text(tree.get("notes", ""), "notes").strip(),
        path=path,
        shots=shots,
    )


def _tasks(given: Any, common: dict[str, Any]) -> tuple[Task, ...]:
    if given == ALL_PAIRS:
        domains = DATASETS.get(_dataset(common, "tasks")).domains
        check(len(domains) > 1, "tasks", given, "a list of tasks: the data set has no domains of its own to pair")
        given = [f"{source}->{target}" for source in domains for target in domains if source != target]
    check(isinstance(given, list) and len(given) > 0, "tasks", given, f"{ALL_PAIRS} or a list of tasks")
    tasks = [_task(item, f"tasks[{i}]", common) for i, item in enumerate(given)]
    _refuse_twice([task.name for task in tasks], "tasks", "the name")
    return tuple(tasks)


def _task(given: Any, key: str, common: dict[str, Any]) -> Task:
    if isinstance(given, str):
        sources, arrow, target = given.partition("->")
        names = [source.strip() for source in sources.split("+")]
        target = target.strip()
        written = arrow and target and "->" not in target and all(names)
        check(bool(written), key, given, "source->target, source+source->target, or keys name and data")
        _dataset(common, key)
        return Task(f"{'+'.join(names)}->{target}", {"data": {"sources": names, "target": target}})
    check(isinstance(given, dict), key, given, "source->target, or keys such as name and data")
    overrides = {k: v for k, v in given.items() if k != "name"}
    return Task(_text(given.get("name"), f"{key}.name", empty=False), _run_keys(overrides, key))


def _shots(given: Any) -> tuple[float | str, ...]:
    wants = f"a list of different numbers of target labels as of data.shots, and {ALL_LABELS!r}"
    given = [] if given is None else given
    check(isinstance(given, list), "shots", given, wants)
    for shots in given:
        number = isinstance(shots, (int, float)) and not isinstance(shots, bool) and 0 < shots <= LARGEST_INT
        check(number or shots == ALL_LABELS, "shots", shots, wants)
    check(len(set(given)) == len(given), "shots", given, wants)
    return tuple(given)


def _at_shots(tasks: tuple[Task, ...], shots: tuple[float | str, ...]) -> tuple[Task, ...]:
    """Each task at each number of target labels; the tasks as they are where there are none."""
    made = []
    for task in tasks if shots else ():
        for number in shots:
            setting = {"setting": "few_shot", "shots": number}
            if number == ALL_LABELS:
                setting = {"setting": "supervised", "shots": None}
            overrides = merge(task.overrides, {"data": setting})
            made.append(Task(f"{task.name} ({shots_text(number)})", overrides, task.name, number))
    return tuple(made) or tasks


def shots_text(shots: float | str) -> str:
    """`20 shots`, `10 % of the labels`, `all labels`."""
    if shots == ALL_LABELS:
        return "all labels"
    return f"{100 * shots:g} % of the labels" if shots < 1 else f"{shots:g} shot{'s' * (shots != 1)}"


def _dataset(common: dict[str, Any], key: str) -> str:
    name = name_of(common.get("data"), "data")
    if name is None:
        raise ConfigError(f"common.data.name: missing; {key} takes its domains from it")
    return name


def _rows(given: Any) -> tuple[Row, ...]:
    check(isinstance(given, list) and len(given) > 0, "methods", given, "a list of methods")
    rows = [row for i, item in enumerate(given) for row in _rows_of(item, f"methods[{i}]")]
    _refuse_twice([row.label for row in rows], "methods", "the label", "; give the rows labels")
    return tuple(rows)


def _rows_of(given: Any, key: str) -> list[Row]:
    if isinstance(given, str):
        given = {"name": given}
    check(isinstance(given, dict), key, given, "a method's name, or keys name, label and with, or family and with")
    _refuse_unknown(given, ("name", "label", "with", "family"), f"{key}.")
    check(("name" in given) != ("family" in given), key, given, "either name or family")
    overrides = given.get("with") or {}
    check(isinstance(overrides, dict), f"{key}.with", overrides, "keys and values")
    method = as_keys(overrides.get("method")) or {}
    if isinstance(method, dict) and "name" in method:
        raise ConfigError(f"{key}.with.method.name: the row's own name ({key}.name) sets it")
    _run_keys({k: v for k, v in overrides.items() if k != "method"}, f"{key}.with")
    if "family" in given:
        if "label" in given:
            raise ConfigError(f"{key}.label: a family makes several rows, each labelled with its method's name")
        families = {entry.family for entry in METHODS.entries()}
        check_choice(f"{key}.family", given["family"], families)
        members = [entry.name for entry in METHODS.entries() if entry.family == given["family"]]
        return [Row(name, name, overrides) for name in members]
    name = _text(given["name"], f"{key}.name", empty=False)
    check_choice(f"{key}.name", name, METHODS.names())
    return [Row(_text(given.get("label", name), f"{key}.label", empty=False), name, overrides)]


def _metric(given: Any, tasks: Iterable[Task], common: dict[str, Any]) -> str:
    if given is not None:
        check_choice("metric", given, METRICS)
        _refuse_unfit("metric", given, tasks, common)
        return given
    own = set()
    for task in tasks:
        name = name_of(merge(common, task.overrides).get("data"), "data") or "simulated_market"
        own.add(DATASETS.get(name).metric)
    check(len(own) == 1, "metric", None, f"one name, because the data sets differ in theirs ({', '.join(sorted(own))})")
    return own.pop()


def _refuse_unfit(key: str, metric: str, tasks: Iterable[Task], common: dict[str, Any]) -> None:
    """Raise `ConfigError` for a metric of another kind than the label of a task."""
    for task in tasks:
        data = as_keys(merge(common, task.overrides).get("data"))
        data = data if isinstance(data, dict) else {}
        entry = DATASETS.get(name_of(data, "data") or "simulated_market")
        kind = data.get("task", getattr(entry.config, "task", entry.task))
        if kind not in OUTCOMES:
            continue  # known once the files are read
        known = [name for name, each in METRICS.items() if each.of == kind]
        wants = f"a metric of kind {kind!r}, which the label of task {task.name!r} is: {', '.join(known)}"
        check(metric in known, key, metric, wants)


def _seeds(given: Any) -> tuple[int, ...]:
    wants = f"a count (1 to {MOST_SEEDS}), or a list of different whole numbers from 0 to {LARGEST_SEED}"
    if isinstance(given, int) and not isinstance(given, bool):
        check(1 <= given <= MOST_SEEDS, "seeds", given, wants)
        return tuple(range(given))
    check(isinstance(given, list) and len(given) > 0, "seeds", given, wants)
    for seed in given:
        whole = isinstance(seed, int) and not isinstance(seed, bool)
        check(whole and 0 <= seed <= LARGEST_SEED, "seeds", seed, wants)
    check(len(set(given)) == len(given), "seeds", given, wants)
    return tuple(given)


def _references(given: Any, metric: str, labels: list[str], tasks: list[str]) -> tuple[Reference, ...]:
    given = [] if given is None else given
    check(isinstance(given, list), "reference", given, "a list of keys paper, label, beside, metric and values")
    references = [_reference(item, f"reference[{i}]", metric, labels, tasks) for i, item in enumerate(given)]
    _refuse_twice([reference.label for reference in references], "reference", "the label")
    return tuple(references)


def _reference(given: Any, key: str, metric: str, labels: list[str], tasks: list[str]) -> Reference:
    check(isinstance(given, dict), key, given, "keys paper, label, beside, metric and values")
    _refuse_unknown(given, ("paper", "label", "beside", "metric", "values"), f"{key}.")
    paper, label = (_text(given.get(name), f"{key}.{name}", empty=False) for name in ("paper", "label"))
    check_choice(f"{key}.beside", given.get("beside"), labels)
    check_choice(f"{key}.metric", given.get("metric", metric), METRICS)
    values = given.get("values")
    check(isinstance(values, dict) and len(values) > 0, f"{key}.values", values, "task name: number")
    for task, value in values.items():
        check_choice(f"{key}.values", task, tasks)
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        check(number, f"{key}.values.{task}", value, "a number")
    return Reference(
        paper, label, given["beside"], given.get("metric", metric), {k: float(v) for k, v in values.items()}
    )


def _run_keys(given: Any, key: str) -> dict[str, Any]:
    check(isinstance(given, dict), key, given, "keys of a recipe, such as data and trainer")
    for name, owner in OWNED.items():
        if name in given:
            raise ConfigError(f"{key}.{name}: not here; {owner} set it")
    return given


def _names(given: Any, key: str, known: Iterable[str]) -> tuple[str, ...]:
    given = [] if given is None else given
    check(isinstance(given, list), key, given, "a list of names")
    for name in given:
        check_choice(key, name if isinstance(name, str) else repr(name), known)
    _refuse_twice(given, key, "the name")
    return tuple(given)


def _text(given: Any, key: str, *, empty: bool = True) -> str:
    if isinstance(given, SPELLED):
        given = given.text  # a label 08
    check(isinstance(given, str) and (empty or bool(given.strip())), key, given, "text")
    return given


def _refuse_unknown(tree: dict[str, Any], known: Iterable[str], prefix: str = "") -> None:
    for key in tree:
        if key not in known:
            raise ConfigError(f"{prefix}{key}: unknown key{nearest(key, known)}")


def _refuse_twice(names: list[str], key: str, what: str, remedy: str = "") -> None:
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ConfigError(f"{key}: {what} {twice[0]!r} is used twice{remedy}")
