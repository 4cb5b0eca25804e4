"""Which backend computes: by name, or by what the device can run."""

from __future__ import annotations

import torch

from tl_research.errors import nearest
from tl_research.kernels.backends import reference, tiled, triton
from tl_research.kernels.backends.protocol import Backend

NAMES = ("auto", "reference", "tiled", "triton")


def check_backend(name: str, caller: str) -> None:
    """Refuse an unknown name with a hint.

    Raises:
        ValueError: begins with `caller`.
    """
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
    return triton if name in ("auto", "triton") and triton.available(device) else tiled
