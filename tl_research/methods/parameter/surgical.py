"""Fine-tuning of one block of the encoder."""

from __future__ import annotations

from dataclasses import dataclass

from tl_research.config import check_choice
from tl_research.errors import ConfigError
from tl_research.methods.staged import ParameterConfig, ParameterMethod
from tl_research.registry import register_method


@dataclass
class SurgicalConfig(ParameterConfig):
    """Options of `surgical`: the one block that is trained."""

    name: str = "surgical"
    block: str = "first"  # first, last, head, or a name of the encoder's blocks (layers.0, ...)


@register_method(
    "surgical",
    config=SurgicalConfig,
    family="parameter",
    settings=("few_shot", "supervised"),
    paper="Lee et al. 2023, ICLR (surgical fine-tuning)",
    gain=0.05,
    gain_in="log_loss",
    over=("fine_tune",),
)
class Surgical(ParameterMethod):
    """Train one block on the target labels and leave all others as the source made them.

    The first block answers a shift of the inputs, a middle one a shift of features, the head a shift of the labels
    (Lee et al., section 3). A `new` head is trained in any case.
    """

    def build(self) -> None:
        blocks = self.encoder.blocks()
        if not blocks:
            raise ConfigError(f"method.name: encoder {self.encoder.config.name!r} has no block to be trained")
        check_choice("method.block", self.config.block, ["first", "last", "head", *blocks])
        self.block = {"first": blocks[0], "last": blocks[-1]}.get(self.config.block, self.config.block)
        self._block_of = self.encoder.block_of()

    def trainable(self, name: str) -> bool:
        part, _, inner = name.partition(".")
        if part == "encoder":
            return self._block_of[inner] == self.block
        return self.block == "head" or self.config.new_head
