"""Small changes of a row's numbers, whatever else the row holds."""

from __future__ import annotations

import torch
from torch import Tensor

from tl_research.data.batch import Inputs

#: Named inputs that are numbers; codes (categories, words) cannot be changed a little.
NUMBERS = ("numeric", "image", "text_value")


def width_of_numbers(inputs: Inputs) -> int:
    """Return how many numbers a row holds: the columns of `change`; 0 for rows of codes alone."""
    return sum(tensor[0].numel() for tensor in _numbers(inputs).values())


def changed(inputs: Inputs, change: Tensor) -> Inputs:
    """Add to every number of a row its own change.

    Args:
        inputs: n rows; codes stay as they are.
        change: (n, width_of_numbers) float.
    """
    numbers = _numbers(inputs)
    parts = change.split([tensor[0].numel() for tensor in numbers.values()], dim=1)
    moved = {
        name: tensor + part.view(tensor.shape).to(tensor.dtype)
        for (name, tensor), part in zip(numbers.items(), parts, strict=True)
    }
    return inputs | moved if isinstance(inputs, dict) else moved["numeric"]


def _numbers(inputs: Inputs) -> dict[str, Tensor]:
    named = inputs if isinstance(inputs, dict) else {"numeric": inputs}
    return {name: named[name] for name in NUMBERS if name in named and torch.is_floating_point(named[name])}
