"""Fine-tuning that begins at the top and takes in one block more at a time."""

from __future__ import annotations

from dataclasses import dataclass

from tl_research.config import at_least
from tl_research.encoders.base import owner_of
from tl_research.methods.staged import ParameterConfig, ParameterMethod
from tl_research.registry import register_method


@dataclass
class GradualUnfreezingConfig(ParameterConfig):
    """Options of `gradual_unfreezing`: how long it waits for the next block."""

    name: str = "gradual_unfreezing"
    epochs_per_block: int = at_least(1, default=1)  # after so many epochs of the target stage one block more is trained


@register_method(
    "gradual_unfreezing",
    config=GradualUnfreezingConfig,
    family="parameter",
    settings=("few_shot", "supervised"),
    paper="Howard & Ruder 2018, ACL, section 3.3 (gradual unfreezing)",
    gain=0.05,
)
class GradualUnfreezing(ParameterMethod):
    """Fine-tune the head alone, then with it the encoder's last block, then the last two, and so on.

    One block more is unfrozen every `epochs_per_block` epochs, from the top down. What was unfrozen once stays so.

    On the problem of the contract tests it gains over `target_only` by its source stage; `fine_tune` gains more there.
    """

    def target_frozen(self, epoch: int) -> tuple[str, ...]:
        blocks = self.encoder.blocks()
        frozen = set(blocks[: max(0, len(blocks) - epoch // self.config.epochs_per_block)])
        owners = [owner_of(name) for name, block in self.encoder.block_of().items() if block in frozen]
        return tuple(f"encoder.{owner}" for owner in dict.fromkeys(owners))
