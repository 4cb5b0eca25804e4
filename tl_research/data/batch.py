"""What a method sees of the data: `Samples` of one side and the `PairedBatch` of both."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

Inputs = Tensor | dict[str, Tensor]
Function = Callable[[Tensor], Tensor]


class Samples(NamedTuple):
    """Rows of one side.

    Fields:
        inputs: tensor (n, ...) or named tensors of n rows each.
        label: (n,) class index (int64) or float target; `HIDDEN` or nan where training may not see it.
        index: (n,) int64 row number inside its domain's training rows.
        domain: (n,) int64 domain id: 0..S-1 for sources, S for the target.
        extra: further named tensors of n rows each (user, item, time, a second view, ...), which no encoder reads by
            itself. Training sees them on every side, so they must not hold a label.
    """

    inputs: Inputs
    label: Tensor
    index: Tensor  # type: ignore[assignment]  # hides `tuple.index`, which rows do not need
    domain: Tensor
    extra: dict[str, Tensor] = {}

    @property
    def size(self) -> int:
        """Number of rows (`len` counts the fields, as for every named tuple)."""
        return self.label.shape[0]

    def rows(self, index: Tensor) -> Samples:
        """Gather rows by an int64 index tensor."""
        return self.map(lambda tensor: tensor.index_select(0, index))

    def map(self, function: Function) -> Samples:
        """Apply `function` to every tensor."""
        inputs = map_named(function, self.inputs) if isinstance(self.inputs, dict) else function(self.inputs)
        rest = function(self.label), function(self.index), function(self.domain)
        return Samples(inputs, *rest, map_named(function, self.extra))


class PairedBatch(NamedTuple):
    """One training step's rows. `source` or `target` is None for a method that declares not to read that side."""

    source: Samples | None
    target: Samples | None
    target_labeled: Samples | None


def map_named(function: Function, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Apply `function` to each of the named tensors."""
    return {name: function(tensor) for name, tensor in tensors.items()}


def row_count(inputs: Inputs) -> int:
    """Number of rows of a tensor or of named tensors."""
    return next(iter(inputs.values())).shape[0] if isinstance(inputs, dict) else inputs.shape[0]
