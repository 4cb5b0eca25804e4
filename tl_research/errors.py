"""The two kinds of mistake a user can make, each reported as one message and exit code 2."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches


class UserError(ValueError):
    """A mistake the user can mend; the command line prints its message without a traceback."""


class ConfigError(UserError):
    """A wrong key or value. The message names the full key, what it got and what it wants."""


@contextmanager
def keys_of(group: str) -> Iterator[None]:
    """Put a group's key before what a part says of its own option: `ridge: got 0` becomes `method.ridge: got 0`.

    Raises:
        ConfigError: what was raised within, with the full key.
    """
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{group}.{error}") from None


class DataError(UserError):
    """A wrong file. The message names the file, and the row and column where there are any."""


class OutputError(UserError):
    """The folder of the runs cannot be written: read-only, no permission, a file in its place, or a full disk."""

    def __init__(self, output: object, reason: object):
        # As it is raised again from a pickle, which is how the processes of a run report.
        self.output, self.reason = str(output), str(reason)
        shown = self.output if len(self.output) <= 200 else f"{self.output[:200]}..."
        super().__init__(
            f"{shown}: runs cannot be written ({self.reason}); what is finished is kept, and the same command goes on"
        )

    def __reduce__(self):
        return type(self), (self.output, self.reason)


class RunFailure(RuntimeError):
    """Work that failed for a known reason, which is no user's mistake: one message without a traceback, exit code 1."""


class NonFiniteLoss(RunFailure):
    """A loss term became NaN or infinite; the message names the term. The run is recorded as `diverged`."""


def is_named(error: BaseException, *names: str) -> bool:
    """Whether an error is of a class of such a name: those of torch and Lightning, without importing them."""
    return any(kind.__name__ in names for kind in type(error).__mro__)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, the processor's or a device's."""
    # On a CPU torch raises a plain RuntimeError.
    return is_named(error, "MemoryError", "OutOfMemoryError") or "DefaultCPUAllocator: " in str(error)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint such as `; did you mean 'dann'?`, followed by the known names when there are few."""
    known = sorted(known)
    close = get_close_matches(str(name), known, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    # Names come from files, and may hold anything.
    shown = ", ".join(name if name.isprintable() else repr(name) for name in known)
    return f"{hint} (known: {shown})" if len(known) <= 40 and len(shown) <= 1000 else hint
