"""What is asked of a merged configuration before it is used: nothing missing, every group's own checks."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import (
    GrammarParseError,
    InterpolationKeyError,
    InterpolationResolutionError,
    OmegaConfBaseException,
)

from tl_research.errors import ConfigError


def refuse_missing(config: DictConfig, data_entry) -> None:
    """Raise `ConfigError` that names the first key without a value."""
    missing = sorted(OmegaConf.missing_keys(config))
    if not missing:
        return
    key, domains = missing[0], data_entry.info["domains"]
    hint = f" (known domains: {', '.join(domains)})" if key in ("data.sources", "data.target") and domains else ""
    raise ConfigError(f"{key}: missing; it has no default, give it in the recipe or as {key}=...{hint}")


def run_checks(config: DictConfig) -> None:
    """Run every `__post_init__`; the full key of a group within a group is put in front of its message."""
    for group in ("encoder",):
        for name, part in config[group].items():
            if not (isinstance(part, DictConfig) and dataclasses.is_dataclass(OmegaConf.get_type(part))):
                continue
            own = next(
                (item.default for item in dataclasses.fields(OmegaConf.get_type(part)) if item.name == "name"), None
            )
            if own is not None and part.name != own:
                wants = f"{own!r}: what stands here has no other"
                raise ConfigError(f"{group}.{name}.name: got {part.name!r}, wants {wants}")
            try:
                OmegaConf.to_object(part)
            except ConfigError as error:
                below = re.sub(rf"^{group}\.(?!{name}\.)", f"{group}.{name}.", str(error))
                raise ConfigError(below) from None
    OmegaConf.to_object(config)


def readable(error: OmegaConfBaseException, filled: Iterable[str]) -> str:
    """One line about what OmegaConf refused, in the words of this project.

    Args:
        error: what it raised.
        filled: full keys of the values that stand for others (`${seed}`).
    """
    first = str(error.msg if getattr(error, "msg", None) else error).split("\n")[0]
    key = str(getattr(error, "full_key", None) or ", ".join(filled) or "configuration")
    literally = "in a file, \\${...} is the text itself"
    if isinstance(error, InterpolationKeyError):
        return f"{key}: ${{...}} names no key of the configuration; {literally}"
    if isinstance(error, GrammarParseError):
        return f"{key}: ${{ is not closed, or holds no key; {literally}"
    if isinstance(error, InterpolationResolutionError) or filled:
        return f"{key}: ${{...}} stands for a value of another type, or for itself; {literally}"
    return first if first.startswith(key) else f"{key}: {first}"
