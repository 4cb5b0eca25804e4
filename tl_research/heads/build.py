"""An unfitted head by its name."""

from __future__ import annotations

import dataclasses
from typing import Any

from tl_research.config import check
from tl_research.heads.base import HEADS, Head

#: The one head that is trained by gradient steps.
TRAINED_HEAD = "mlp"


def fitted_heads(*, regression: bool = False) -> list[str]:
    """Names of the heads that are fitted once, of classes or of numbers."""
    return HEADS["regression" if regression else "class"].names()


def make_head(name: str, /, *, regression: bool = False, **keys: Any) -> Head:
    """Return an unfitted head.

    Args:
        name: one of `fitted_heads`.
        regression: whether it predicts a number.
        keys: options of heads; those that this head has are taken.

    Raises:
        ConfigError: a head of classes for regression, or an option out of range.
    """
    known = fitted_heads(regression=regression)
    because = ", because the label is a regression target" if regression else ""
    check(name in known, "head", name, f"one of {', '.join(known)} or {TRAINED_HEAD}{because}")
    entry = HEADS["regression" if regression else "class"].get(name)
    own = {item.name for item in dataclasses.fields(entry.config)}
    return entry.target(entry.config(**{key: value for key, value in keys.items() if key in own}))
