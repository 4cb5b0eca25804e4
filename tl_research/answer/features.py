"""From domains to matrices: what the learners of an answer read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from tl_research.data.batch import Inputs
from tl_research.data.domain import Domain, take
from tl_research.data.transforms.make import make_transform
from tl_research.registry import ENCODERS

#: Rows that the encoder reads at once.
BLOCK = 512
PIXELS = (
    "images are read as the mean colours of 8 x 8 fields; --set encoder.image.model=NAME encoder.image.weights=FILE "
    "has a network of timm read them, with weights from a file"
)


class Features:
    """Domains to matrices: the transform, fitted to the features of every row of all domains, then the encoder.

    No label is read. The encoder is one that nothing trains: `identity` (tables, whose texts are latent columns), or
    `side_by_side` (products, whose images are read by a given network).

    Args:
        config: of a run.
        domains: what the transform is fitted to.
    """

    def __init__(self, config: DictConfig, domains: Sequence[Domain]):
        self.transform = make_transform([domain.inputs for domain in domains], config.data.scale)
        entry = ENCODERS.get(config.encoder.name)
        self.encoder = entry.target(OmegaConf.to_object(config.encoder), self.transform.spec).eval()

    @property
    def remarks(self) -> list[str]:
        """Sentences on how the rows are read."""
        read = getattr(self.encoder, "network", "none")
        pixels = self.transform.spec.image is not None and read is None
        return [*self.transform.remarks, *([PIXELS] if pixels else [])]

    @torch.no_grad()
    def of(self, domain: Domain, rows: np.ndarray) -> Tensor:
        """Return the rows (k,) of a domain as a matrix (k, d) of numbers."""
        inputs = self.transform.transform(take(domain.inputs, rows))
        blocks = [self.encoder(_part(inputs, start)) for start in range(0, len(rows), BLOCK)]
        return torch.cat(blocks) if blocks else torch.zeros(0, self.encoder.out_features)


def _part(inputs: Inputs, start: int) -> Inputs:
    if isinstance(inputs, dict):
        return {name: tensor[start : start + BLOCK] for name, tensor in inputs.items()}
    return inputs[start : start + BLOCK]
