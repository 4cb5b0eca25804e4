"""Every key of the configuration: root groups, and each registered data set, encoder, method, weighting and sampler."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

from tl_research.config import RunConfig
from tl_research.config.values import types_of
from tl_research.methods.source_parts import SeveralSources
from tl_research.registry import DATASETS, ENCODERS, METHODS, SAMPLERS, WEIGHTINGS, DatasetEntry


class Key(NamedTuple):
    """A key: its full name, its declared type, and a valid configuration in which it may be given."""

    entry: str
    full: str
    kind: Any
    base: dict[str, Any]

    def set(self, value: Any) -> dict[str, Any]:
        """The configuration with the key at `value`."""
        tree = copy.deepcopy(self.base)
        *parents, last = self.full.split(".")
        node = tree
        for part in parents:
            node = node.setdefault(part, {})
        node[last] = value
        return tree


def _data(entry: DatasetEntry, setting: str = "unsupervised") -> dict[str, Any]:
    known = entry.domains
    data = {"name": entry.name, "sources": ["old.csv"], "target": "new.csv", "label": "y"}
    if known:
        data = {"name": entry.name, "sources": [known[0]], "target": known[1]}
    if entry.task == "preference":
        return {key: data[key] for key in ("name", "sources", "target")}
    if entry.name == "product_files":
        data["text_columns"] = ["title"]
    shots = {"shots": 5} if setting == "few_shot" else {}
    return data | {"setting": setting} | shots


def _of(schema: type, entry: str, prefix: str, base: dict[str, Any], chosen: dict[str, type]) -> Iterator[Key]:
    for name, kind in types_of(schema).items():
        full = f"{prefix}{name}"
        below = chosen.get(full) or (kind if dataclasses.is_dataclass(kind) else None)
        if below is None:
            yield Key(entry, full, kind, base)
        else:
            yield from _of(below, entry, f"{full}.", base, chosen)


def every_key() -> list[Key]:
    """All keys, each once for every class that declares or inherits it."""
    market = _data(DATASETS.get("simulated_market"))
    root = {"data": market, "method": {"name": "source_only"}, "encoder": {"name": "mlp"}}
    keys = [
        key
        for key in _of(RunConfig, "run", "", root, {})
        if key.full.split(".")[0] not in ("data", "encoder", "method")
    ]
    for entry in DATASETS.entries():
        own = _of(entry.config, entry.name, "data.", {"data": _data(entry)}, {})
        keys += [key for key in own if key.full != "data.sampler"]
    for entry in ENCODERS.entries():
        keys += _of(entry.config, entry.name, "encoder.", root | {"encoder": {"name": entry.name}}, {})
    for entry in METHODS.entries():
        data = "simulated_shops" if entry.targets == ("preference",) else "simulated_market"
        # A method of open sets alone is refused where sets are equal; which rows there are is no matter here.
        sets = {} if "equal" in entry.label_sets else {"label_sets": entry.label_sets[0]}
        base = {
            "data": _data(DATASETS.get(data), entry.settings[0]) | sets,
            "method": {"name": entry.name},
        }
        if issubclass(entry.target, SeveralSources):
            base["data"]["sources"] = [DATASETS.get(data).domains[place] for place in (0, 2)]
        keys += [key for key in _of(entry.config, entry.name, "method.", base, {}) if key.full != "method.weighting"]
    for entry in WEIGHTINGS.entries():
        base = root | {"method": {"name": "source_only", "weighting": {"name": entry.name}}}
        keys += _of(entry.config, entry.name, "method.weighting.", base, {})
    for entry in SAMPLERS.entries():
        base = root | {"data": market | {"sampler": {"name": entry.name}}}
        keys += _of(entry.config, entry.name, "data.sampler.", base, {})
    return keys
