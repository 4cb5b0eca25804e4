"""The device that figures are of: its name, and the versions that they were measured with.

    python benchmarks/card.py [--device cuda]

Prints them; ends with 1 where the device is not here.
"""

from __future__ import annotations

import argparse
import hashlib
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

KERNELS = Path(__file__).resolve().parents[1] / "tl_research" / "kernels"
#: Columns of every CSV line about a device.
IDENTITY = ("card", "torch", "triton")


def is_here(device: str) -> bool:
    return device == "cpu" or torch.cuda.is_available()


def identity(device: str) -> dict[str, str]:
    """`IDENTITY` of a device that is here."""
    card = f"CPU {platform.machine()}" if device == "cpu" else torch.cuda.get_device_name()
    return {"card": card, "torch": torch.__version__, "triton": _triton()}


def _triton() -> str:
    for package in ("triton", "pytorch-triton", "triton-windows"):
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    return "none"


def kernels_digest(*more: Path) -> str:
    """Eight letters that change with the code of the kernels, and with that of the files."""
    digest = hashlib.sha256()
    for path in [*sorted(KERNELS.rglob("*.py")), *more]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:8]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    device = parser.parse_args().device
    if not is_here(device):
        print("no CUDA device is here: not measured")
        return 1
    facts = identity(device)
    print(f"{facts['card']}, torch {facts['torch']}, triton {facts['triton']}, kernels {kernels_digest()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
