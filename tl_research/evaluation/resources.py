"""What one prediction costs: floating point operations per row, latency of a single row, size on disk."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tl_research.data.batch import Inputs, row_count

#: Rows of the batch whose operations are counted.
FLOP_ROWS = 64
#: Single rows that are timed, after those that warm up; fewer where they take longer than `MOST_SECONDS`.
TIMED_ROWS, WARMUP_ROWS, MOST_SECONDS = 200, 10, 0.5


def _bag_flops(weight_shape, indices_shape, *args, **kwargs) -> int:
    return 2 * int(np.prod(indices_shape)) * weight_shape[1]


#: Operations that `torch.utils.flop_counter` does not count: a bag's sum, a multiply-add a token and feature.
OWN_COUNTS = dict.fromkeys((torch.ops.aten._embedding_bag, torch.ops.aten._embedding_bag_forward_only), _bag_flops)
MB = 1e6


def predict_cost(module: nn.Module, inputs: Inputs, *, context: Callable[[], Any] = nullcontext) -> dict[str, float]:
    """Return `flops_per_row`, `predict_ms_p50` and `predict_ms_p95` of a method's `forward` (encoder and head).

    - `flops_per_row`: operations of a batch of at most 64 rows over its rows, a multiply-add as two, as
      `torch.utils.flop_counter` counts them: matrix products, convolutions and attention; and sums of bags of
      embeddings, padding included. Not in it are activations, norms, looked-up embeddings, and the comparisons of
      trees and distances of neighbours: a head of those alone has 0.
    - `predict_ms_*`: one transformed row at a time, from host memory to its logits on the module's device, with the
      device waited for; neither reading nor transforming the raw row is in it.

    What `torch.compile` made is left out: eager code is counted and timed. Every training flag is put back; nothing is
    drawn.

    Args:
        module: an `AdaptationModule`.
        inputs: transformed rows, on any device.
        context: gives a context manager, such as a precision plugin's `forward_context`.
    """
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    device = module.device
    try:
        with torch.no_grad(), _eager(module):
            rows = min(FLOP_ROWS, row_count(inputs))
            with FlopCounterMode(display=False, custom_mapping=OWN_COUNTS) as counter, context():
                module(_rows(inputs, 0, rows, device))
            seconds = _latencies(module, inputs, context)
    finally:
        for part, mode in modes:
            part.training = mode
    p50, p95 = np.percentile(seconds, [50, 95]) * 1000
    return {
        "flops_per_row": counter.get_total_flops() / rows,
        "predict_ms_p50": float(p50),
        "predict_ms_p95": float(p95),
    }


def size_mb(path: str | Path) -> float:
    """Size of a file in MB (10^6 bytes)."""
    return Path(path).stat().st_size / MB


def _latencies(module: nn.Module, inputs: Inputs, context) -> list[float]:
    device, count = module.device, row_count(inputs)
    host = {name: tensor.cpu() for name, tensor in inputs.items()} if isinstance(inputs, dict) else inputs.cpu()
    seconds, begun = [], perf_counter()
    for step in range(WARMUP_ROWS + TIMED_ROWS):
        row = step % count
        start = perf_counter()
        with context():
            module(_rows(host, row, row + 1, device))
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(perf_counter() - start)
        if step > WARMUP_ROWS and perf_counter() - begun > MOST_SECONDS:
            break
    return seconds[WARMUP_ROWS:]


def _rows(inputs: Inputs, first: int, last: int, device: torch.device) -> Inputs:
    if isinstance(inputs, dict):
        return {name: tensor[first:last].to(device) for name, tensor in inputs.items()}
    return inputs[first:last].to(device)


@contextmanager
def _eager(module: nn.Module):
    """Call compiled parts as they were written: another batch size would compile them anew."""
    compiled = [(part, part._compiled_call_impl) for part in module.modules() if part._compiled_call_impl is not None]
    for part, _ in compiled:
        part._compiled_call_impl = None
    try:
        yield
    finally:
        for part, call in compiled:
            part._compiled_call_impl = call
