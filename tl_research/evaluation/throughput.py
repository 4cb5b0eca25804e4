"""How fast training runs and how much memory it takes."""

from __future__ import annotations

import re
import sys
from array import array
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

_PENDING = 256  # CUDA events kept before they are read
MB = 1e6


class StepTimer:
    """Times what lies between `start()` and `stop(samples)`, warm-up steps left out.

    On a CUDA device the times are those of events in the current stream: the host is made to wait only once in
    256 steps and in `summary()`, never within a step. Elsewhere they are read from a clock. What is timed is up
    to the caller: a step with the loading of its batch if `start()` comes before the batch is fetched.

    Args:
        device: device that the steps run on.
        warmup: first steps to leave out (compilation, memory allocation, autotuning).
        clock: seconds, monotonic; used where the device is not CUDA.
    """

    def __init__(
        self, device: torch.device | str = "cpu", *, warmup: int = 10, clock: Callable[[], float] = perf_counter
    ):
        if warmup < 0:
            raise ValueError(f"warmup: got {warmup}, wants 0 or more")
        self.device = torch.device(device)
        self.warmup = warmup
        self._clock = clock
        self._cuda = self.device.type == "cuda"
        self._begun = None
        self._steps = 0
        self._seconds = array("d")
        self._samples = 0
        self._pending: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    def start(self) -> None:
        """Begin a step; a step that was begun and not stopped is forgotten."""
        self._begun = self._event() if self._cuda else self._clock()

    def stop(self, samples: int) -> None:
        """End the step, which trained on this many rows.

        Raises:
            RuntimeError: no step was begun.
        """
        if self._begun is None:
            raise RuntimeError("StepTimer.stop() without start()")
        ended = self._event() if self._cuda else self._clock()
        self._steps += 1
        if self._steps > self.warmup:
            self._samples += samples
            if self._cuda:
                self._pending.append((self._begun, ended))
                if len(self._pending) >= _PENDING:
                    self._read_events()
            else:
                self._seconds.append(ended - self._begun)
        self._begun = None

    def summary(self) -> dict[str, float]:
        """Return train_samples_per_s, step_ms_p50 and step_ms_p95; empty where no step came after the warm-up."""
        self._read_events()
        seconds = np.array(self._seconds)
        if seconds.sum() <= 0:
            return {}
        p50, p95 = np.percentile(seconds, [50, 95]) * 1000
        return {
            "train_samples_per_s": self._samples / float(seconds.sum()),
            "step_ms_p50": float(p50),
            "step_ms_p95": float(p95),
        }

    def _event(self) -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device))
        return event

    def _read_events(self) -> None:
        if self._pending:
            self._pending[-1][1].synchronize()
            self._seconds.extend(begun.elapsed_time(ended) / 1000 for begun, ended in self._pending)
            self._pending.clear()


def reset_peak_memory(device: torch.device | str) -> bool:
    """Let `peak_memory_mb` count from now on; return whether that was possible.

    On a CPU it takes Linux and the right to write /proc/self/clear_refs. Where it is not possible the peak is
    that of the process since it began.
    """
    device = torch.device(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return True
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def peak_memory_mb(device: torch.device | str) -> float:
    """Return the peak memory in MB (10^6 bytes) since `reset_peak_memory`.

    On CUDA, what tensors of this process held at once (`max_memory_allocated`, without the allocator's reserve).
    Elsewhere, the largest resident set of this process (VmHWM), which includes Python, the libraries and the
    data, but not worker processes.
    """
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / MB
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        status = ""
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    if found:
        return int(found[1]) * 1024 / MB
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / MB
