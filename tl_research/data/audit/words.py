"""How findings are written: counts, lists that end, spellings, and the way out."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Sequence

#: Names that one sentence lists before it only counts.
LISTED = 5


def listed(names: Iterable[object]) -> str:
    """Return `'a', 'b', 'c' and 4 more`."""
    names = [name if isinstance(name, str) else str(name) for name in names]
    few = ", ".join(map(repr, names[:LISTED]))
    return few + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")


def count(number: int, noun: str) -> str:
    """Return `1 row`, `2 rows`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def columns_to_drop(names: Sequence[object]) -> str:
    """Return the setting that leaves columns out: `data.drop=[y2, "Unnamed: 0"]`; of a matrix, what to do instead."""
    if not all(isinstance(name, str) for name in names):
        return "leave them out of the file" if len(names) > 1 else "leave it out of the file"
    quoted = [name if re.fullmatch(r"[A-Za-z]\w*", name) else json.dumps(name, ensure_ascii=False) for name in names]
    return f"data.drop=[{', '.join(quoted)}]"


def folded(text: str) -> str:
    """Return one spelling for texts that differ in case, blanks, accents or the form of their letters alone."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return " ".join(plain.split())
