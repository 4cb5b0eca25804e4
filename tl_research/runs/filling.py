"""What a record holds at the end of a run, from where it was measured."""

from __future__ import annotations

from pathlib import Path

import torch
from omegaconf import DictConfig

from tl_research.data.paired import PairedDataModule
from tl_research.evaluation import evidence
from tl_research.evaluation.resources import predict_cost, size_mb
from tl_research.evaluation.throughput import peak_memory_mb
from tl_research.methods.base import AdaptationModule
from tl_research.methods.build import build_method
from tl_research.parallel import ranks
from tl_research.parallel.sharding import is_sharded
from tl_research.runs.record import Record, write_history
from tl_research.runs.tracking import log_summary
from tl_research.storage.checkpoints import load_model_file
from tl_research.storage.names import MODEL_FILE
from tl_research.training.engines import Engine
from tl_research.training.measuring import Measuring


def fill(
    record: Record,
    config: DictConfig,
    folder: Path,
    *,
    data: PairedDataModule,
    module: AdaptationModule,
    engine: Engine,
    measured: Measuring,
) -> None:
    """Fill the record in, in each of the run's processes; rank 0 writes the history beside it."""
    trainer, evaluator = engine.trainer, measured.evaluator
    record.metrics = measured.select(trainer, module)
    record.selection_rule = measured.rule
    record.throughput = engine.throughput()
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
        kept = _as_one_process_has_it(config, data, folder).to(trainer.strategy.root_device)
        record.resources["size_mb"] = size_mb(folder / MODEL_FILE)
    record.data = data.facts | ({"method": module.facts} if module.facts else {})
    remarks = [*data.facts.get("remarks", ()), *module.facts.get("remarks", ())]
    remarks += [measured.remark] if measured.remark else []
    if remarks:
        record.data["remarks"] = remarks
    evidence.add_to_record(record, evaluator)
    if trainer.is_global_zero:
        record.data["test"]["without"] = evaluator.left_out(kept, data.test_part, context)
        if learnt := kept.learnt_facts():
            record.data["method"] = record.data.get("method", {}) | learnt
    record.environment |= {
        "device": _device_name(trainer.strategy.root_device),
        "threads": torch.get_num_threads(),
        "processes": trainer.world_size,
    }
    if trainer.is_global_zero:
        write_history(folder, evaluator.history)
        if trainer.logger is not None:
            log_summary(trainer.logger, record)


def _as_one_process_has_it(config: DictConfig, data: PairedDataModule, folder: Path) -> AdaptationModule:
    """Return the method with the weights that were kept, whole: rank 0 can call it without the other ranks."""
    module = build_method(config, data.spec, data.outcome)
    module.load_state_dict(load_model_file(folder)["model"])
    return module


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
