"""Batch norms of a network: which there are, and their statistics over given rows, exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def batch_norms(module: nn.Module) -> dict[str, _BatchNorm]:
    """Return name -> batch norm, of those that keep running statistics."""
    norms = {name: part for name, part in module.named_modules() if isinstance(part, _BatchNorm)}
    return {name: norm for name, norm in norms.items() if norm.running_mean is not None}


@torch.no_grad()
def fit_statistics(module: nn.Module, batches: Callable[[], Iterator[Sequence[Tensor]]]) -> list[str]:
    """Replace the running statistics of every batch norm by those of the given rows, exactly.

    Norms are taken in the order in which the network calls them: one is measured with the norms before it already
    replaced, so that the result does not depend on how rows are cut into batches. That is one pass over the rows per
    norm, each as deep as that norm. The variance is the biased one, by which a batch norm scales its batch in training.

    Args:
        module: network; it is called in evaluation mode.
        batches: gives the batches of one pass, each the arguments of a call.

    Returns:
        Names of the norms, in their order.

    Raises:
        ValueError: the network has no batch norm that keeps statistics.

    Reference:
        Li et al. 2017, ICLR workshop, algorithm 1 (AdaBN).
    """
    if not batch_norms(module):
        raise ValueError("fit_statistics: the network has no batch norm")
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        order = _order(module, batches)
        for name in order:
            norm = module.get_submodule(name)
            mean, variance = _moments(module, norm, batches)
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(variance)
        return order
    finally:
        for part, mode in modes:
            part.training = mode


class _Reached(Exception):
    """The norm that is measured has its inputs; what lies behind it is not needed."""


def _order(module: nn.Module, batches: Callable[[], Iterator[Sequence[Tensor]]]) -> list[str]:
    """Names of the norms in the order of their first call."""
    called: dict[str, None] = {}
    hooks = [
        norm.register_forward_pre_hook(lambda _, inputs, name=name: called.setdefault(name))
        for name, norm in batch_norms(module).items()
    ]
    try:
        module(*next(batches()))
    finally:
        for hook in hooks:
            hook.remove()
    return list(called)


def _moments(
    module: nn.Module, norm: _BatchNorm, batches: Callable[[], Iterator[Sequence[Tensor]]]
) -> tuple[Tensor, Tensor]:
    """Mean and biased variance (channels,) of what reaches a norm, in float64, by merging those of batches."""
    count, mean, spread = 0, torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)

    def see(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal count, mean, spread
        rows = inputs[0].detach().double().transpose(0, 1).flatten(1)
        own, size = rows.mean(dim=1), rows.shape[1]
        gap = own - mean.to(own.device)
        total = count + size
        spread = (
            spread.to(own.device) + (rows - own[:, None]).square().sum(dim=1) + gap.square() * (count * size / total)
        )
        mean = mean.to(own.device) + gap * (size / total)
        count = total
        raise _Reached

    hook = norm.register_forward_pre_hook(see)
    try:
        for arguments in batches():
            try:
                module(*arguments)
            except _Reached:
                continue
    finally:
        hook.remove()
    return mean, spread / count
