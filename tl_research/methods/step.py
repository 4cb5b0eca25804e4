"""`Step`: what one training step has to work with, encoded on first use and then remembered."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from tl_research.data.batch import Inputs, PairedBatch, Samples, map_named
from tl_research.nn.feature_maps import feature_maps
from tl_research.parallel import ranks

if TYPE_CHECKING:
    from tl_research.methods.base import AdaptationModule


class Encoded(NamedTuple):
    """Rows after encoder and head.

    Fields:
        features: (n, out_features) float32 (or float64).
        logits: (n, outcome.width), same dtype.
        label, index, domain, extra: as in `Samples`.
    """

    features: Tensor
    logits: Tensor
    label: Tensor
    index: Tensor
    domain: Tensor
    extra: dict[str, Tensor] = {}

    def map(self, function: Callable[[Tensor], Tensor]) -> Encoded:
        """Apply `function` to every tensor."""
        return Encoded(*map(function, self[:-1]), map_named(function, self.extra))


@dataclass(frozen=True)
class Phase:
    """What one epoch trains on.

    Fields:
        name: shown in the history.
        source, target_labeled: whether the task loss reads these rows.
        adapt: whether `terms` are added.
        frozen: submodules (`encoder`, `head`, `encoder.layers.0`, ...) that stay bit-equal, running statistics too,
            or single parameters.
        lr_scale: factor on every learning rate.
        selectable: whether a selection rule may choose the epoch; False where the method has not yet begun.
    """

    name: str = "train"
    source: bool = True
    target_labeled: bool = True
    adapt: bool = True
    frozen: tuple[str, ...] = ()
    lr_scale: float = 1.0
    selectable: bool = True


class Step:
    """One batch on its way through the method.

    `source`, `target` and `labeled` hold the rows of all ranks, so that a term that couples rows has the value and the
    gradient of one process with the whole batch. For a method that says `couples_ranks`, they hold this rank's rows.
    `local(side)` holds this rank's rows in any case: the task losses read them, and so should a term that is a mean
    over single rows. A side is one of `source`, `target`, `target_labeled`, the fields of the batch.

    Args:
        module: the method.
        batch: this rank's rows.
        phase: what the epoch trains on.
        objective: name of the objective that is evaluated; "" where there is one.
        before: the step of the batch before in the same accumulated gradient; what it kept is kept on.
        encoded: sides that are encoded already.
    """

    def __init__(
        self,
        module: AdaptationModule,
        batch: PairedBatch | None,
        phase: Phase,
        *,
        objective: str = "",
        before: Step | None = None,
        encoded: dict[str, Encoded] | None = None,
    ):
        self.batch, self.phase, self.objective, self._module = batch, phase, objective, module
        self._local = dict(encoded or {})
        self._joined: dict[str, Encoded] = {}
        self._maps: dict[str, dict[str, Tensor]] = {}
        self._kept: dict[str, list[Tensor]] = {} if before is None else before._kept
        #: What `report` was given.
        self.reported: dict[str, Tensor] = {}
        # Terms are computed outside autocast, and a side that they are the first to ask for is encoded within it.
        kind = module.device.type
        self._autocast = (kind, torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else None

    @property
    def progress(self) -> float:
        """Share of the optimiser steps that is done, 0 to 1."""
        return self._module.progress

    @property
    def source(self) -> Encoded:
        """The source rows."""
        return self._together("source")

    @property
    def target(self) -> Encoded:
        """The target rows without labels."""
        return self._together("target")

    @property
    def labeled(self) -> Encoded:
        """The target rows with labels."""
        return self._together("target_labeled")

    def local(self, side: str) -> Encoded:
        """Return this rank's rows of a side."""
        if side not in self._local:
            names = self._module.watched_blocks() if self.phase.adapt else ()
            with feature_maps(self._module.encoder, names) if names else nullcontext({}) as self._maps[side]:
                self._local[side] = self._encode(side, getattr(self.batch, side).inputs)
        return self._local[side]

    def maps(self, side: str) -> dict[str, Tensor]:
        """Return the outputs of `watched_blocks` for this rank's rows of a side: name -> (n, channels, ...)."""
        self.local(side)
        return self._maps[side]

    def view(self, side: str, augment: Callable[[Inputs], Inputs]) -> Encoded:
        """Encode a side anew, its inputs changed by `augment`; not remembered.

        Args:
            side: field of the batch.
            augment: this rank's inputs (n, ...) -> inputs of as many rows (a crop, a perturbation, a mixture).
        """
        return self._of_all_ranks(self._encode(side, augment(getattr(self.batch, side).inputs)))

    def views_in_one(self, *views: tuple[str, Callable[[Inputs], Inputs]]) -> list[Encoded]:
        """Encode several views in one batch, so that a norm over the batch sees all of them; not remembered.

        Args:
            views: side and `augment` of each, as of `view`. All go through `forward`, source rows too.

        Returns:
            One `Encoded` per view, in their order.
        """
        parts = [getattr(self.batch, side) for side, _ in views]
        inputs = [augment(part.inputs) for part, (_, augment) in zip(parts, views, strict=True)]
        rows = Samples(_below(inputs), *(torch.cat(field) for field in zip(*(part[1:4] for part in parts))))
        with self._as_the_step():
            encoded = self._module.encode(rows)
        sizes = [part.size for part in parts]
        fields = zip(*(tensor.split(sizes) for tensor in encoded[:-1]))
        both = [Encoded(*own, part.extra) for own, part in zip(fields, parts, strict=True)]
        return [self._of_all_ranks(one) for one in both]

    def keep(self, **rows: Tensor) -> None:
        """Keep tensors for `after_step`, without their gradients, under names."""
        for name, tensor in rows.items():
            self._kept.setdefault(name, []).append(tensor.detach())

    def kept(self, name: str) -> Tensor:
        """Return what was kept under a name, the batches of an accumulated gradient below one another."""
        return torch.cat(self._kept[name])

    def report(self, **figures: Tensor) -> None:
        """Have scalars in the history as `train/<name>`, the mean over the epoch's steps; they are no part of the loss.

        `terms` is to give the same names in every step, and none of them the name of a term.
        """
        self.reported |= {name: figure.detach() for name, figure in figures.items()}

    def _encode(self, side: str, inputs: Inputs) -> Encoded:
        rows = getattr(self.batch, side)._replace(inputs=inputs)
        with self._as_the_step():
            return self._module.encode(rows, is_source=side == "source")

    def _as_the_step(self) -> AbstractContextManager:
        """The autocast that the step runs in."""
        if self._autocast is None:
            return nullcontext()
        return torch.autocast(self._autocast[0], dtype=self._autocast[1])

    def _together(self, side: str) -> Encoded:
        if side not in self._joined:
            self._joined[side] = self._of_all_ranks(self.local(side))
        return self._joined[side]

    def _of_all_ranks(self, rows: Encoded) -> Encoded:
        if self._module.couples_ranks or not ranks.is_distributed():
            return rows
        (counts,) = ranks.row_counts(rows.label)
        return rows.map(lambda tensor: ranks.gather_rows(tensor, counts))


def _below(inputs: list[Inputs]) -> Inputs:
    """The rows of all inputs below one another."""
    if isinstance(inputs[0], dict):
        return {name: torch.cat([part[name] for part in inputs]) for name in inputs[0]}
    return torch.cat(inputs)
