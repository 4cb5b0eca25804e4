"""What methods share that play a discriminator's game in one pass, through a reversed gradient."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from tl_research.config import MethodConfig, all_at_least, at_least
from tl_research.losses.adversarial import ganin_ramp
from tl_research.nn.mlp import mlp_layers


@dataclass
class ReversalConfig(MethodConfig):
    """Options of a reversed gradient: its weight λ and its ramp, and the discriminator."""

    weight: float = at_least(0, default=1.0)  # lambda: of the reversed gradient, at the end of the ramp
    ramp: bool = True  # lambda grows with progress as 2 / (1 + exp(-10 p)) - 1; otherwise it is constant
    hidden: list[int] = all_at_least(1, fewest=0, default=[256])  # discriminator widths; [] is logistic regression

    def scale(self, progress: float) -> float:
        """Return λ at `progress` of the training. It scales the reversed gradient alone: the discriminator learns on.

        Args:
            progress: share of the training that is done, 0 to 1.
        """
        return self.weight * (ganin_ramp(progress) if self.ramp else 1.0)


def make_discriminator(width: int, hidden: list[int], outputs: int = 1, *, bias: bool = True) -> nn.Sequential:
    """Make the untrained map from rows (n, width) through hidden layers to logits (n, outputs).

    Args:
        width: of the rows.
        hidden: widths of the layers between.
        outputs: logits per row.
        bias: whether the logits have one; a difference of two logits has none.
    """
    layers, width = mlp_layers(width, hidden, activation="relu", dropout=0.0, batch_norm=False)
    return layers.append(nn.Linear(width, outputs, bias=bias))
