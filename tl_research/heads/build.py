"""An unfitted head by its name."""

from __future__ import annotations

import dataclasses
from typing import Any

from tl_research.config import check
from tl_research.heads.base import HEADS, Head

#: The one head that is trained by gradient steps.
TRAINED_HEAD = "mlp"


def fitted_heads(of: str = "class") -> list[str]:
    """Names of the heads that are fitted once, `of` a kind of outcome."""
    return HEADS[of].names()


def make_head(name: str, /, *, of: str = "class", **keys: Any) -> Head:
    """Return an unfitted head.

    Args:
        name: one of `fitted_heads`.
        of: kind of outcome that it predicts, `class` or `regression`.
        keys: options of heads; those that this head has are taken.

    Raises:
        ConfigError: there is none of this name for this kind, or an option is out of range.
    """
    known = fitted_heads(of)
    check(name in known, "head", name, f"one of {', '.join(known)} or {TRAINED_HEAD}, for a label of kind {of}")
    entry = HEADS[of].get(name)
    own = {item.name for item in dataclasses.fields(entry.config)}
    return entry.target(entry.config(**{key: value for key, value in keys.items() if key in own}))
