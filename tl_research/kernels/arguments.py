"""Checks of what callers give; none reads a device, and none looks at values while a graph is traced."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import torch
from torch import Tensor
from torch._guards import detect_fake_mode

from tl_research.errors import nearest
from tl_research.kernels.kernel import FAMILIES, Kernel

#: Of neighbouring sigma², how far from 2 still counts as doubling.
DOUBLING_TOLERANCE = 1e-6


def check_choice(name: str, got: str, known: Sequence[str], caller: str) -> None:
    """Refuse a name that is not known, with a hint.

    Raises:
        ValueError: begins with `caller`.
    """
    if got not in known:
        raise ValueError(f"{caller}: {name}: got {got!r}{nearest(got, known)}")


def check_detach(detach: str | None, caller: str) -> None:
    """Refuse what is no side.

    Raises:
        ValueError: begins with `caller`.
    """
    if detach not in (None, "x", "y"):
        raise ValueError(f"{caller}: detach: got {detach!r}, wants None, 'x' or 'y'")


def check_rows(x: Sequence[Tensor], y: Sequence[Tensor], caller: str, *, least: int = 1) -> None:
    """Refuse sides that are not float matrices of equal widths on one device, layer by layer, of `least` rows.

    Raises:
        ValueError: begins with `caller`, and names the shapes.
    """
    if len(x) != len(y) or len(x) == 0:
        raise ValueError(f"{caller}: got {len(x)} layer(s) of x and {len(y)} of y, wants equally many, at least one")
    for a, b in zip(x, y):
        fits = a.ndim == 2 and b.ndim == 2 and a.shape[1] == b.shape[1] and a.device == b.device == x[0].device
        if not fits or not (a.is_floating_point() and b.is_floating_point()):
            got = " and ".join(f"{side.dtype} {tuple(side.shape)} on {side.device}" for side in (a, b))
            raise ValueError(f"{caller}: got {got}, wants float (n, d) and (m, d) on one device")
        if a.shape[0] != x[0].shape[0] or b.shape[0] != y[0].shape[0]:
            raise ValueError(
                f"{caller}: got layers of {a.shape[0]} and {b.shape[0]} rows beside {x[0].shape[0]} and {y[0].shape[0]}"
            )
    for name, side in (("x", x[0]), ("y", y[0])):
        if side.shape[0] < least:
            raise ValueError(f"{caller}: {name} has {side.shape[0]} row(s), wants at least {least}")


def checked_kernel(layers: Sequence, family: str, alpha: float, device: torch.device, caller: str) -> Kernel:
    """Return the kernel of bandwidths given for each layer as numbers, a tensor, or a `Ladder`.

    Raises:
        ValueError: a family that there is not, or an `alpha` or a bandwidth that is not above 0.
    """
    check_choice("kernel", family, FAMILIES, caller)
    if not alpha > 0:
        raise ValueError(f"{caller}: alpha: got {alpha}, wants a number above 0")
    sigmas, doubling = zip(*(_bandwidths(given, device, caller) for given in layers))
    return Kernel(family, sigmas, doubling, float(alpha))


def _bandwidths(given, device: torch.device, caller: str) -> tuple[Tensor, bool]:
    doubling = checked = False
    if hasattr(given, "sigmas"):  # a ladder knows its ratio; nothing is read to find it
        given, doubling, checked = given.sigmas, bool(given.doubling), getattr(given, "checked", False)
    elif not isinstance(given, Tensor):
        # numbers are checked here; a tensor is not, because reading it would make the device wait
        numbers = [float(sigma) for sigma in given]
        if not all(sigma > 0 for sigma in numbers):
            raise ValueError(f"{caller}: bandwidths: got {numbers}, wants numbers above 0")
        doubling = len(numbers) > 1 and all(
            abs(after**2 / before**2 - 2) < DOUBLING_TOLERANCE for before, after in pairwise(numbers)
        )
        if numbers and not torch.compiler.is_compiling() and detect_fake_mode() is None:
            return _kept(tuple(numbers), device), doubling
        given = torch.tensor(numbers, dtype=torch.float64)
    if given.ndim != 1 or given.numel() == 0:
        raise ValueError(f"{caller}: bandwidths: got shape {tuple(given.shape)}, wants one or more sigmas")
    if checked and given.device == device and not given.requires_grad:
        return given.to(torch.float64), doubling
    # a copy from the host need not wait for what the device has to do before it
    sigmas = given.detach().to(device=device, dtype=torch.float64, non_blocking=given.device.type == "cpu")
    return torch.where(sigmas > 0, sigmas, torch.nan), doubling


@lru_cache(maxsize=64)
def _kept(numbers: tuple[float, ...], device: torch.device) -> Tensor:
    """Numbers on the device, copied there once: a copy from the host costs more than a small batch's kernel.

    And none may be made while a CUDA graph is captured. Nobody writes to them.
    """
    with torch.inference_mode(False):
        return torch.tensor(numbers, dtype=torch.float64).to(device)


def checked_weight(name: str, weight: Tensor, rows: Tensor, needed: int, caller: str) -> Tensor:
    """Return relative weights (n,) or (n, C) as float64, NaN where one is negative or not finite.

    On a CPU outside of a traced graph such weights, and (n,) weights of which fewer than `needed` are positive, are
    refused; elsewhere reading them would make the device wait or break the graph.

    Raises:
        ValueError: another shape or device than the rows', or weights that are refused as above.
    """
    if weight.shape[:1] != rows.shape[:1] or weight.ndim not in (1, 2) or 0 in weight.shape:
        raise ValueError(f"{caller}: {name}_weight: got shape {tuple(weight.shape)} for {rows.shape[0]} rows")
    if weight.device != rows.device:
        raise ValueError(f"{caller}: {name}_weight: got {weight.device} for rows on {rows.device}")
    valid = (weight >= 0) & weight.isfinite()
    if weight.device.type == "cpu" and not torch.compiler.is_compiling():
        if not bool(valid.all()):
            raise ValueError(f"{caller}: {name}_weight: got a negative weight or one that is not finite")
        positive = int((weight > 0).sum())
        if weight.ndim == 1 and positive < needed:
            raise ValueError(f"{caller}: {name}_weight: {positive} positive weight(s); the estimator needs {needed}")
    return torch.where(valid, weight.double(), torch.nan)
