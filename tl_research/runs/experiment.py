"""One run, from configuration to result record: the only place where data, method and engine meet."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import lightning as L
import torch
from omegaconf import DictConfig, OmegaConf

from tl_research import config as configuration
from tl_research.config import rules
from tl_research.data.fitted import FittedData
from tl_research.data.paired import PairedDataModule
from tl_research.data.target_alone import TargetAlone
from tl_research.errors import UserError
from tl_research.methods.base import AdaptationModule
from tl_research.methods.build import build_method
from tl_research.methods.finished_run import SourceFree
from tl_research.methods.staged import ParameterMethod
from tl_research.parallel import launch, limits, preemption
from tl_research.registry import DATASETS, METHODS, SOURCE_FREE
from tl_research.runs import starting
from tl_research.runs.ending import finished_record, recorded, refuse_damaged_weights
from tl_research.runs.environment import environment
from tl_research.runs.filling import fill
from tl_research.runs.folder import make_folder
from tl_research.runs.record import Record, blank_record
from tl_research.runs.tracking import close, make_logger
from tl_research.storage.checkpoints import find_resume, fitting, load_model_file
from tl_research.storage.lock import exclusive
from tl_research.storage.names import MODEL_FILE
from tl_research.training.engines import ENGINES
from tl_research.training.measuring import Measuring
from tl_research.training.trainer import quiet_lightning


def run(config: DictConfig, *, suite: str = "") -> Record:
    """Carry out one run and return its record; a run that is already `ok` and has its weights is not repeated.

    The run's folder is `<config.output>/<run_id>`. A resume checkpoint in it is used. A finished run whose `model.ckpt`
    is gone is carried out again, and its record made anew, so that the two are of one training. A run that fails
    leaves a record that says so (`failed`, `diverged`, `oom`) before the error is raised. A run on several devices is
    carried out by as many processes, started here unless srun or torchrun has started them: then each of them calls
    this, and rank 0 writes; where one fails, the first that does writes the record, and the others exit with code 1.

    Args:
        config: from `config.compose`.
        suite: name of the suite it belongs to, for the record and W&B's group.

    Raises:
        UserError: the configuration or the data are at fault.
        OutputError: the folder cannot be written.
        NonFiniteLoss: a loss term became NaN or infinite.
    """
    folder = Path(config.output) / configuration.run_id(config)
    make_folder(folder, config.output)
    finished = finished_record(folder)
    if finished is not None:
        return finished
    family = METHODS.get(config.method.name).family
    record = blank_record(config, run_id=folder.name, suite=suite, family=family)
    record.environment = dict(environment())
    record.started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    is_task = launch.is_one_of_several_tasks()
    with recorded(folder, record, output=config.output, rank=launch.process_rank(), is_task=is_task):
        limits.check_machine(config)
        starts_here, checkpoint = launch.is_to_be_started(config), find_resume(folder)
        # What it begins with may be a whole run, with processes of its own.
        start = None
        if not checkpoint or config.data.setting == SOURCE_FREE:
            start = starting.find_start(config, lambda source: run(source, suite=suite))
        arguments = (folder, record, suite, checkpoint, start)
        if starts_here:
            tree = OmegaConf.to_container(config, resolve=True)
            filled = launch.on_every_device(_one_rank, (tree, *arguments), devices=config.trainer.devices)
            vars(record).update(vars(filled))
        else:
            _train_and_measure(config, *arguments)
    return record


def run_alone(config: DictConfig) -> Record:
    """Carry out one run as `run` does, holding its folder's lock, which of several processes rank 0 holds for all.

    Raises:
        UserError: as `run`; and where another process is at work on the same run.
        RunFailure: the run is finished, and its weights are damaged.
    """
    preemption.listen()
    if launch.process_rank() > 0:
        return run(config)
    folder = Path(config.output) / configuration.run_id(config)
    make_folder(folder, config.output)
    with exclusive(folder) as mine:
        if not mine:
            raise UserError(f"{folder}: another process is at work on this very run")
        try:
            record = run(config)
        except preemption.Preempted:
            preemption.requeue()
            raise
        refuse_damaged_weights(folder)
        return record


def _one_rank(tree: dict[str, Any], *arguments: Any) -> Record:
    # Composed in the new process, which then knows the classes of methods from outside the package.
    return _train_and_measure(configuration.compose(tree, resolved=True), *arguments)


def _train_and_measure(
    config: DictConfig, folder: Path, record: Record, suite: str, checkpoint: Path | None, start: Path | None
) -> Record:
    """In each of the run's processes: data, engine, figures. Return the record, filled in.

    Args:
        config: of the run.
        folder: of the run.
        record: blank.
        suite: for W&B's group.
        checkpoint: resume checkpoint to go on from, or None.
        start: folder of the run whose weights it begins with, or None.
    """
    quiet_lightning()
    if config.trainer.threads is not None:
        torch.set_num_threads(config.trainer.threads)
    # Initial weights come from the seed; batches, splits and shots draw from generators of their own.
    L.seed_everything(config.seed, verbose=False)
    data = _data(config, start)
    measured = Measuring(config, data, folder)
    module = _method(config, data, measured)
    if isinstance(module, ParameterMethod) and checkpoint is None:
        starting.begin(module, start, config, data)
    if isinstance(module, SourceFree) and checkpoint is None:
        starting.begin_source_free(module, start, config)
    if config.trainer.compile:
        module.encoder.compile()
        module.head.compile()
    logger = make_logger(config, record.run_id, suite, folder)
    try:
        engine = ENGINES[module.engine](
            config, data, folder, measuring=measured.callbacks, logger=logger, checkpoint=checkpoint
        )
        engine.run(module)
        fill(record, config, folder, data=data, module=module, engine=engine, measured=measured)
    finally:
        close(logger)
    return record


def _data(config: DictConfig, start: Path | None) -> PairedDataModule:
    """Return the run's data, read and split; in the setting `source_free` as the run in the folder `start` read its."""
    entry = METHODS.get(config.method.name)
    options = {"seed": config.seed, "reads": entry.target.reads}
    if config.data.setting == SOURCE_FREE:
        content = load_model_file(start)
        with fitting(start / MODEL_FILE):
            fitted = FittedData.of(content)
        data = TargetAlone(OmegaConf.to_object(config.data), fitted=fitted, **options)
    else:
        module = DATASETS.get(config.data.name).module or PairedDataModule
        data = module(OmegaConf.to_object(config.data), **options)
    data.setup()
    # Here for data whose kind of label is in its files; `compose` has refused the rest.
    rules.check_target(entry, data.outcome.kind, rule=config.selection.rule)
    return data


def _method(config: DictConfig, data: PairedDataModule, measured: Measuring) -> AdaptationModule:
    """Return the run's method with its first weights, checked against data and Trainer."""
    module = build_method(config, data.spec, data.outcome)
    module.seed = config.seed
    if module.needs_target_val:
        measured.require_target_val()
    return module
