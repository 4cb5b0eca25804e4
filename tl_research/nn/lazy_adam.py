"""Adam that touches, of a table, only the rows that a step has read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tl_research.nn.row_sums import row_sums


class LazyAdam(torch.optim.Optimizer):
    """Adam for dense gradients; for sparse ones the update is of their rows alone, moments too.

    m ← β₁ m + (1 - β₁) g, v ← β₂ v + (1 - β₂) g², x ← x - lr · m̂ / (√v̂ + ε), bias corrected by the number of steps
    of the parameter. Rows without a gradient keep their moments, so that a row read rarely forgets more slowly than
    with Adam.

    Args:
        parameters: or groups of them.
        lr: learning rate.
        betas: β₁, β₂.
        eps: ε.
        weight_decay: λ, added as λ x to the gradient; of a table, to that of the rows read.

    Reference:
        Kingma & Ba 2015, ICLR, algorithm 1; for sparse gradients as `torch.optim.SparseAdam`.
    """

    def __init__(
        self,
        parameters: Any,
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        super().__init__(parameters, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one step; `closure` evaluates the loss anew."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, group)
        return loss

    def _move(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())
            state["mean"], state["square"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        state["step"] += 1
        if not parameter.grad.is_sparse:
            _adam(parameter, parameter.grad, state["mean"], state["square"], float(state["step"]), group)
            return
        rows, gradient = row_sums(parameter.grad)
        tensors = parameter, state["mean"], state["square"]
        parts = [tensor.index_select(0, rows) for tensor in tensors]
        _adam(parts[0], gradient, *parts[1:], float(state["step"]), group)
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.index_copy_(0, rows, part)


def _adam(x: Tensor, gradient: Tensor, mean: Tensor, square: Tensor, step: float, group: dict[str, Any]) -> None:
    """Move `x`, `mean` and `square` in place."""
    first, second = group["betas"]
    if group["weight_decay"]:
        gradient = gradient + group["weight_decay"] * x
    mean.lerp_(gradient, 1 - first)
    square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
    length = (square / (1 - second**step)).sqrt_().add_(group["eps"])
    x.addcdiv_(mean, length, value=-group["lr"] / (1 - first**step))
