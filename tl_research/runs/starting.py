"""Where the weights of the source stage come from when it is no part of the run's own fit."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from tl_research.config import compose, run_id
from tl_research.config.rules import has_target_val
from tl_research.errors import ConfigError
from tl_research.methods.finished_run import SourceFree
from tl_research.methods.staged import source_epochs
from tl_research.parallel import launch
from tl_research.parallel.preemption import stop_if_asked
from tl_research.registry import SOURCE_FREE
from tl_research.runs.record import read_record
from tl_research.storage.checkpoints import load_model_file
from tl_research.storage.lock import exclusive
from tl_research.storage.start import start_folder

POLL_SECONDS = 0.2


def source_stage(config: DictConfig) -> DictConfig | None:
    """Return the configuration of the run that the source stage of `config` is; None where it has none.

    That is `source_only` for the epochs of the source stage, on the same data, encoder, optimiser and seed, its last
    epoch. The setting is `unsupervised` where no target row is held out for validation. Where some are (`supervised`,
    and `few_shot` of five labels per class or more), setting and shots stay: those rows are in no transform and make
    the epoch shorter, so that weights of another draw would meet inputs that they were not trained on.
    """
    if config.data.setting == SOURCE_FREE:
        return _whole_source(config)
    share = getattr(config.method, "source_share", None)
    if not share or not hasattr(config.method, "start"):
        return None
    tree = OmegaConf.to_container(config, resolve=True)
    tree["method"] = {"name": "source_only"}
    if config.method.get("weighting") is not None:
        tree["method"]["weighting"] = OmegaConf.to_container(config.method.weighting, resolve=True)
    if not has_target_val(config.data):
        tree["data"] |= {"setting": "unsupervised", "shots": None}
    tree["trainer"]["max_epochs"] = source_epochs(share, config.trainer.max_epochs)
    tree["selection"]["rule"] = "last"
    return compose(tree, resolved=True)


def _whole_source(config: DictConfig) -> DictConfig:
    """The run of `source_only` that a method of the setting `source_free` begins with, its epoch chosen as ever."""
    tree = OmegaConf.to_container(config, resolve=True)
    tree["method"] = {"name": "source_only"}
    tree["data"]["setting"] = "unsupervised"
    tree["trainer"]["max_epochs"] = config.method.source_epochs or config.trainer.max_epochs
    tree["selection"]["rule"] = "auto"
    return compose(tree, resolved=True)


def find_start(config: DictConfig, run: Callable[[DictConfig], Any]) -> Path | None:
    """Return the folder of the run whose weights a run begins with; None where it begins with none.

    With `method.start=cached` the run of the source stage is carried out by `run` where it has not been, under the
    lock of its folder; where another process is at it, this one waits.

    Raises:
        ConfigError: processes of srun or torchrun would have to carry it out.
    """
    start = config.method.get("start", "phases")
    if start == "phases":
        return None
    if start != "cached":
        return start_folder(start)
    source = source_stage(config)
    folder = Path(source.output) / run_id(source)
    # In a group of processes each would wait for the others, or for the lock.
    if launch.is_one_of_several_tasks() or launch.is_in_group():
        record = read_record(folder)
        if record is None or record.status != "ok":
            other = "the path of a finished run" if config.data.setting == SOURCE_FREE else "phases"
            wants = f"{other}: processes that srun or torchrun has started cannot run the source stage on the way"
            raise ConfigError(f"method.start: got 'cached', wants {wants}")
        return folder
    while True:
        with exclusive(folder) as mine:
            if mine:
                run(source)
                return folder
        stop_if_asked()
        time.sleep(POLL_SECONDS)


def begin(module, folder: Path | None, config: DictConfig, data) -> None:
    """Hand the weights of another run to the method and note in its facts where they come from.

    Args:
        module: a `ParameterMethod`.
        folder: of that run, from `find_start`; None where the source stage is part of this one.
        config: of the run.
        data: its data module, set up.

    Raises:
        ConfigError: the encoder does not fit; names the first parameter that does not.
        DataError: the folder has no model file of ours.
        RuntimeError: the source stage was trained on inputs of another transform.
    """
    source = source_stage(config)
    facts: dict[str, Any] = {"from": "phases", "source_epochs": module.source_epochs}
    if source is not None and (folder is None or config.method.start == "cached"):
        facts["source_run_id"] = run_id(source)
    if folder is None:
        module.facts["start"] = facts | {"head": _head(config)}
        return
    content = load_model_file(folder)
    model = _as_measured(content["model"])
    if config.method.start == "cached":
        facts["from"] = "cached"
        if not _same(data.transform.state_dict(), content["transform"]):
            raise RuntimeError(f"the source stage {facts['source_run_id']} has inputs of another transform")
    else:
        start = config.method.start
        facts |= {"from": "checkpoint", "source_run_id": run_id(compose(content["config"], resolved=True))}
        _check_encoder(module.encoder.state_dict(), model, start)
        _check_columns(data.transform.state_dict(), content["transform"], start)
        facts["same_transform"] = _same(data.transform.state_dict(), content["transform"])
    head = _head(config)
    own = module.head.state_dict()
    fits = all(f"head.{name}" in model and model[f"head.{name}"].shape == value.shape for name, value in own.items())
    if not (data.outcome.fits_head_of(content["outcome"]) and fits):
        model = {name: value for name, value in model.items() if not name.startswith("head.")}
        head = "new: the checkpoint's is of other classes"
    module.start_from(model, facts | {"head": head})


def begin_source_free(module: SourceFree, folder: Path, config: DictConfig) -> None:
    """Hand encoder and head of a finished run to the method, and note in its facts which run that is.

    Args:
        module: of the run, whose data are read as the finished run read its own.
        folder: of the finished run, from `find_start`.
        config: of the run.

    Raises:
        ConfigError: the encoder does not fit; names the first parameter that does not.
        DataError: the folder has no model file of ours.
    """
    content, start = load_model_file(folder), config.method.start
    model = _as_measured(content["model"])
    _check_encoder(module.encoder.state_dict(), model, start)
    facts = {"from": "cached" if start == "cached" else "checkpoint"}
    facts |= {"source_run_id": run_id(compose(content["config"], resolved=True)), "epoch": content["epoch"]}
    module.start_from(model, facts | {"head": "source"})


def _head(config: DictConfig) -> str:
    return "new" if config.method.new_head else "source"


def _as_measured(model: dict[str, Tensor]) -> dict[str, Tensor]:
    """Encoder and head as they were measured, of a run that trains others (`wise_ft`, `model_soup`)."""
    prefix = "chosen.module."
    return model | {name[len(prefix) :]: value for name, value in model.items() if name.startswith(prefix)}


def _check_encoder(own: dict[str, Tensor], model: dict[str, Tensor], start: str) -> None:
    there = {name[len("encoder.") :]: value for name, value in model.items() if name.startswith("encoder.")}
    for name in [*own, *(name for name in there if name not in own)]:
        shapes = [tuple(part[name].shape) if name in part else "absent" for part in (there, own)]
        if shapes[0] != shapes[1]:
            raise ConfigError(
                f"method.start: the encoder of {start} does not fit: encoder.{name} is {shapes[0]} there and "
                f"{shapes[1]} here"
            )


def _check_columns(own: dict[str, Any], there: dict[str, Any], start: str) -> None:
    # An embedding of the same size for other categories would fit and mean something else.
    for kind in ("numeric", "categorical"):
        here, then = ([_column(column) for column in state.get(kind) or []] for state in (own, there))
        for a, b in zip(here, then, strict=False):
            if a != b:
                raise ConfigError(
                    f"method.start: the inputs of {start} are others: column {b[0]!r} there, {a[0]!r} here"
                )
    words, others = own.get("words") or [], there.get("words") or []
    if words and others and words != others:
        a, b = next(((a, b) for a, b in zip(words, others, strict=False) if a != b), (len(words), len(others)))
        raise ConfigError(
            f"method.start: the words that {start} reads are others: {b!r} there where {a!r} is here; "
            "data.text.form=hashed and pretrained read every text alike"
        )
    here, then = own.get("projection"), there.get("projection")
    if here is not None and then is not None and not torch.equal(here, then):
        raise ConfigError(f"method.start: the latent columns of the texts that {start} reads are others")
    parts = own.get("parts", {})
    for name in parts:
        _check_columns(parts[name], there.get("parts", {}).get(name, {}), start)


def _column(column: dict[str, Any]) -> tuple:
    return column["name"], tuple(column.get("values", ())), column.get("missing")


def _same(own: Any, there: Any) -> bool:
    if isinstance(own, dict):
        return isinstance(there, dict) and own.keys() == there.keys() and all(_same(own[k], there[k]) for k in own)
    if isinstance(own, (list, tuple)):
        return len(own) == len(there) and all(_same(a, b) for a, b in zip(own, there, strict=True))
    if isinstance(own, Tensor):
        return own.shape == there.shape and bool((own == there).all())
    return own == there
