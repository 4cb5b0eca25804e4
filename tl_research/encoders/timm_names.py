"""Names of timm's networks, read from its source: importing timm takes seconds and most of a gigabyte."""

from __future__ import annotations

import re
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path

#: timm registers a network by a decorator above the function that makes it.
REGISTERED = re.compile(r"^@register_model\n(?:@.*\n)*def (\w+)\(", re.MULTILINE)


@cache
def names_in_source() -> frozenset[str]:
    """Return the networks that timm's files register; none where timm's files are not to be found."""
    # Past the placeholders of commands that compute nothing, which stand for timm.
    spec = PathFinder.find_spec("timm")
    folders = (spec.submodule_search_locations if spec is not None else None) or ()
    files = [path for folder in folders for path in Path(folder, "models").glob("*.py")]
    return frozenset(name for path in files for name in REGISTERED.findall(path.read_text(encoding="utf-8")))
