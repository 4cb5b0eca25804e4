"""Weights shared out over the ranks by torch's FSDP2: which parts, and how to have them whole again.

A sharded part holds 1/k of its weights, gradients and optimiser state on each of k ranks. Its `forward` gathers the
weights and lets go of them; its backward gathers them once more and leaves this rank's part of the gradient's mean over
the ranks. Nothing but `forward` sees weights: that decides which methods can be trained so
(`AdaptationModule.needs_whole_weights`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from tl_research.errors import ConfigError
from tl_research.parallel import ranks


def shard(module: nn.Module, mesh: DeviceMesh) -> None:
    """Share out the weights of every part of a method that is not yet: an encoder block by block, other parts whole.

    Every rank must call it, with the same weights.

    Raises:
        ConfigError: a parameter is in no part that has a `forward` of its own.
    """
    for part in _parts(module):
        if hasattr(part, "blocks"):  # an encoder
            for block in _blocks(part):
                fully_shard(block, mesh=mesh, reshard_after_forward=True)
        fully_shard(part, mesh=mesh, reshard_after_forward=True)
    left = next((name for name, value in module.named_parameters() if not isinstance(value, DTensor)), None)
    if left is not None:
        method = type(module).__name__
        raise ConfigError(f"trainer.strategy: fsdp cannot share out {left} of {method}: no part with a forward has it")


def _parts(module: nn.Module) -> Iterator[nn.Module]:
    for part in module.children():
        if isinstance(part, (nn.ModuleList, nn.ModuleDict)):
            yield from _parts(part)
        elif any(True for _ in part.parameters()) and not isinstance(part, FSDPModule):
            yield part


def _blocks(encoder: nn.Module) -> list[nn.Module]:
    # Skip containers and bare parameters: they have no `forward`, so they are sharded with the encoder itself.
    modules = dict(encoder.named_modules())
    named = [modules[name] for name in encoder.blocks() if name in modules]
    return [block for block in named if not isinstance(block, (nn.ModuleList, nn.ModuleDict))]


def is_sharded(module: nn.Module) -> bool:
    """Whether parts of a method are shared out."""
    return any(isinstance(part, FSDPModule) for part in module.modules())


def whole(value: Any) -> Any:
    """Gather a tensor on rank 0's CPU, and give None to the other ranks; what is not shared out comes back as it is.

    Every rank must call it.
    """
    if not isinstance(value, DTensor):
        return value
    gathered = value.detach().full_tensor()
    return gathered.cpu() if ranks.rank() == 0 else None


def whole_state(module: nn.Module) -> dict[str, Any]:
    """Return a module's state, under the names it has anywhere, whole on rank 0; every rank must call it."""
    return {name: whole(value) for name, value in module.state_dict().items()}


def shared_out(value: Any, parameter: Tensor) -> Any:
    """Return this rank's part of a tensor of an optimiser's state, of the shape of its parameter; all else as it is."""
    is_like = isinstance(parameter, DTensor) and isinstance(value, Tensor) and value.shape == parameter.shape
    if not is_like:
        return value
    value = value.to(parameter.device)
    return distribute_tensor(value, parameter.device_mesh, parameter.placements, src_data_rank=None)
