"""Remarks on the user's data: one line each, on stderr, so that what a pipe reads stays clean."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


def print_remarks(lines: Iterable[str]) -> None:
    """Print each distinct remark once, in the order of its first mention."""
    for line in dict.fromkeys(lines):
        print(f"note: {line}", file=sys.stderr)


def print_remarks_of_runs(runs: Iterable[Iterable[str]]) -> None:
    """Print the remarks of several runs: of those that differ in numbers alone the first, with the number of runs."""
    first: dict[str, str] = {}
    count: dict[str, int] = {}
    for lines in runs:
        for kind, line in {_NUMBER.sub("0", line): line for line in lines}.items():
            first.setdefault(kind, line)
            count[kind] = count.get(kind, 0) + 1
    for kind, line in first.items():
        alike = f" (the first of {count[kind]} runs with this note)" if count[kind] > 1 else ""
        print(f"note: {line}{alike}", file=sys.stderr)
