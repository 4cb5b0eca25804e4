"""The only place that knows ranks."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor
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


def gather_rows(tensor: Tensor) -> Tensor:
    """Concatenate the rows of all ranks, in order of rank; every rank must call it, and run its backward.

    The gradient of a local row is the sum of what all ranks send back to it. Where every rank computes the same
    loss of the gathered rows this is world_size times that loss's gradient, and the average over ranks that DDP
    takes of parameter gradients makes it the gradient of one process holding the global batch. A loss that is
    made of local rows only (a mean over them) needs no gather, and its average is weighted by rank, not by row.

    Args:
        tensor: (n, ...) of any dtype; n may differ from rank to rank, 0 included, the other sizes may not.

    Returns:
        (sum of n, ...); `tensor` itself where there is one process.

    Raises:
        ValueError: a tensor without a row dimension.
    """
    if tensor.ndim == 0:
        raise ValueError("gather_rows: got a scalar, wants (n, ...)")
    if not is_distributed():
        return tensor
    counts = _row_counts(tensor)
    if tensor.requires_grad:
        return _GatherRows.apply(tensor, counts)
    return _gather(tensor, counts)


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx, tensor: Tensor, counts: list[int]) -> Tensor:
        ctx.counts = counts
        return _gather(tensor, counts)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):
        # an all-reduce, because not every backend has a reduce-scatter of uneven parts
        grad = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(grad)
        first = sum(ctx.counts[: rank()])
        return grad[first : first + ctx.counts[rank()]], None


def _row_counts(tensor: Tensor) -> list[int]:
    count = torch.tensor([tensor.shape[0]], device=tensor.device)
    counts = [torch.empty_like(count) for _ in range(world_size())]
    dist.all_gather(counts, count)
    return torch.cat(counts).tolist()


def _gather(tensor: Tensor, counts: list[int]) -> Tensor:
    padded = tensor.detach().new_zeros(max(counts), *tensor.shape[1:])
    padded[: tensor.shape[0]] = tensor.detach()
    parts = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(parts, padded)
    return torch.cat([part[:count] for part, count in zip(parts, counts)])
