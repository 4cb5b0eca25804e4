"""The two kinds of mistake a user can make, each reported as one message and exit code 2."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """A mistake the user can mend; the command line prints its message without a traceback."""


class ConfigError(UserError):
    """A wrong key or value. The message names the full key, what it got and what it wants."""


class DataError(UserError):
    """A wrong file. The message names the file, and the row and column where there are any."""


class NonFiniteLoss(RuntimeError):
    """A loss term became NaN or infinite; the message names the term. The run is recorded as `diverged`."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint such as `; did you mean 'dann'?`, followed by the known names when there are few."""
    known = sorted(known)
    close = get_close_matches(str(name), known, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    # Names come from files, and may hold anything.
    shown = ", ".join(name if name.isprintable() else repr(name) for name in known)
    return f"{hint} (known: {shown})" if len(known) <= 40 and len(shown) <= 1000 else hint
