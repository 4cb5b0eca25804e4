"""Bounds that stand in the field: what a value may be, in one place for Python and for every key of a configuration.

    weight: float = at_least(0.0, default=1.0)
    temperature: float = above(0.0, default=2.0)
    momentum: float = share(one=False, default=0.9)
    pool: str = one_of(("mean", "first"), default="mean")

None, where the field's type allows it, is within every bound. Further facts of a field (`launch=True`) may follow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from tl_research.config.fields import facts_of, told
from tl_research.errors import ConfigError, nearest


def check(condition: bool, key: str, got: Any, wants: str) -> None:
    """Raise `ConfigError` naming the full `key` unless `condition` holds; for what several keys must agree on."""
    if not condition:
        raise ConfigError(f"{key}: got {got!r}, wants {wants}")


def check_choice(key: str, got: str, known: Iterable[str]) -> None:
    """Raise `ConfigError` with the nearest name unless `got` is one of `known`."""
    known = list(known)
    if got not in known:
        raise ConfigError(f"{key}: got {got!r}{nearest(got, known)}")


def bounded(holds: Callable[[Any], bool], wants: str, *, default: Any, **facts: Any) -> Any:
    """A field whose values are those that `holds` accepts; `wants` says in a message which they are."""
    return told(default, holds=holds, wants=wants, **facts)


def at_least(low: float, *, default: Any, wants: str = "", **facts: Any) -> Any:
    """A number of `low` or more; `wants` says in a message what else there is to say."""
    wants = wants or (f"at least {low:g}" if low else "0 or more")
    return bounded(lambda value: value >= low, wants, default=default, **facts)


def above(low: float, *, default: Any, **facts: Any) -> Any:
    """A number above `low`."""
    return bounded(lambda value: value > low, f"a number above {low:g}", default=default, **facts)


def within(low: float, high: float, *, default: Any, wants: str = "", **facts: Any) -> Any:
    """A number from `low` to `high`, both included."""
    return bounded(lambda value: low <= value <= high, wants or f"{low:g} to {high:g}", default=default, **facts)


def share(*, default: Any, zero: bool = True, one: bool = True, **facts: Any) -> Any:
    """A number from 0 to 1; `zero` and `one` say whether these two are among them."""
    if zero:
        wants = "from 0 to 1" if one else "from 0 to below 1"
    else:
        wants = "above 0 and up to 1" if one else "between 0 and 1"
    holds = lambda value: 0 <= value <= 1 and (zero or value > 0) and (one or value < 1)  # noqa: E731
    return bounded(holds, f"a share {wants}", default=default, **facts)


def all_at_least(low: float, *, default: list, fewest: int = 1, **facts: Any) -> Any:
    """A list of numbers, `fewest` or more, each at least `low`."""
    wants = f"{fewest} or more numbers of {low:g} or more"
    return _all(lambda value: value >= low, fewest, wants, default, facts)


def all_above(low: float, *, default: list, fewest: int = 1, **facts: Any) -> Any:
    """A list of numbers, `fewest` or more, each above `low`."""
    return _all(lambda value: value > low, fewest, f"{fewest} or more numbers above {low:g}", default, facts)


def _all(holds: Callable[[float], bool], fewest: int, wants: str, default: list, facts: dict[str, Any]) -> Any:
    return bounded(lambda values: len(values) >= fewest and all(map(holds, values)), wants, default=default, **facts)


def one_of(names: Iterable[str], *, default: Any, **facts: Any) -> Any:
    """A text that is one of these names."""
    return told(default, names=tuple(names), **facts)


def check_bounds(group: Any, key: str) -> None:
    """Raise `ConfigError` for the first field of a dataclass that is out of its bounds.

    Args:
        group: the dataclass.
        key: full key of the place where it stands; empty for the root.
    """
    schema: type = type(group)
    for name, facts in facts_of(schema).items():
        value, full = getattr(group, name), f"{key}.{name}".lstrip(".")
        if value is None:
            continue
        if "holds" in facts:
            check(facts["holds"](value), full, value, facts["wants"])
        if "names" in facts:
            check_choice(full, value, facts["names"])


class Group:
    """Base of the configuration's groups: their bounds are checked in Python too.

    Fields:
        key: full key of the group where a name chooses it. A subclass that has checks of its own in `__post_init__`
            calls this one first.
    """

    key: ClassVar[str] = ""

    def __post_init__(self) -> None:
        check_bounds(self, self.key)
