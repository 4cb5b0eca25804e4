"""What a class must have to be a method: it is refused where it is registered, not where it is trained."""

from __future__ import annotations

import inspect
from typing import Any

from tl_research.registry.entries import MethodEntry

#: What only a base class of the package gives.
NEEDED = ("reads", "check_config", "training_step")
#: Hooks that were called otherwise: name -> what takes its place. One that nobody calls would be lost without a word.
FORMER_HOOKS = {"adaptation_loss": "terms(step)", "target_loss": "terms(step)"}


def refuse_unfit(entry: MethodEntry) -> None:
    """Raise `ValueError` for a class that is no method, or has hooks that nobody calls."""
    if not all(hasattr(entry.target, name) for name in NEEDED):
        raise ValueError(f"method {entry.name!r}: {entry.target!r} wants a base class of the package (CONTRIBUTING.md)")
    _refuse_former_hooks(entry.name, entry.target)


def _refuse_former_hooks(name: str, target: Any) -> None:
    for old, new in FORMER_HOOKS.items():
        if hasattr(target, old):
            raise ValueError(f"method {name!r}: {old} is not called; the hook is {new} (CONTRIBUTING.md)")
    if len(inspect.signature(target.source_weights).parameters) != 2:
        raise ValueError(f"method {name!r}: source_weights wants one argument, source_weights(step) (CONTRIBUTING.md)")
