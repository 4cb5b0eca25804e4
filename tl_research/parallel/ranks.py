"""The only place that knows ranks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def is_distributed() -> bool:
    """Whether this process is one of several."""
    return world_size() > 1


def world_size() -> int:
    """Number of processes of the run; 1 outside a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this process, from 0; 0 outside a process group."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def gather_rows(tensor: Tensor, counts: list[int] | None = None) -> Tensor:
    """Concatenate the rows of all ranks, in order of rank; every rank must call it, and run its backward.

    The gradient of a local row is the sum of what all ranks send back to it. Where every rank computes the same
    loss of the gathered rows this is world_size times that loss's gradient, and the average over ranks that DDP
    takes of parameter gradients makes it the gradient of one process holding the global batch. A loss that is
    made of local rows only (a mean over them) needs no gather, and its average is weighted by rank, not by row.

    Args:
        tensor: (n, ...) of any dtype; n may differ from rank to rank, 0 included, the other sizes may not.
        counts: n of each rank where the caller has them (`row_counts`), to exchange them once for several tensors.

    Returns:
        (sum of n, ...); `tensor` itself where there is one process.

    Raises:
        ValueError: a tensor without a row dimension.
    """
    if tensor.ndim == 0:
        raise ValueError("gather_rows: got a scalar, wants (n, ...)")
    if not is_distributed():
        return tensor
    if counts is None:
        (counts,) = row_counts(tensor)
    if tensor.requires_grad:
        return _GatherRows.apply(tensor, counts)
    return _gather(tensor, counts)


def row_counts(*tensors: Tensor) -> list[list[int]]:
    """Return for each tensor its number of rows on each rank, by one exchange; every rank must call it."""
    own = [tensor.shape[0] for tensor in tensors]
    if not is_distributed():
        return [[rows] for rows in own]
    count = torch.tensor(own, device=tensors[0].device)
    counts = [torch.empty_like(count) for _ in range(world_size())]
    dist.all_gather(counts, count)
    return torch.stack(counts, dim=1).tolist()


def sum_across_ranks(tensor: Tensor) -> Tensor:
    """Sum a tensor of one shape over the ranks; every rank must call it, and run its backward.

    The gradient is the sum of what all ranks send back, as that of `gather_rows` is.

    Args:
        tensor: float, of any shape, the same on every rank.

    Returns:
        The same bits on every rank; `tensor` itself where there is one process.
    """
    if not is_distributed():
        return tensor
    if tensor.requires_grad:
        return _SumAcrossRanks.apply(tensor)
    return _sum(tensor)


def largest_across_ranks(value: float) -> float:
    """Return the largest of the ranks' numbers; every rank must call it."""
    if not is_distributed():
        return value
    values: list = [None] * world_size()
    dist.all_gather_object(values, value)
    return max(values)


def from_rank_zero(make: Callable[[], Any]) -> Any:
    """Call `make` on rank 0 and return what it made, any picklable thing, on every rank, which all must call this."""
    if not is_distributed():
        return make()
    found = [make() if rank() == 0 else None]
    dist.broadcast_object_list(found, src=0)
    return found[0]


def broadcast_state(module: nn.Module) -> None:
    """Overwrite parameters and buffers by those of rank 0; every rank must call it, with the same names and shapes.

    A parameter that is shared out among the ranks is left alone: no rank has what another has.
    """
    if is_distributed():
        from torch.distributed.tensor import DTensor  # here, as it takes a second to import

        for tensor in module.state_dict(keep_vars=True).values():
            if not isinstance(tensor, DTensor):
                dist.broadcast(tensor.detach(), src=0)


def broadcast_tensors(tensors: list[Tensor]) -> None:
    """Overwrite tensors by those of rank 0, by one exchange a dtype; every rank must call it, with the same shapes."""
    for dtype in dict.fromkeys(tensor.dtype for tensor in tensors) if is_distributed() else ():
        same = [tensor for tensor in tensors if tensor.dtype == dtype]
        flat = torch.cat([tensor.detach().flatten() for tensor in same])
        dist.broadcast(flat, src=0)
        for tensor, values in zip(same, flat.split([tensor.numel() for tensor in same])):
            tensor.detach().copy_(values.view_as(tensor))


class _SumAcrossRanks(torch.autograd.Function):
    @staticmethod
    def forward(ctx, tensor: Tensor) -> Tensor:
        return _sum(tensor)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):
        return _sum(grad)


def _sum(tensor: Tensor) -> Tensor:
    total = tensor.detach().clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx, tensor: Tensor, counts: list[int]) -> Tensor:
        ctx.counts = counts
        return _gather(tensor, counts)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):
        # an all-reduce, because not every backend has a reduce-scatter of uneven parts
        grad = _sum(grad)
        first = sum(ctx.counts[: rank()])
        return grad[first : first + ctx.counts[rank()]], None


def _gather(tensor: Tensor, counts: list[int]) -> Tensor:
    padded = tensor.detach().new_zeros(max(counts), *tensor.shape[1:])
    padded[: tensor.shape[0]] = tensor.detach()
    parts = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(parts, padded)
    return torch.cat([part[:count] for part, count in zip(parts, counts)])
