"""What there is: methods, data sets and encoders, and the files of public data sets."""

from __future__ import annotations

import sys

from tl_research.errors import UserError


def listing(arguments) -> int:
    """Print what a registry holds: names, facts and the first line of each docstring. Returns the exit code."""
    from rich.console import Console
    from rich.table import Table

    from tl_research.registry import DATASETS, ENCODERS, METHODS

    columns = {
        "methods": (METHODS, ("family", "settings", "targets", "paper")),
        "datasets": (DATASETS, ("domains", "metric", "encoder", "paper")),
        "encoders": (ENCODERS, ("paper",)),
    }
    registry, facts = columns[arguments.kind]
    table = Table()
    for heading in ("name", *facts, "summary"):
        table.add_column(heading, overflow="fold")
    for entry in registry.entries():
        cells = [", ".join(v) if isinstance(v := getattr(entry, fact), tuple) else str(v) for fact in facts]
        table.add_row(entry.name, *cells, entry.summary)
    Console(width=None if sys.stdout.isatty() else 200).print(table)
    return 0


def data_fetch(arguments) -> int:
    """Download the files of a data set and verify their sums. Returns the exit code.

    Raises:
        UserError: there is no such data set, it has no files, or a file cannot be had.
    """
    from tl_research.data.fetch import fetch
    from tl_research.interactions.public_files import FILES
    from tl_research.registry import DATASETS

    files = FILES.get(arguments.name) or _files_of(DATASETS.get(arguments.name))
    if not files:
        raise UserError(f"{arguments.name}: has no files to fetch: its rows are made by the program, or are your own")
    folder = fetch(arguments.name, files, root=arguments.root, mirror=arguments.mirror)
    print(f"{arguments.name}: {len(files)} files verified in {folder}")
    return 0


def data_list(arguments) -> int:
    """Print each data set with its size, and whether its verified files are here. Returns the exit code."""
    from tl_research.data.fetch import data_root, is_right
    from tl_research.registry import DATASETS

    for entry in DATASETS.entries():
        files, folder = _files_of(entry), data_root(arguments.root) / entry.name
        size = f"{sum(file.bytes for file in files) / 1e6:.1f} MB" if files else "-"
        if not files:
            state = "nothing to fetch"
        else:
            state = "here" if all(is_right(folder / file.name, file) for file in files) else "not here"
        print(f"{entry.name:20s} {size:>10s}  {state:18s} {entry.summary}")
    return 0


def _files_of(entry) -> list:
    return list(getattr(entry.target, "files", []))
