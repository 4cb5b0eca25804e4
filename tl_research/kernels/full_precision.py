"""Products of float32 in all their digits, whatever the trainer or the user has set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

#: What each of them reads before a matrix product of float32: on a CUDA device, on a CPU.
SETTINGS = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)
#: Values of `fp32_precision` under which nothing is rounded.
EXACT = ("ieee", "none")


@contextmanager
def full_precision_products() -> Iterator[None]:
    """Switch TF32 and bfloat16 products of float32 off inside, and leave the settings as they were.

    Distances by cancellation need all digits of float32. Only the two settings that products read are touched, never
    the older `torch.set_float32_matmul_precision`, which refuses to be read beside them. A setting that follows a wider
    one (`torch.backends.fp32_precision`) follows it afterwards too.
    """
    changed = [(setting, setting.fp32_precision) for setting in SETTINGS if setting.fp32_precision not in EXACT]
    for setting, _ in changed:
        setting.fp32_precision = "ieee"
    try:
        yield
    finally:
        for setting, before in changed:
            setting.fp32_precision = "none"
            if setting.fp32_precision != before:
                setting.fp32_precision = before
