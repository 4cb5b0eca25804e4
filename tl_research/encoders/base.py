"""What every encoder is: a module made from its config and the shape of the inputs, that says its width."""

from __future__ import annotations

from omegaconf import DictConfig
from torch import Tensor, nn

from tl_research.config import EncoderConfig
from tl_research.data.batch import Inputs
from tl_research.data.transforms.spec import InputSpec
from tl_research.errors import ConfigError
from tl_research.registry import ENCODERS


class Encoder(nn.Module):
    """Base of all encoders: inputs -> features (n, out_features)."""

    out_features: int

    def __init__(self, config: EncoderConfig, spec: InputSpec):
        super().__init__()
        self.config, self.spec = config, spec

    @classmethod
    def is_trained(cls, config: EncoderConfig) -> bool:
        """Whether its features mean something before the run trains it: it has pre-trained weights, or none at all.

        By default they are random. What is fitted to features once asks for this (`require_trained`).
        """
        return False

    def forward(self, inputs: Inputs) -> Tensor:
        raise NotImplementedError

    def blocks(self) -> list[str]:
        """Return dotted names, relative to the encoder, of its blocks from input to output.

        A block is a layer or a stage that is frozen, unfrozen or given a learning rate as one. By default its own
        parameters and its children that have any.
        """
        own = [name for name, _ in self.named_parameters(recurse=False)]
        return own + [name for name, child in self.named_children() if any(True for _ in child.parameters())]

    def block_of(self) -> dict[str, str]:
        """Return parameter name -> the one block that it belongs to.

        That is the block whose name it begins with; a parameter outside of all (the norm behind a linear layer)
        belongs to the block of the parameter before it.

        Raises:
            RuntimeError: the first parameter is in no block.
        """
        blocks, found, last = self.blocks(), {}, None
        for name, _ in self.named_parameters():
            last = next((block for block in blocks if name == block or name.startswith(f"{block}.")), last)
            if last is None:
                raise RuntimeError(f"{type(self).__name__}.blocks: parameter {name!r} is in no block")
            found[name] = last
        return found


def require_trained(config: DictConfig, reads: str) -> None:
    """Raise `ConfigError` where something reads features that nobody has trained.

    Args:
        config: of the whole run.
        reads: what reads them, and when: for the message.
    """
    entry = ENCODERS.get(config.encoder.name)
    if entry.target.is_trained(config.encoder):
        return
    raise ConfigError(
        f"encoder.name: got {entry.name!r}, whose weights are random when {reads}; wants identity (tables one-hot, "
        "texts as tf-idf or hashed n-grams, images as pixels), or pre-trained weights: vision with encoder.weights, or "
        "text_hf"
    )


def owner_of(parameter: str) -> str:
    """Name of the module that owns a parameter; of a parameter of the encoder itself its own name."""
    return parameter.rpartition(".")[0] or parameter


def require_matrix(config: EncoderConfig, spec: InputSpec) -> None:
    """Raise `ConfigError` where rows that are no plain matrix meet an encoder of plain matrices."""
    _refuse_modalities(config, spec, "a matrix of numbers")
    if spec.is_table:
        raise ConfigError(
            f"encoder.name: {config.name!r} takes a matrix of numbers, but these rows have named columns; use 'tabular'"
        )


def require_columns(config: EncoderConfig, spec: InputSpec) -> None:
    """Raise `ConfigError` where rows without table fields meet an encoder of those."""
    if not spec.is_table:
        _refuse_modalities(config, spec, "numbers and categories")


def _refuse_modalities(config: EncoderConfig, spec: InputSpec, takes: str) -> None:
    if len(spec.modalities) > 1:
        rows, use = " and ".join(spec.modalities), "fusion"
    elif spec.image is not None:
        rows, use = "images", "vision"
    elif spec.text is not None:
        rows, use = "texts", "text_ngrams"
    else:
        return
    raise ConfigError(f"encoder.name: {config.name!r} takes {takes}, but these rows are {rows}; use {use!r}")
