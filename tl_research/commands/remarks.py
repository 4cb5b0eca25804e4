"""Remarks on the user's data: one line each, on stderr, so that what a pipe reads stays clean."""

from __future__ import annotations

import sys
from collections.abc import Iterable


def print_remarks(lines: Iterable[str]) -> None:
    """Print each distinct remark once, in the order of its first mention."""
    for line in dict.fromkeys(lines):
        print(f"note: {line}", file=sys.stderr)
