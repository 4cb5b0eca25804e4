"""Recipes and suites that travel with the package: in a checkout they lie beside it, once installed within it."""

from __future__ import annotations

from pathlib import Path, PurePath

from tl_research.storage.files import is_file

PACKAGE = Path(__file__).resolve().parents[1]
#: Folders in a checkout.
RECIPES, SUITES = "configs", "benchmarks/suites"
#: The same within the installed package, where setup.py puts them.
INSTALLED = {RECIPES: "shipped/configs", SUITES: "shipped/suites"}


def find(name: str | PurePath, kind: str) -> Path:
    """Return the file that a word of the command line means.

    A file of the user's own comes first, then what travels with the package: by its name (`digits/dann`, `demo`) or by
    its path in a checkout (`benchmarks/suites/demo.yaml`). What is neither is returned as it was given.

    Args:
        name: what was given.
        kind: `RECIPES` or `SUITES`.
    """
    given = Path(name)
    if not is_file(given):
        word = given.as_posix().removeprefix(f"{kind}/").removesuffix(".yaml")
        return names(kind).get(word, given)
    return given


def names(kind: str) -> dict[str, Path]:
    """What travels with the package: its name -> its file."""
    folder = _folder(kind)
    files = sorted(folder.glob("**/*.yaml"))
    return {file.relative_to(folder).with_suffix("").as_posix(): file for file in files}


def name_of(path: str | Path, kind: str) -> str | None:
    """The name by which `find` finds this file; None where it is no file of the package."""
    folder, path = _folder(kind), Path(path).resolve()
    return path.relative_to(folder).with_suffix("").as_posix() if path.is_relative_to(folder) else None


def _folder(kind: str) -> Path:
    installed = PACKAGE / INSTALLED[kind]
    return installed if installed.is_dir() else PACKAGE.parent / kind
