"""What a run may ask for in devices, strategy and precision: the one place that says what is refused, and why."""

from __future__ import annotations

import torch
from omegaconf import DictConfig

from tl_research.config import check, check_choice

DDP = ("auto", "ddp", "ddp_find_unused_parameters_true")
SHARDED = ("fsdp",)


def check_config(config: DictConfig, method_entry) -> None:
    """Raise `ConfigError` for what no machine can do."""
    trainer, method = config.trainer, method_entry.name
    check_choice("trainer.strategy", trainer.strategy, (*DDP, *SHARDED))
    if trainer.strategy in SHARDED:
        reason = method_entry.target.not_sharded
        check(reason is None, "trainer.strategy", trainer.strategy, f"auto or ddp: method {method!r} {reason}")


def check_machine(config: DictConfig) -> None:
    """Raise `ConfigError` for what this machine cannot do, before anything is started."""
    trainer, where = config.trainer, accelerator(config)
    wants = "auto or ddp: Lightning shards a model over GPUs only, and this run is on the CPU"
    check(trainer.strategy not in SHARDED or where != "cpu", "trainer.strategy", trainer.strategy, wants)
    wants = "bf16-mixed or 32-true: float16 with a scaled loss needs a GPU, and this run is on the CPU"
    check(trainer.precision != "16-mixed" or where != "cpu", "trainer.precision", trainer.precision, wants)
    if where == "cuda":
        found = torch.cuda.device_count()
        check(trainer.devices <= found, "trainer.devices", trainer.devices, f"at most the {found} GPUs of this machine")


def accelerator(config: DictConfig) -> str:
    """Kind of device that `trainer.accelerator` means on this machine: cpu, cuda, or what it says."""
    name = config.trainer.accelerator
    if name in ("auto", "gpu", "cuda"):
        if torch.cuda.is_available():
            return "cuda"
        check(name == "auto", "trainer.accelerator", name, "auto or cpu: this machine has no GPU that torch can use")
        return "mps" if torch.backends.mps.is_available() else "cpu"
    return name
