"""Labels that a plan of batches may read."""

from __future__ import annotations

from torch import Tensor

from tl_research.data.batch import Samples
from tl_research.errors import ConfigError
from tl_research.metrics.hidden import HIDDEN


def known_classes(samples: Samples, sampler: str, side: str) -> Tensor:
    """Return the class of each row (n,), on the CPU.

    Raises:
        ConfigError: the labels of the side are hidden from training, or numbers.
    """
    if samples.label.is_floating_point():
        raise ConfigError(f"data.sampler.name: {sampler!r} draws by class, but the labels are numbers")
    if bool((samples.label == HIDDEN).any()):
        raise ConfigError(
            f"data.sampler.sides: {sampler!r} draws by class, and the labels of side {side!r} are hidden from training"
        )
    return samples.label.cpu()
