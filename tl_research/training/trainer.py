"""The Trainer of a run, and `fit`, in which Ctrl-C stays Ctrl-C."""

from __future__ import annotations

import logging
import signal
import threading
import warnings
from pathlib import Path

import lightning as L
from omegaconf import DictConfig

from tl_research.data.paired import PairedDataModule
from tl_research.methods.base import AdaptationModule
from tl_research.parallel import launch
from tl_research.parallel.launch import cluster_plugins
from tl_research.parallel.strategies import FollowingDDP, FullySharded


def fit(trainer: L.Trainer, module: AdaptationModule, data: PairedDataModule, checkpoint: Path | None) -> None:
    """`trainer.fit`, in which Ctrl-C stays Ctrl-C: Lightning makes exit code 1 of it and leaves SIGINT ignored.

    Raises:
        KeyboardInterrupt: after Ctrl-C.
    """
    handler = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(module, data, ckpt_path=None if checkpoint is None else str(checkpoint), weights_only=True)
    except SystemExit as error:
        if not isinstance(error.__context__, KeyboardInterrupt):
            raise
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from None


def make_trainer(config: DictConfig, callbacks: list, logger, folder: Path) -> L.Trainer:
    """The Trainer of a run: no validation loop (the Evaluator measures), no checkpoints but our own."""
    settings = config.trainer
    return L.Trainer(
        max_epochs=settings.max_epochs,
        max_steps=settings.max_steps,
        precision=settings.precision,
        accelerator=settings.accelerator,
        devices=settings.devices,
        strategy=strategy_of(config),
        plugins=launch.environments() or cluster_plugins(),
        num_nodes=settings.num_nodes,
        gradient_clip_val=settings.gradient_clip_val,
        accumulate_grad_batches=settings.accumulate_grad_batches,
        callbacks=callbacks,
        logger=logger or False,
        default_root_dir=folder,
        enable_checkpointing=False,
        enable_progress_bar=settings.progress_bar,
        enable_model_summary=False,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,  # the paired loader shards itself
    )


def strategy_of(config: DictConfig):
    """Return what Lightning's `strategy` is to be: one process, DDP that follows the trained parameters, or FSDP."""
    if launch.processes(config) == 1:
        return "auto"
    if config.trainer.strategy == "fsdp":
        return FullySharded()
    return FollowingDDP(find_unused_parameters=config.trainer.strategy == "ddp_find_unused_parameters_true")


def quiet_lightning() -> None:
    """Keep Lightning's banners and tips out of the output; its errors stay."""
    for name in ("lightning.pytorch", "lightning.pytorch.utilities.rank_zero", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*module.s. in eval mode at the start of training.*")
    warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
    warnings.filterwarnings("ignore", message=".*srun.*is available.*")
    warnings.filterwarnings("ignore", message=".*Checkpoint directory.*")
    warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*")
