"""AdaBN: the target's statistics in the batch norms of a source model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from tl_research.data.batch import Inputs, Samples, row_count
from tl_research.methods.finished_run import SourceFreeConfig
from tl_research.methods.norms import NormsAlone
from tl_research.nn.batch_norms import fit_statistics
from tl_research.registry import register_method

#: Rows per call of the encoder; the result does not depend on it.
ROWS = 1024


@dataclass
class AdaBNConfig(SourceFreeConfig):
    """Options of `adabn`: the source model alone."""

    name: str = "adabn"


@register_method(
    "adabn",
    config=AdaBNConfig,
    family="source_free",
    settings=("source_free",),
    problem=("encoder.batch_norm=true",),
    paper="Li et al. 2017, ICLR workshop, algorithm 1",
    no_gain="its gain is that of measures: tests/methods/test_source_free.py undoes a planted one",
)
class AdaBN(NormsAlone):
    """Mean and variance of every batch norm of the encoder are those of all target rows; no weight is trained.

    A norm is measured with the norms before it already replaced, so that the order of rows and the size of batches do
    not matter. It undoes what a new market measures otherwise (units, exposure, levels), not what it decides otherwise.
    """

    engine = "fit"

    def prepare(self, source: Samples | None, target: Samples, target_labeled: Samples | None) -> None:
        super().prepare(source, target, target_labeled)
        self.facts["norms"] = fit_statistics(self.encoder, lambda: _batches(target.inputs))


def _batches(inputs: Inputs) -> Iterator[tuple[Inputs]]:
    for first in range(0, row_count(inputs), ROWS):
        rows = slice(first, first + ROWS)
        if isinstance(inputs, Tensor):
            yield (inputs[rows],)
        else:
            yield ({name: tensor[rows] for name, tensor in inputs.items()},)
