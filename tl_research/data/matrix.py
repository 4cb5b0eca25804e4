"""Rows of any data set of numbers, categories, images or n-grams as one matrix."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tl_research.data.batch import Inputs
from tl_research.data.transforms.spec import InputSpec
from tl_research.errors import ConfigError


def matrix_width(spec: InputSpec) -> int:
    """Return the number of columns of `as_matrix`.

    Raises:
        ConfigError: the texts are rows of token ids, whose numbers measure nothing.
    """
    width = spec.numeric + sum(count - 1 for count in spec.cardinalities)
    if spec.image is not None:
        height, columns, channels = spec.image
        width += height * columns * channels
    if spec.text is not None:
        if spec.text.form in ("words", "pretrained"):
            raise ConfigError(f"data.text.form: {spec.text.form} gives token ids, which are no matrix; use tfidf")
        width += spec.text.size
    return width


def as_matrix(inputs: Inputs, spec: InputSpec) -> Tensor:
    """Return rows as one float matrix (n, d).

    A matrix stays as it is. A table becomes its numbers, then one 0/1 column per category; a category that training
    did not see (code 0) has no column, so that all columns of its variable are 0. Bytes of an image become numbers from
    0 to 1, n-grams their dense weights, latent columns stay as they are. Missing images and texts are rows of 0.

    Raises:
        ConfigError: the texts are rows of token ids.
    """
    if not isinstance(inputs, dict):
        return inputs.flatten(1).float() / 255 if spec.image is not None else inputs.flatten(1)
    matrix_width(spec)  # refuses token ids
    parts = []
    if "numeric" in inputs:
        numeric, codes = inputs["numeric"], inputs["categorical"]
        encoded = [F.one_hot(codes[:, c].long(), count)[:, 1:] for c, count in enumerate(spec.cardinalities)]
        parts += [numeric, *(part.to(numeric.dtype) for part in encoded)]
    if "image" in inputs:
        pixels = inputs["image"].flatten(1).float() / 255
        parts.append(pixels * inputs["image_present"][:, None] if "image_present" in inputs else pixels)
    if "text_index" in inputs:
        index, value = inputs["text_index"], inputs["text_value"]
        dense = value.new_zeros(len(index), spec.text.size)
        parts.append(dense.scatter_add_(1, index.long(), value))
    if "text_dense" in inputs:
        parts.append(inputs["text_dense"])
    return torch.cat(parts, dim=1)
