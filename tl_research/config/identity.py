"""What names a run: the hash of what it computes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

from omegaconf import DictConfig, OmegaConf

from tl_research.config.fields import facts_of
from tl_research.config.schema import RunConfig


def run_id(config: DictConfig) -> str:
    """Return 12 hexadecimal digits: the hash of what a run computes, as its fields say (`config.fields`).

    A data set whose rows are the user's own files adds their content, so that changed files make a new run.
    """
    run: Any = OmegaConf.to_object(config)
    return id_of(run)


def id_of(run: RunConfig) -> str:
    """`run_id` of a `RunConfig`."""
    found = computed(run)
    content = run.data.content()
    if content is not None:
        found["fingerprint"] = content
    text = json.dumps(found, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def computed(group: Any) -> dict[str, Any]:
    """Return what a group (a dataclass) computes with, each key under the name and value that enter `run_id`."""
    found: dict[str, Any] = {}
    schema: type = type(group)
    for name, facts in facts_of(schema).items():
        value = getattr(group, name)
        if facts.get("launch") or (facts.get("added_later") and value == facts["default"]):
            continue
        if "content" in facts:
            value = facts["content"](value)
        if "formerly" in facts:
            name, value = facts["formerly"], facts["values"][value]
        found[name] = computed(value) if dataclasses.is_dataclass(value) else value
    return found
