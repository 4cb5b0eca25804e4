"""Parameters that are not trained, and the modules that they hold still."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn


def hold_still(module: nn.Module, trainable: Callable[[str], bool]) -> None:
    """Freeze parameters, and put what they alone make up into evaluation mode.

    A frozen module keeps its running statistics, and so does a norm of which any parameter is frozen.

    Args:
        module: whose parts are held.
        trainable: full name of a parameter -> whether it is trained.
    """
    for name, parameter in module.named_parameters():
        if not trainable(name):
            parameter.requires_grad_(False)
    for part in module.modules():
        _hold(part)


def _hold(module: nn.Module) -> None:
    parameters = list(module.parameters())
    if parameters and not any(parameter.requires_grad for parameter in parameters):
        module.eval()
    own = [parameter.requires_grad for parameter in module.parameters(recurse=False)]
    if own and not all(own) and any(True for _ in module.buffers(recurse=False)):
        module.eval()
