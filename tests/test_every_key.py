"""Every key of the configuration times every value that it cannot have: one line that begins with the full key."""

import math
import typing

import pytest

from tests.every_key import Key, every_key
from tl_research.config import compose
from tl_research.config.values import _is_list, _options
from tl_research.errors import ConfigError

LONG = "x" * 10_000
NOWHERE = ["", {}, LONG]
OF_NUMBERS = [*NOWHERE, "banana", [], math.nan, math.inf, -math.inf, 10**30, -(10**30), True, [1]]
#: Numbers of any sign, and what is checked for one value of another key only.
UNBOUNDED = {"data.covariate_shift", "data.label_shift", "data.concept_shift", "data.measurement_shift"}
OF_BOOSTING = {"method.iterations", "method.leaves", "method.min_rows"}


def wrong_values(key: Key) -> list:
    options, optional = _options(key.kind)
    kind, null = options[0], [] if optional else [None]
    if kind in (int, float):
        below = [] if key.full in UNBOUNDED or key.full in OF_BOOSTING or kind is float else [-(2**62)]
        return [*OF_NUMBERS, *below, *([1.5] if kind is int else []), *null]
    if kind is bool:
        return [*NOWHERE, "banana", [], math.nan, math.inf, 10**30, 2, [True], *null]
    if _is_list(kind):
        numbers = ["banana", ["banana"], [10**30], 5, [True]] if typing.get_args(kind)[0] is not str else []
        return [*NOWHERE, math.nan, 10**30, [[]], [{}], [None], [math.nan], [LONG], *numbers, *null]
    if typing.get_origin(kind) is dict:
        return ["banana", math.nan, 10**30, [], ["banana"], {"x": "banana"}, {"x": {"kind": 5}}, *null]
    assert kind is str, key
    return [*NOWHERE, [], ["x"], "a\0b", math.nan, *null]


def distinct() -> list[Key]:
    """A key that several entries inherit is tried once with every value."""
    return list({(key.full, str(key.kind)): key for key in every_key()}.values())


def refused(key: Key, value) -> str:
    with pytest.raises(ConfigError) as caught:
        compose(key.set(value))
    message = str(caught.value)
    assert message.startswith(key.full), (key.full, value, message)
    assert "\n" not in message
    assert len(message) < 3000
    for phrase in ("DictConfig", "ListConfig", "AnyNode", "NoneType"):
        assert phrase not in message, message
    return message


@pytest.mark.slow
def test_no_key_takes_what_it_cannot_be():
    keys = distinct()
    assert len(keys) > 200
    for key in keys:
        for value in wrong_values(key):
            try:
                refused(key, value)
            except pytest.fail.Exception:
                pytest.fail(f"{key.entry}: {key.full} took {value!r:.60}")


def test_every_entry_refuses_keys_and_values_that_are_none():
    for key in every_key():
        refused(key, {"a": 1})


@pytest.mark.parametrize("word", ["", "{a: 1}"])
def test_words_of_the_command_line_that_no_key_takes(word):
    for key in distinct():
        with pytest.raises(ConfigError) as caught:
            compose(key.base, [f"{key.full}={word}"])
        assert str(caught.value).startswith(key.full), caught.value
