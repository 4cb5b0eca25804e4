"""Table, texts and images of a row side by side, none of them trained here."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from tl_research.config import EncoderConfig
from tl_research.data.batch import Inputs
from tl_research.data.matrix import as_matrix, matrix_width
from tl_research.data.transforms.spec import InputSpec
from tl_research.encoders.base import Encoder
from tl_research.encoders.vision import Vision, VisionConfig
from tl_research.registry import register_encoder

#: Fields per side that an image is averaged over where no network is given.
FIELDS = 8


@dataclass
class SideBySideConfig(EncoderConfig):
    """Options of `side_by_side`: the network of the images, which is read where it has weights."""

    name: str = "side_by_side"
    image: VisionConfig = field(default_factory=VisionConfig)


@register_encoder("side_by_side", config=SideBySideConfig, text="lsa")
class SideBySide(Encoder):
    """A table as numbers and 0/1 columns, texts as latent columns, images as the features of a frozen network.

    Without `encoder.image.weights` an image is the mean colours of 8 x 8 fields, from 0 to 1: enough to tell a white
    ground from a black one, hardly more. A missing image or text is 0. Nothing is trained, so that methods that are
    fitted once can read all modalities of a row.
    """

    takes = ("columns", "image", "text")

    def __init__(self, config: SideBySideConfig, spec: InputSpec):
        super().__init__(config, spec)
        self.beside = replace(spec, image=None) if spec.kinds != ("image",) else None
        width = 0 if self.beside is None else matrix_width(self.beside)
        self.network = None
        if spec.image is not None and config.image.weights is not None:
            self.network = Vision(config.image, spec).requires_grad_(False)
            width += self.network.out_features
        elif spec.image is not None:
            width += FIELDS * FIELDS * spec.image[2]
        self.out_features = width

    @classmethod
    def is_trained(cls, config: SideBySideConfig) -> bool:
        return True

    def train(self, mode: bool = True) -> SideBySide:
        super().train(mode)
        if self.network is not None:
            self.network.eval()  # its running statistics are those of its weights
        return self

    def blocks(self) -> list[str]:
        """None: nothing of it is trained."""
        return []

    def forward(self, inputs: Inputs) -> Tensor:
        if not isinstance(inputs, dict):
            return self._images(inputs, None)
        parts = []
        if self.beside is not None:
            others = {name: tensor for name, tensor in inputs.items() if not name.startswith("image")}
            parts.append(as_matrix(others, self.beside))
        if self.spec.image is not None:
            parts.append(self._images(inputs["image"], inputs.get("image_present")))
        return torch.cat(parts, dim=1)

    def _images(self, images: Tensor, present: Tensor | None) -> Tensor:
        if self.network is not None:
            features = self.network(images)
        else:
            pixels = rearrange(images, "n height width channel -> n channel height width").float() / 255
            features = F.adaptive_avg_pool2d(pixels, FIELDS).flatten(1)
        return features if present is None else features * present[:, None]
