"""One run, from configuration to result record: the only place where data, method and Trainer meet."""

from __future__ import annotations

import datetime
import gc
import logging
import time
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException
from omegaconf import DictConfig, OmegaConf

from tl_research import config as configuration
from tl_research.config import rules
from tl_research.data.paired import PairedDataModule
from tl_research.errors import NonFiniteLoss, UserError, is_out_of_memory
from tl_research.evaluation import evidence
from tl_research.evaluation.choice import ChooseWeights
from tl_research.evaluation.evaluator import Evaluator
from tl_research.evaluation.resources import predict_cost, size_mb
from tl_research.evaluation.scorable import rule_of_run
from tl_research.evaluation.selection import select
from tl_research.evaluation.throughput import peak_memory_mb, reset_peak_memory
from tl_research.methods.base import AdaptationModule
from tl_research.methods.build import build_method
from tl_research.methods.staged import ParameterMethod
from tl_research.parallel import launch, limits, preemption, ranks
from tl_research.parallel.sharding import is_sharded
from tl_research.registry import DATASETS, METHODS
from tl_research.runs import crash, starting
from tl_research.runs.environment import environment
from tl_research.runs.folder import AGAIN_FILE, is_of_writing, make_folder, output_error
from tl_research.runs.record import (
    RECORD_FILE,
    Record,
    blank_record,
    check_owner,
    read_record,
    write_history,
    write_record,
)
from tl_research.runs.tracking import close, log_summary, make_logger
from tl_research.storage.checkpoints import find_resume, load_model_file, remove_resume
from tl_research.storage.files import version
from tl_research.storage.lock import exclusive
from tl_research.storage.names import MODEL_FILE
from tl_research.training.callbacks import Prepare, StepTimerCallback
from tl_research.training.random_state import RandomState, RandomStateOfRanks
from tl_research.training.resume import ResumeCheckpoint, TakeUp
from tl_research.training.selected import KeepSelected
from tl_research.training.stopping import StopWhenAsked
from tl_research.training.trainer import fit, make_trainer, quiet_lightning

_log = logging.getLogger(__name__)


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
    identifier = configuration.run_id(config)
    folder = Path(config.output) / identifier
    make_folder(folder, config.output)
    present = read_record(folder)
    if present is not None:
        check_owner(folder, present)
    was_finished = present is not None and present.status == "ok"
    if was_finished:
        if (folder / MODEL_FILE).is_file() and not (folder / AGAIN_FILE).exists():
            return present
        _log.warning("%s: the weights of this finished run are gone; it is carried out again", folder / MODEL_FILE)
        (folder / AGAIN_FILE).touch()
    before, begun = version(folder / RECORD_FILE), time.monotonic()
    family = METHODS.get(config.method.name).info["family"]
    record = blank_record(config, run_id=identifier, suite=suite, family=family)
    record.environment = dict(environment())
    record.started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    try:
        limits.check_machine(config)
        if launch.is_to_be_started(config):
            # What it begins with may be a whole run, with processes of its own.
            starting.find_start(config, lambda source: run(source, suite=suite))
            tree = OmegaConf.to_container(config, resolve=True)
            record = launch.on_every_device(_one_rank, (tree, folder, record, suite), devices=config.trainer.devices)
        else:
            record = _train_and_measure(config, folder, record, suite)
    except (KeyboardInterrupt, SIGTERMException, preemption.Preempted, preemption.Terminated):
        raise  # interrupted, not failed: the next start goes on from the resume checkpoint
    except BaseException as error:
        crash.belongs_to(error, folder)
        is_lost = launch.is_one_of_several_tasks() and version(folder / RECORD_FILE) != before
        if is_lost and not isinstance(error, UserError):
            # Another process has said what went wrong; this one can only say that it is alone.
            raise SystemExit(1) from None
        record.status = _status_of(error)
        record.message = f"{type(error).__name__}: {error}".split("\n")[0][:500]
        record.seconds = time.monotonic() - begun
        record.metrics = {}
        writes = launch.process_rank() == 0 or launch.is_one_of_several_tasks()
        try:
            if writes and not was_finished:
                write_record(folder, record)
        except OSError as unwritten:
            raise output_error(config.output, unwritten) from None
        if isinstance(error, OSError) and is_of_writing(error, config.output):
            raise output_error(config.output, error) from None
        raise
    finally:
        # Trainer and module refer to each other: without this the data of one run outlive it, and a worker that
        # does hundreds of runs fills the memory.
        gc.collect()
    record.status = "ok"
    record.seconds = time.monotonic() - begun
    if launch.process_rank() == 0:
        try:
            write_record(folder, record, replaces=was_finished)
        except OSError as error:
            raise output_error(config.output, error) from None
        remove_resume(folder)
        for name in (AGAIN_FILE, crash.ERROR_FILE):
            (folder / name).unlink(missing_ok=True)
    return record


def run_alone(config: DictConfig) -> Record:
    """Carry out one run as `run` does, holding its folder's lock, which of several processes rank 0 holds for all.

    Raises:
        UserError: as `run`; and where another process is at work on the same run.
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
            return run(config)
        except preemption.Preempted:
            preemption.requeue()
            raise


def _one_rank(tree: dict[str, Any], folder: Path, record: Record, suite: str) -> Record:
    # Composed in the new process, which then knows the classes of methods from outside the package.
    return _train_and_measure(configuration.compose(tree, resolved=True), folder, record, suite)


def _train_and_measure(config: DictConfig, folder: Path, record: Record, suite: str) -> Record:
    """In each of the run's processes: train, measure, and return the record filled in."""
    quiet_lightning()
    settings = config.trainer
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    checkpoint = find_resume(folder)
    resumes = checkpoint is not None
    # Before anything is seeded: it may be a whole run.
    start = None if resumes else starting.find_start(config, lambda source: run(source, suite=suite))
    # Initial weights come from the seed; batches, splits and shots draw from generators of their own.
    L.seed_everything(config.seed, verbose=False)
    method_entry, data_entry = METHODS.get(config.method.name), DATASETS.get(config.data.name)
    data = PairedDataModule(OmegaConf.to_object(config.data), seed=config.seed, reads=method_entry.target.reads)
    data.setup()
    # Here for data whose kind of label is in its files; `compose` has refused the rest.
    outcome, own_metric = data.outcome, data_entry.info["metric"]
    rules.check_target(method_entry, outcome.kind, rule=config.selection.rule)
    metric = outcome.selection_metric(own_metric)
    splits, domains = data.release_evaluation(), [*config.data.sources, config.data.target]
    labels = {
        "outcome": outcome,
        "shown": data.sides["target_labeled"].size if "target_labeled" in data.sides else None,
    }
    rule, remark = rule_of_run(config.selection.rule, splits, metric, from_auto=config.selection.from_auto, **labels)
    evaluator = Evaluator(
        splits,
        data.sides["source"],
        data.sides["target"],
        outcome=outcome,
        seed=config.seed,
        domains=domains,
        shown=outcome.shown_metric(own_metric),
    )
    module = build_method(config, data.spec, outcome)
    module.seed = config.seed
    if module.needs_target_val:
        # Refused before training where the shots leave none.
        rule_of_run("target_val", splits, metric, from_auto=False, **labels)
    limits.check_method(config, module)
    if isinstance(module, ParameterMethod) and not resumes:
        starting.begin(module, start, config, data)
    timer = StepTimerCallback(config.data.batch_size)
    extra = {
        "config": OmegaConf.to_container(config, resolve=True),
        "transform": data.transform.state_dict(),
        "schema": data.schema and data.schema.state_dict(),
        "outcome": outcome.state_dict(),
    }
    keep = KeepSelected(folder, evaluator, rule=rule, metric=metric, extra=extra)
    resume = ResumeCheckpoint(
        folder, every_n_steps=settings.checkpoint_every_n_steps, every_seconds=settings.checkpoint_every_seconds
    )
    choose = ChooseWeights(splits, outcome, metric, domains=domains)
    random_state = RandomStateOfRanks() if launch.processes(config) > 1 else RandomState()
    take_up = TakeUp(checkpoint)
    callbacks = [Prepare(data), random_state, timer, choose, evaluator, keep, resume, StopWhenAsked(resume), take_up]
    if settings.progress_bar and launch.process_rank() == 0:
        callbacks.append(L.pytorch.callbacks.RichProgressBar())
    logger = make_logger(config, record.run_id, suite, folder)
    try:
        trainer = make_trainer(config, callbacks, logger, folder, trains=module.trains)
        if settings.compile:
            module.encoder.compile()
            module.head.compile()
        reset_peak_memory(trainer.strategy.root_device)
        with take_up.watched():
            fit(trainer, module, data, checkpoint)
        if rule == "last" and keep.kept_epoch is None:
            # Resumed behind the last epoch: there was nothing left to train, and no end of training.
            keep.on_train_end(trainer, module)
        record.metrics = select(evaluator.history, metric)
        if rule not in record.metrics:
            remark = f"selection.rule={rule}: no epoch has a score by it; the weights of the last epoch are kept"
            rule = "last"
            keep.keep_last(trainer, module)
        record.selection_rule = rule
        record.throughput = timer.timer.summary()
        if evaluator.predict_samples_per_s:
            # The first pass pays for warming up.
            passes = sorted(evaluator.predict_samples_per_s[1:] or evaluator.predict_samples_per_s)
            record.throughput["predict_samples_per_s"] = passes[len(passes) // 2]
        parameters = list(module.parameters())
        record.resources = {
            "parameters": sum(p.numel() for p in parameters),
            "trainable_parameters": sum(p.numel() for p in parameters if p.requires_grad),
            "peak_memory_mb": ranks.largest_across_ranks(peak_memory_mb(trainer.strategy.root_device)),
        }
        if trainer.is_global_zero:
            context = trainer.precision_plugin.forward_context
            alone = _as_one_process_has_it(config, data, folder) if is_sharded(module) else module
            record.resources |= predict_cost(alone, evaluator.splits["target_test"].inputs, context=context)
            record.resources["size_mb"] = size_mb(folder / MODEL_FILE)
        record.data = data.facts | ({"method": module.facts} if module.facts else {})
        remarks = [*data.facts.get("remarks", ()), *module.facts.get("remarks", ())] + ([remark] if remark else [])
        if remarks:
            record.data["remarks"] = remarks
        evidence.add_to_record(record, evaluator)
        record.environment |= {
            "device": _device_name(trainer.strategy.root_device),
            "threads": torch.get_num_threads(),
            "processes": trainer.world_size,
        }
        if trainer.is_global_zero:
            write_history(folder, evaluator.history)
            if trainer.logger is not None:
                log_summary(trainer.logger, record)
    finally:
        close(logger)
    return record


def _as_one_process_has_it(config: DictConfig, data: PairedDataModule, folder: Path) -> AdaptationModule:
    """The method with the weights that were kept, whole: rank 0 can call it without the others."""
    module = build_method(config, data.spec, data.outcome)
    module.load_state_dict(load_model_file(folder)["model"])
    return module


def _status_of(error: BaseException) -> str:
    if isinstance(error, NonFiniteLoss):
        return "diverged"
    return "oom" if is_out_of_memory(error) else "failed"


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
