"""What every encoder is: a module made from its config and the shape of the inputs, that says what it takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from omegaconf import DictConfig
from torch import Tensor, nn

from tl_research.config import EncoderConfig
from tl_research.data.batch import Inputs
from tl_research.data.transforms.spec import KINDS, InputSpec
from tl_research.errors import ConfigError
from tl_research.registry import ENCODERS


class Encoder(nn.Module):
    """Base of all encoders: inputs -> features (n, out_features).

    Args:
        config: group `encoder`.
        spec: what the rows hold.

    Raises:
        ConfigError: the rows hold nothing that the encoder takes.
    """

    out_features: int
    #: Kinds of rows that it takes, of `KINDS`. Of a row that holds several kinds it may leave some aside.
    takes: ClassVar[tuple[str, ...]] = ("matrix",)
    #: How many of these kinds a row must hold.
    least: ClassVar[int] = 1

    def __init__(self, config: EncoderConfig, spec: InputSpec):
        super().__init__()
        if not self.suits(spec):
            at_least = f" ({self.least} of them at least)" if self.least > 1 else ""
            use = " or ".join(repr(entry.name) for entry in ENCODERS.entries() if entry.target.suits(spec, whole=True))
            raise ConfigError(
                f"encoder.name: {config.name!r} takes {_listed(self.takes, 'or')}{at_least}, but these rows are "
                f"{_listed(spec.kinds, 'and')}; use {use}"
            )
        self.config, self.spec = config, spec

    @classmethod
    def suits(cls, spec: InputSpec, *, whole: bool = False) -> bool:
        """Whether it takes such rows; `whole`: and leaves nothing of them aside."""
        read = set(cls.takes) & set(spec.kinds)
        return len(read) >= (max(cls.least, len(spec.kinds)) if whole else cls.least)

    @classmethod
    def is_trained(cls, config: EncoderConfig) -> bool:
        """Whether its features mean something before the run trains it: its weights are pre-trained, or it has none.

        False by default: random weights. A method that fits something to the features once asks for it
        (`require_trained`).
        """
        return False

    def forward(self, inputs: Inputs) -> Tensor:
        """Return the features (n, out_features) of n rows.

        Args:
            inputs: what the transform gave, as `spec` describes it: one tensor, or named ones.
        """
        raise NotImplementedError

    def blocks(self) -> list[str]:
        """Return dotted names, relative to the encoder, of its blocks from input to output.

        A block is a layer or stage that is frozen, unfrozen or given a learning rate as a whole. By default each of the
        encoder's own parameters is a block, and each child that has parameters.
        """
        own = [name for name, _ in self.named_parameters(recurse=False)]
        return own + [name for name, child in self.named_children() if any(True for _ in child.parameters())]

    def block_of(self) -> dict[str, str]:
        """Return parameter name -> the one block that it belongs to.

        A parameter belongs to the block whose name it begins with. A parameter outside all blocks (the norm behind a
        linear layer) belongs to the block of the parameter before it.

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
    """Raise `ConfigError` where something reads the features of an encoder whose weights are random.

    Args:
        config: configuration of the whole run.
        reads: what reads the features, and when; for the message.
    """
    entry = ENCODERS.get(config.encoder.name)
    if entry.target.is_trained(config.encoder):
        return
    raise ConfigError(
        f"encoder.name: got {entry.name!r}, whose weights are random when {reads}; wants identity (tables one-hot, "
        "texts as tf-idf or hashed n-grams, images as pixels), text_lsa (texts as few columns), or pre-trained "
        "weights: vision with encoder.weights, or text_hf"
    )


def owner_of(parameter: str) -> str:
    """Return the name of the module that owns a parameter; for the encoder's own parameter, its own name."""
    return parameter.rpartition(".")[0] or parameter


def _listed(kinds: Sequence[str], word: str) -> str:
    return f" {word} ".join(KINDS[kind] for kind in kinds)
