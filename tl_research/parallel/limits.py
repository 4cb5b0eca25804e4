"""What a run may ask for in devices, strategy and precision: the one place that says what is refused, and why."""

from __future__ import annotations

import os

import torch
from omegaconf import DictConfig

from tl_research.config import check

#: Of one run on a CPU, however few cores it has.
MOST_PROCESSES = 16


def check_machine(config: DictConfig) -> None:
    """Raise `ConfigError` for what this machine cannot do, before anything is started."""
    trainer, where = config.trainer, accelerator(config)
    wants = "bf16-mixed or 32-true: float16 with a scaled loss needs a GPU, and this run is on the CPU"
    check(trainer.precision != "16-mixed" or where != "cpu", "trainer.precision", trainer.precision, wants)
    if where == "cpu":
        most = max(MOST_PROCESSES, 4 * (os.cpu_count() or 1))
        wants = f"at most {most}: on the CPU a device is a process"
        check(trainer.devices <= most, "trainer.devices", trainer.devices, wants)
    if where == "mps":
        check(trainer.devices == 1, "trainer.devices", trainer.devices, "1: there is one Apple GPU")
    if where == "cuda":
        found = torch.cuda.device_count()
        check(trainer.devices <= found, "trainer.devices", trainer.devices, f"at most the {found} GPUs of this machine")


def accelerator(config: DictConfig) -> str:
    """Kind of device that `trainer.accelerator` means on this machine: cpu, cuda or mps.

    Raises:
        ConfigError: this machine has none of that kind.
    """
    name = config.trainer.accelerator
    if name == "cpu":
        return name
    found = [
        kind
        for kind, there in (("cuda", torch.cuda.is_available), ("mps", torch.backends.mps.is_available))
        if name in ("auto", "gpu", kind) and there()
    ]
    what = {"cuda": "CUDA device", "mps": "Apple GPU"}.get(name, "GPU")
    check(bool(found) or name == "auto", "trainer.accelerator", name, f"auto or cpu: torch finds no {what} here")
    return found[0] if found else "cpu"
