"""Which methods are put to the contracts that train: all of them cost hours once there are many.

Methods that override the same hooks of the same base class go through the same code of the package; one of them stands
for the group. Every method whose file differs from the main branch is chosen too, and so is one from outside the
package. `--all`, or a checkout without git, chooses all.
"""

from __future__ import annotations

import inspect
import os
import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from tl_research.methods.base import AdaptationModule
from tl_research.registry import METHODS

ROOT = Path(__file__).resolve().parents[2]
#: Set by the option `--all`, for the workers too.
ALL_METHODS = "TL_RESEARCH_ALL_METHODS"


def chosen(methods: Iterable[str]) -> list[str]:
    """Return those of the methods that are chosen, in their order."""
    if os.environ.get(ALL_METHODS):
        return list(methods)
    wanted = representatives() | changed()
    return [name for name in methods if name in wanted]


def proofs(methods: Iterable[str]) -> list[str]:
    """Return those of the methods whose long proof of behaviour is carried out: the first, and what has changed.

    For a test that trains many runs per method. All are proven with `--all`, without git, and where a file of the
    package has changed that is no method's own.
    """
    methods, differ = list(methods), changed_files()
    own = {_file(name) for name in METHODS.names()}
    shared_changed = differ is None or any(ROOT / "tl_research" in file.parents and file not in own for file in differ)
    if os.environ.get(ALL_METHODS) or shared_changed:
        return methods
    return [name for place, name in enumerate(methods) if not place or name in changed()]


def hooks_of(method: str) -> tuple[type, frozenset[str]]:
    """Return the base class that a method's class begins from, and what of it the method overrides."""
    own, classes = set(), METHODS.get(method).target.__mro__
    for kind in classes:
        if _is_base(kind):
            names = {name for name in own if hasattr(kind, name) and not name.startswith("__")}
            return kind, frozenset(names | ({"weighting"} if METHODS.get(method).weighting else set()))
        own |= set(vars(kind))
    raise TypeError(f"{method}: its class is no AdaptationModule")


def _is_base(kind: type) -> bool:
    # Base classes are modules of the room itself, methods are one folder deeper; `aligned` makes its methods.
    if kind.__module__ == "tl_research.methods.aligned":
        return False
    return kind is AdaptationModule or kind.__module__.rpartition(".")[0] == "tl_research.methods"


@cache
def representatives() -> frozenset[str]:
    """The first method, by name, of every group."""
    first: dict[tuple[type, frozenset[str]], str] = {}
    for name in METHODS.names():
        first.setdefault(hooks_of(name), name)
    return frozenset(first.values())


@cache
def changed() -> frozenset[str]:
    """Methods whose file is not what it is where this branch left the main branch."""
    differ = changed_files()
    if differ is None:
        return frozenset(METHODS.names())
    return frozenset(name for name in METHODS.names() if _file(name) in differ or ROOT not in _file(name).parents)


@cache
def changed_files() -> frozenset[Path] | None:
    """Files that are not what they are where this branch left the main branch; None where git cannot tell."""
    try:
        begin = _git("merge-base", "HEAD", "main").strip()
        files = _git("diff", "--name-only", begin) + _git("ls-files", "--others", "--exclude-standard")
    except (OSError, subprocess.CalledProcessError):
        return None
    return frozenset(ROOT / line for line in files.splitlines())


def _file(method: str) -> Path:
    return Path(inspect.getfile(METHODS.get(method).target)).resolve()


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout
