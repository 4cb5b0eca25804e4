"""What names a run: the hash of what it computes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from tl_research.errors import ConfigError
from tl_research.registry import DATASETS, METHODS
from tl_research.storage.names import MODEL_FILE

#: Keys that say where and how a run is started, not what it computes: they are no part of `run_id`.
LAUNCH_KEYS = (
    "output",
    "wandb",
    "data.root",
    "data.num_workers",
    "data.resident",
    "trainer.accelerator",
    "trainer.threads",
    "trainer.progress_bar",
    "trainer.checkpoint_every_n_steps",
    "trainer.checkpoint_every_seconds",
    "selection.from_auto",
)


def run_id(config: DictConfig) -> str:
    """Return 12 hexadecimal digits: the hash of the resolved configuration less its launch keys.

    A data set whose rows are the user's own files adds their content (its `fingerprint`), so that changed
    files make a new run.
    """
    tree = OmegaConf.to_container(config, resolve=True)
    for key in LAUNCH_KEYS:
        *parents, last = key.split(".")
        node = tree
        for parent in parents:
            node = node[parent]
        node.pop(last, None)
    if tree["method"].get("weighting") is None:
        tree["method"].pop("weighting", None)  # runs are named as before there were weightings
    for group, entry in (("method", METHODS.get(config.method.name)), ("data", DATASETS.get(config.data.name))):
        for item in dataclasses.fields(entry.config):
            if item.metadata.get("added_later") and tree[group][item.name] == item.default:
                tree[group].pop(item.name)
    if "new_head" in tree["method"]:  # as before it was called so
        tree["method"]["head"] = "new" if tree["method"].pop("new_head") else "source"
    if "start" in tree["method"]:
        tree["method"]["start"] = start_fingerprint(tree["method"]["start"])
    task = DATASETS.get(config.data.name).config.__dataclass_fields__.get("task")
    if task is not None and tree["data"]["task"] == task.default:
        tree["data"].pop("task")  # and as before there were regression targets
    fingerprint = getattr(DATASETS.get(config.data.name).target, "fingerprint", None)
    if fingerprint is not None:
        tree["fingerprint"] = fingerprint(OmegaConf.to_object(config.data))
    text = json.dumps(tree, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def start_fingerprint(start: str) -> str:
    """What names a starting point in a `run_id`: its content, if it is a file."""
    if start in ("phases", "cached"):
        return start
    path = start_folder(start) / MODEL_FILE
    if not path.is_file():
        raise ConfigError(f"method.start: {path}: there is no such file; wants phases, cached, or a run's folder")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def start_folder(start: str) -> Path:
    path = Path(start)
    return path.parent if path.name == MODEL_FILE else path
