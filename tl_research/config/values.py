"""What a value may be, by the declared type of its key: one place for every group of the configuration.

Text is taken as it is written: the domain 001, the column 1E5, the file `old #1.csv`. What is said on the command line
(`Words`) becomes a value only here, where the key's type is known.
"""

from __future__ import annotations

import dataclasses
import math
import re
import types
import typing
from functools import cache
from pathlib import Path
from typing import Any

from tl_research.config.fields import facts_of
from tl_research.config.yaml_text import SPELLED, SpelledBool, parse_value, read_yaml, settle
from tl_research.errors import ConfigError, nearest

#: Letters of the longest text: that of a path.
LONGEST_TEXT = 4096
#: Sizes of the largest numbers: whole ones fit into 64 bits, and the square of others into float32.
LARGEST_INT, LARGEST_FLOAT = 2**63 - 1, 1e18
MISSING = "???"  # OmegaConf's sign of a value that is not there yet
_INT = re.compile(r"[-+]?[0-9]+(?:_[0-9]+)*")
_FLOAT = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_FLAGS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
#: An item of a list: in quotes, or all up to the comma.
_ITEM = re.compile(r"""('(?:[^']|'')*'|"(?:[^"\\]|\\.)*")\s*(?:,|$)|([^,]*)(?:,|$)""", re.DOTALL)
_NULLS = ("null", "~")


class Words(str):
    """What stands behind `=` on the command line."""


class Literal(str):
    """Text of which every letter stands for itself, `${` too."""


def escaped(text: str) -> str:
    """Return text in which OmegaConf fills in nothing: `${` is what it says."""
    return re.sub(r"(\\*)\$\{", lambda found: 2 * found[1] + r"\${", str(text))


@cache
def types_of(schema: type) -> dict[str, Any]:
    """Declared type of each field of a configuration's dataclass."""
    hints = typing.get_type_hints(schema)
    return {item.name: hints[item.name] for item in dataclasses.fields(schema)}


def nested_in(schema: type, key: str) -> type | None:
    """The dataclass that a field declares; None where it declares none."""
    kind = types_of(schema).get(key)
    return kind if isinstance(kind, type) and dataclasses.is_dataclass(kind) else None


def is_number(kind: Any) -> bool:
    """Whether a type takes numbers with a point but no whole numbers of their own kind."""
    options = _options(kind)[0]
    return float in options and int not in options


def is_optional(kind: Any) -> bool:
    """Whether None is one of the values of a type."""
    return _options(kind)[1]


def typed(
    tree: dict[str, Any],
    schema: type,
    groups: dict[str, type],
    prefix: str = "",
    *,
    filled: dict[str, Any],
    former: bool = False,
) -> dict[str, Any]:
    """Return the tree with every value of the type that its key declares.

    Args:
        tree: keys and values as they were given.
        schema: dataclass of these keys.
        groups: full key -> dataclass, where another one than the declared has been chosen by name.
        prefix: of the full keys, with its dot.
        filled: takes the full key -> type of every value that stands for another (`${seed}`), to be read once it
            is filled in.
        former: whether keys may have the names that they had before they were renamed.

    Raises:
        ConfigError: an unknown key, or a value of another type; the message names the full key.
    """
    kinds, made = types_of(schema), {}
    for key, value in (_as_now(tree, schema) if former else tree).items():
        full = f"{prefix}{key}"
        if key not in kinds:
            raise ConfigError(f"{prefix}{_plain(key)}: unknown key{nearest(key, kinds)}")
        kind = kinds[key]
        nested = groups.get(full) or nested_in(schema, key)
        if nested is None:
            if facts_of(schema)[key].get("from_file"):
                value = _of_file(value, full)
            made[key] = read(value, kind, full, filled)
            continue
        if isinstance(value, Words):
            value = parse_value(value, full, spelled=True)
        if not isinstance(value, dict):
            named = "name" in types_of(nested)
            example = f"{full}.{'name' if named else next(iter(types_of(nested)), 'key')}=..."
            raise ConfigError(f"{full}: got {shown(value)}, wants keys below it ({example})")
        made[key] = typed(value, nested, groups, f"{full}.", filled=filled, former=former)
    return made


def _of_file(value: Any, key: str) -> Any:
    """The mapping that a YAML file holds, where a value is its path."""
    if not isinstance(value, str) or not value.strip().lower().endswith((".yaml", ".yml")):
        return value
    path = Path(value.strip()).expanduser()
    if not path.is_file():
        raise ConfigError(f"{key}: there is no file {value.strip()}")
    return read_yaml(path, spelled=True)


def _as_now(tree: dict[str, Any], schema: type) -> dict[str, Any]:
    """The same tree with every renamed key and its values as they are called now."""
    tree = dict(tree)
    for name, facts in facts_of(schema).items():
        before = facts.get("formerly")
        if before in tree and before not in facts_of(schema):
            now = {then: value for value, then in facts["values"].items()}
            given = tree.pop(before)
            tree[name] = now.get(given, given)
    return tree


def read(value: Any, kind: Any, key: str, filled: dict[str, Any] | None = None) -> Any:
    """Return `value` as the type `kind`.

    Raises:
        ConfigError: it is none of that type.
    """
    filled = {} if filled is None else filled
    options, optional = _options(kind)
    if value is None or (optional and isinstance(value, Words) and value in _NULLS):
        if optional:
            return None
        raise ConfigError(f"{key}: got nothing (null), wants {_wants(options, key)}")
    for option in options:
        if option is str and len(options) == 1:
            return text(value, key)
        if _is_list(option):
            return _list(value, typing.get_args(option)[0], key, filled)
    if isinstance(value, str) and not isinstance(value, Literal) and "${" in value:
        filled[key] = kind
        return str(value)
    if isinstance(value, Words) and not value.strip():
        raise ConfigError(f"{key}: got nothing, wants {_wants(options, key)}")
    if not set(options) <= {bool, int, float, str}:
        # A type that only a plugin or `data.schema` has: beyond its shape it is judged where it is used.
        found = _any(value, key)
        for shape, wants in ((dict, "keys and values, such as {x: 1}"), (list, "a list")):
            if any(typing.get_origin(option) is shape for option in options) and not isinstance(found, shape):
                raise ConfigError(f"{key}: got {shown(found)}, wants {wants}")
        return found
    for option in options:
        found = _READERS[option](value)
        if found is not None:
            return _bounded(found, key, options)
    if isinstance(value, Words) and str not in options:
        value = parse_value(value, key)
    raise ConfigError(f"{key}: got {shown(value)}, wants {_wants(options, key)}")


def _any(value: Any, key: str) -> Any:
    """A value of a type that is not declared, with words at any depth (`data.schema.price=number`) read as YAML."""
    if isinstance(value, dict):
        return {name: _any(item, f"{key}.{name}") for name, item in value.items()}
    if isinstance(value, list):
        return [_any(item, key) for item in value]
    if isinstance(value, Literal):
        return escaped(value)
    return settle(parse_value(value, key) if isinstance(value, Words) else value)


def text(value: Any, key: str) -> str:
    """Return `value` as text, as it was written.

    Raises:
        ConfigError: it is a list, keys and values, or nothing; too long; or holds a NUL.
    """
    if isinstance(value, Words):
        value = _of_words(value, key)
    elif isinstance(value, SPELLED):
        value = value.text
    elif isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        value = str(value)
    if not isinstance(value, str):
        raise ConfigError(f"{key}: got {shown(value)}, wants a text")
    if not value:
        raise ConfigError(f"{key}: got an empty text, wants a text")
    if len(value) > LONGEST_TEXT:
        raise ConfigError(f"{key}: got a text of {len(value)} letters, wants at most {LONGEST_TEXT}")
    if "\0" in value:
        raise ConfigError(f"{key}: got {shown(value)}, wants a text without the NUL character")
    if value == MISSING:
        raise ConfigError(f"{key}: missing ({MISSING}); wants a text")
    return escaped(value) if isinstance(value, Literal) else str(value)


def _of_words(words: str, key: str) -> Literal:
    """Text of the command line: as written, but for quotes around all of it."""
    stripped = words.strip()
    if not stripped:
        raise ConfigError(f"{key}: got nothing, wants a text")
    if stripped[0] in "'\"" and stripped[-1] == stripped[0] and len(stripped) > 1:
        quoted = _unquoted(stripped)
        return Literal(words if quoted is None else quoted)
    if stripped[0] + stripped[-1] in ("[]", "{}"):
        what = "a list" if stripped[0] == "[" else "keys and values"
        hint = _quoted(stripped, key)
        raise ConfigError(f"{key}: got {what} ({shown(str(words))}), wants a text; quote what is one: {hint}")
    if stripped in (*_NULLS, MISSING):
        raise ConfigError(f"{key}: got nothing ({stripped}), wants a text; quote what is one: {key}=\"'{stripped}'\"")
    return Literal(words)


def _quoted(words: str, key: str) -> str:
    """The override that means the text `words` itself; of an item of a list that of the whole list."""
    text = "..." if len(words) > 60 else words.replace("'", "''")
    name, bracket, _ = key.partition("[")
    return f"{name}=\"['{text}']\"" if bracket else f"{key}=\"'{text}'\""


def _unquoted(quoted: str) -> str | None:
    try:
        value = parse_value(quoted, "")
    except ConfigError:
        return None
    return value if isinstance(value, str) else None


def _list(value: Any, item: Any, key: str, filled: dict[str, Any]) -> list[Any] | str:
    wants = f"a list such as {key}=[{_example(item, key)}]"
    texts = item is str
    if isinstance(value, Words):
        value = _split(value, key, wants) if texts else parse_value(value, key, spelled=True)
    elif texts and isinstance(value, str):
        value = [value]  # one domain, one column
    if isinstance(value, str) and "${" in value:
        filled[key] = list[item]
        return value
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{key}: got {shown(value)}, wants {wants}")
    return [read(part, item, f"{key}[{i}]", filled) for i, part in enumerate(value)]


def _split(words: str, key: str, wants: str) -> list[Words | Literal]:
    """`[a, 'b, c']` -> its items, each as written; words without brackets are one item."""
    inner = words.strip()
    if not inner:
        raise ConfigError(f"{key}: got nothing, wants {wants}")
    if inner.startswith("[") and "]" not in inner:
        raise ConfigError(f"{key}: {shown(str(words))} lacks its closing bracket; wants {wants}")
    if not (inner.startswith("[") and inner.endswith("]")):
        return [Words(words)]
    items: list[Words | Literal] = []
    rest = inner[1:-1].strip()
    while found := _ITEM.match(rest) if rest else None:
        quoted, plain = found.groups()
        unquoted = None if quoted is None else _unquoted(quoted)
        item = plain.strip() if quoted is None else quoted
        if not item or item.startswith("[") > ("]" in item) or item.endswith("]") > ("[" in item):
            raise ConfigError(f"{key}: got {shown(str(words))}, wants {wants}")
        if unquoted is not None:
            items.append(Literal(unquoted))
        else:
            # `null` in a list is a name as any other.
            items.append(Literal(item) if item in _NULLS else Words(item))
        rest = rest[found.end() :].strip()
    return items


def _flag(value: Any) -> bool | None:
    if isinstance(value, bool | SpelledBool):
        return bool(value)
    if isinstance(value, int) and value in (0, 1):
        return bool(value)
    return _FLAGS.get(value.strip().lower()) if isinstance(value, str) else None


def _whole(value: Any) -> int | None:
    if isinstance(value, str):
        return int(value) if len(value) < 4000 and _INT.fullmatch(value.strip()) else None
    return int(value) if isinstance(value, int) and not isinstance(value, bool | SpelledBool) else None


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        return float(value) if _FLOAT.fullmatch(value.strip()) else None
    if isinstance(value, int | float) and not isinstance(value, bool | SpelledBool):
        return float(value) if abs(value) < 1e300 or math.isnan(value) else math.inf
    return None


def _name(value: Any) -> str | None:
    """Text of a key that takes a number as well: `median`."""
    return str(value) if isinstance(value, str) else None


_READERS = {bool: _flag, int: _whole, float: _number, str: _name}


def _bounded(value: Any, key: str, options: tuple) -> Any:
    if isinstance(value, str):
        return text(value, key)
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        if abs(value) > LARGEST_INT:
            raise ConfigError(f"{key}: got {shown(value)}, wants {_wants(options, key)} of at most 64 bits")
    elif not math.isfinite(value) or abs(value) > LARGEST_FLOAT:
        wants = f"{_wants(options, key)} from -{LARGEST_FLOAT:g} to {LARGEST_FLOAT:g}"
        raise ConfigError(f"{key}: got {shown(value)}, wants {wants}")
    return value


def _options(kind: Any) -> tuple[tuple, bool]:
    """The types of a union, numbers before text, and whether None is one of them."""
    union = typing.get_origin(kind) in (typing.Union, types.UnionType)
    options = typing.get_args(kind) if union else (kind,)
    rest = [option for option in options if option is not type(None)]
    return tuple(sorted(rest, key=lambda option: option is str)), len(rest) < len(options)


def _is_list(option: Any) -> bool:
    origin, arguments = typing.get_origin(option), typing.get_args(option)
    return origin is list or (origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis)


def _wants(options: tuple, key: str) -> str:
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    if _is_list(options[0]):
        return f"a list such as {key}=[{_example(typing.get_args(options[0])[0], key)}]"
    return " or ".join(names.get(option, str(option)) for option in options)


def _example(item: Any, key: str) -> str:
    if item is str:
        return "old.csv, older.csv" if key == "data.sources" else "a, b"
    return {int: "64, 32", float: "0.5, 1.0", bool: "true, false"}.get(item, "...")


def shown(value: Any) -> str:
    """A value in a message: one line, and not all of a long one."""
    if isinstance(value, int) and abs(value) >= 10**40:
        return f"a number of {int(math.log10(abs(value))) + 1} digits"
    value = settle(str(value) if isinstance(value, str) else value)
    said = "nothing (null)" if value is None else repr(value).replace("\n", " ")
    return said if len(said) <= 80 else f"{said[:60]}... ({len(said)} letters)"


def _plain(key: Any) -> str:
    said = str(key)
    said = said if said.isprintable() else repr(said)[1:-1]
    return said if len(said) <= 80 else f"{said[:60]}..."
