"""What a device reaches on work of one kind: a large matrix product in each precision, and a large copy.

    python benchmarks/device_rates.py [--device cuda] [--side 8192] [--copy-mb 1024]
                                      [--out benchmarks/results/gpu/rates.csv]

The other benchmarks divide their own rates by these. `fp32` is the IEEE product of float32, `tf32` that of the same
rows rounded to TF32. FLOP/s count a multiplication and an addition; bytes/s of a copy count reading and writing.
Lines in the CSV are not measured again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from card import IDENTITY, identity, is_here
from cells import Table
from rounds import best_of_rounds

#: Precision -> dtype of the factors, and how float32 products are taken.
PRODUCTS = {
    "fp32": (torch.float32, "ieee"),
    "tf32": (torch.float32, "tf32"),
    "bf16": (torch.bfloat16, "ieee"),
    "fp16": (torch.float16, "ieee"),
}
SIDE, COPY_MB = 8192, 1024
KEY = ["device", *IDENTITY, "what", "size"]
FIELDS = [*KEY, "unit", "rate"]


@contextmanager
def float32_products(precision: str) -> Iterator[None]:
    """Products of float32 on CUDA in `ieee` or in `tf32`."""
    settings = torch.backends.cuda.matmul
    name, value = "fp32_precision", precision
    if not hasattr(settings, name):
        name, value = "allow_tf32", precision == "tf32"
    before = getattr(settings, name)
    setattr(settings, name, value)
    try:
        yield
    finally:
        setattr(settings, name, before)


@cache
def product_rate(precision: str, device: str, side: int = SIDE) -> float:
    """FLOP/s of a product of two square matrices."""
    dtype, float32 = PRODUCTS[precision]
    a = torch.randn(side, side, device=device, dtype=dtype)
    with float32_products(float32):
        seconds = best_of_rounds({"product": lambda: a @ a}, device, 1.0)["product"]
    return 2 * side**3 / seconds


@cache
def copy_rate(device: str, megabytes: int = COPY_MB) -> float:
    """Bytes/s of a copy, read and written."""
    source = torch.zeros(megabytes << 20, device=device, dtype=torch.uint8)
    target = torch.empty_like(source)
    return 2 * source.numel() / best_of_rounds({"copy": lambda: target.copy_(source)}, device, 1.0)["copy"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    parser.add_argument("--side", type=int, default=SIDE, help="rows and columns of the matrices")
    parser.add_argument("--copy-mb", type=int, default=COPY_MB)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "gpu" / "rates.csv")
    arguments = parser.parse_args()
    device = arguments.device
    if not is_here(device):
        print("no CUDA device is here: not measured")
        return 0
    table = Table(arguments.out, FIELDS, KEY, fresh=False)
    jobs = {name: (arguments.side, "FLOP/s", product_rate, (name, device)) for name in PRODUCTS}
    jobs["copy"] = (arguments.copy_mb, "bytes/s", copy_rate, (device,))
    for what, (size, unit, measure, words) in jobs.items():
        key = {"device": device, **identity(device), "what": what, "size": size}
        line = table.find(**key)
        if line is None:
            table.add({**key, "unit": unit, "rate": measure(*words, size)})
            line = table.find(**key)
        print(f"{what:5s} {float(line['rate']):.3g} {unit}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
