"""YAML as people write it: `no` is Norway, `12:00:00` is text, `1e-3` is a number, a key given twice is a mistake.

A number or a flag may turn out to be text once its key is known: a domain 001, a column 1E5. Where a file is read with
`spelled=True` they keep the letters they were written with (`text`), and `settle` makes the plain values of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tl_research.errors import ConfigError

_INT = re.compile(r"^[-+]?[0-9]+$")
_FLOAT = re.compile(
    r"^(?:[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf)|\.(?:nan|NaN))$"
)
_BOOL = re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$")


class SpelledInt(int):
    """A whole number that knows how it was written."""

    text: str


class SpelledFloat(float):
    """A number that knows how it was written."""

    text: str


class SpelledBool(int):
    """`true` or `false` as 1 or 0 that knows how it was written: a subclass of bool cannot be."""

    text: str


class SpelledNull:
    """`null` in a list, which may be a name."""

    text = "null"

    def __repr__(self) -> str:
        return self.text


#: All of them.
SPELLED = (SpelledInt, SpelledFloat, SpelledBool, SpelledNull)


#: Of a file, so that one with anchors in anchors does not fill the memory.
MOST_LEVELS, MOST_NODES = 64, 100_000


class _Loader(yaml.SafeLoader):
    pass


class _SpelledLoader(_Loader):
    pass


# YAML 1.1 reads no/off/yes/on as booleans and 12:00:00 as a number of seconds; YAML 1.2 does neither.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in pairs if not tag.endswith((":bool", ":int", ":float", ":timestamp"))]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", _BOOL, list("tTfF"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", _INT, list("-+0123456789"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))
_SpelledLoader.yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers


def _mapping(loader: yaml.SafeLoader, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    lines: dict[str, int] = {}
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode):
            line = key.start_mark.line + 1
            if key.value in lines:
                raise ConfigError(f"{key.value}: given twice (lines {lines[key.value]} and {line})")
            lines[key.value] = line
    return yaml.SafeLoader.construct_mapping(loader, node, deep)


def _spelled_mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    # A key is a name: it has no spelling to keep but its own.
    return {settle(key): value for key, value in _mapping(loader, node, deep=True).items()}


def _spelled_sequence(loader: yaml.SafeLoader, node: yaml.SequenceNode) -> list[Any]:
    items = loader.construct_sequence(node, deep=True)
    nulls = [isinstance(part, yaml.ScalarNode) and part.value == "null" and part.style is None for part in node.value]
    return [SpelledNull() if null else item for null, item in zip(nulls, items, strict=True)]


def _whole(text: str) -> int:
    # YAML 1.1 takes a leading zero for octal; people mean the decimal number.
    if not re.fullmatch(r"\s*[-+]?[0-9]{1,4000}\s*", text):
        raise ValueError("not a whole number, or one of more than 4,000 digits")
    return int(text)


def _spelled(kind: type, construct: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def make(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> Any:
        value = kind(construct(loader, node))
        value.text = node.value
        return value

    return make


_WHOLE = lambda loader, node: _whole(loader.construct_scalar(node))  # noqa: E731
_Loader.add_constructor("tag:yaml.org,2002:map", lambda loader, node: _mapping(loader, node, deep=True))
_Loader.add_constructor("tag:yaml.org,2002:int", _WHOLE)
_SpelledLoader.add_constructor("tag:yaml.org,2002:map", _spelled_mapping)
_SpelledLoader.add_constructor("tag:yaml.org,2002:seq", _spelled_sequence)
for _type, _tag, _construct in (
    (SpelledInt, "int", _WHOLE),
    (SpelledFloat, "float", yaml.SafeLoader.construct_yaml_float),
    (SpelledBool, "bool", yaml.SafeLoader.construct_yaml_bool),
):
    _SpelledLoader.add_constructor(f"tag:yaml.org,2002:{_tag}", _spelled(_type, _construct))


def settle(value: Any) -> Any:
    """Return a tree in which no value knows any more how it was written."""
    if isinstance(value, dict):
        return {key: settle(item) for key, item in value.items()}
    if isinstance(value, list):
        return [settle(item) for item in value]
    if isinstance(value, SpelledBool):
        return bool(value)
    if isinstance(value, SpelledNull):
        return None
    return int(value) if isinstance(value, SpelledInt) else float(value) if isinstance(value, SpelledFloat) else value


def read_yaml(path: str | Path, *, spelled: bool = False) -> dict[str, Any]:
    """Read a YAML file whose top level is a mapping; `ConfigError` names the file and line of a mistake.

    Args:
        path: the file, in UTF-8.
        spelled: whether numbers and flags are to keep the letters they were written with.
    """
    try:
        tree = _load(Path(path).read_text(encoding="utf-8-sig"), spelled=spelled)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        what = getattr(error, "problem", None) or ""
        if what.startswith("but "):  # PyYAML begins the sentence elsewhere
            what = f"{error.context}, {what}"
        what = what or getattr(error, "reason", None) or "not YAML"
        raise ConfigError(f"{path}{where}: {what}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text (byte {error.start})") from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: is a folder, wants a YAML file") from None
    except _OTHER as error:
        raise ConfigError(f"{path}: {_said(error)}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: wants keys and values at the top level, got {_kind(settle(tree))}")
    return tree


def _kind(tree: Any) -> str:
    kinds = {list: "a list", str: "text", bool: "a flag", int: "a number", float: "a number"}
    return kinds.get(type(tree), f"a {type(tree).__name__}")


def parse_value(text: str, key: str, *, spelled: bool = False) -> Any:
    """Read the right side of `key=value` as YAML.

    Raises:
        ConfigError: it is none; the message names the key.
    """
    try:
        return _load(text, spelled=spelled)
    except (yaml.YAMLError, *_OTHER):
        shown = text if len(text) <= 80 else f"{text[:80]}..."
        raise ConfigError(f"{key}: {shown!r} is not a YAML value") from None


#: What constructors raise of a value that has the tag of another kind (`!!float abc`), or is nested without end.
_OTHER = (ConfigError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError)


def _said(error: Exception) -> str:
    if isinstance(error, ConfigError):
        return str(error)
    if isinstance(error, RecursionError):
        return "nested too deeply, or without end"
    return f"not YAML ({error})".replace("\n", " ")


def _load(text: str, *, spelled: bool) -> Any:
    tree = yaml.load(text, _SpelledLoader if spelled else _Loader)
    _refuse_endless(tree)
    return tree


def _refuse_endless(tree: Any) -> None:
    # An anchor within itself is a tree without a bottom, and anchors of anchors are one of a billion leaves.
    level, seen = [tree], 0
    for _ in range(MOST_LEVELS):
        level = [part for node in level for part in (node.values() if isinstance(node, dict) else node)
                 if isinstance(part, dict | list)] if isinstance(tree, dict | list) else []  # fmt: skip
        seen += len(level)
        if not level:
            return
        if seen > MOST_NODES:
            break
    raise RecursionError


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    # In double quotes every letter that is no plain one is escaped: other styles fold some of them.
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"')


_Dumper.add_representer(str, _text)
# Text is quoted wherever this project's reader or another's (YAML 1.1) would take it for something else.
_Dumper.yaml_implicit_resolvers = {
    first: [*yaml.SafeLoader.yaml_implicit_resolvers.get(first, ()), *_Loader.yaml_implicit_resolvers.get(first, ())]
    for first in {*yaml.SafeLoader.yaml_implicit_resolvers, *_Loader.yaml_implicit_resolvers}
}


def dump_yaml(tree: dict[str, Any]) -> str:
    """Return YAML text that `read_yaml` reads as exactly `tree`, text as text."""
    return yaml.dump(settle(tree), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10**6)
