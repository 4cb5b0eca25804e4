"""Which backend computes: by name, or by what the device can run."""

from __future__ import annotations

from importlib import import_module

import torch

from tl_research.errors import nearest
from tl_research.kernels import reference
from tl_research.kernels.sums import Backend

NAMES = ("auto", "reference", "tiled", "triton")


def check_backend(name: str, caller: str) -> None:
    """Refuse an unknown name with a hint."""
    if name not in NAMES:
        raise ValueError(f"{caller}: backend: got {name!r}{nearest(name, NAMES)}")


def resolve(name: str, device: torch.device) -> Backend:
    """Return the backend that computes on `device`; one that cannot run there gives way to `tiled`, with equal results.

    Args:
        name: of `NAMES`; `auto` is triton where it runs, else tiled.
        device: of the rows.
    """
    if name == "reference":
        return reference
    if name in ("auto", "triton"):
        triton = _module("triton")
        if triton is not None and triton.available(device):
            return triton
    return _module("tiled") or reference  # MERGE: tiled is always there then; import it above and drop `_module`


# MERGE: remove; both modules exist by then, and `triton.available` is False without the triton package
def _module(name: str):
    try:
        return import_module(f"tl_research.kernels.{name}")
    except ModuleNotFoundError:
        return None
