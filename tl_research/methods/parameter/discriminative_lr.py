"""Fine-tuning with a learning rate per block: the nearer to the input, the smaller."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tl_research.config import share
from tl_research.methods.staged import ParameterConfig, ParameterMethod
from tl_research.registry import register_method


@dataclass
class DiscriminativeLRConfig(ParameterConfig):
    """Options of `discriminative_lr`: how the learning rate falls from block to block."""

    name: str = "discriminative_lr"
    # ξ: factor on the learning rate from one block to the next below; 1 is fine_tune.
    decay: float = share(zero=False, default=0.4)


@register_method(
    "discriminative_lr",
    config=DiscriminativeLRConfig,
    family="parameter",
    settings=("few_shot", "supervised"),
    paper="Howard & Ruder 2018, ACL, section 3.2 (discriminative fine-tuning; ξ = 1 / 2.6)",
    gain=0.05,
    gain_in="log_loss",
    over=("fine_tune",),
)
class DiscriminativeLR(ParameterMethod):
    """Fine-tune with lr_l = lr ξ^(L - l): l counts the blocks of the encoder from the input, the head is block L."""

    def target_groups(self) -> list[dict[str, Any]]:
        lr, decay = self.optimizer_config.lr, self.config.decay
        blocks, block_of = self.encoder.blocks(), self.encoder.block_of()
        groups = [{"params": [], "lr": lr * decay ** (len(blocks) - depth)} for depth in range(len(blocks))]
        for name, parameter in self.encoder.named_parameters():
            groups[blocks.index(block_of[name])]["params"].append(parameter)
        rest = [parameter for name, parameter in self.named_parameters() if not name.startswith("encoder.")]
        return [*groups, {"params": rest, "lr": lr}]
