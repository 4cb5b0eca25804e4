"""Linear probing, then fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import DictConfig

from tl_research.config import above, check, share
from tl_research.methods.base import Phase
from tl_research.methods.staged import ParameterConfig, ParameterMethod, source_epochs
from tl_research.registry import register_method


@dataclass
class LPFTConfig(ParameterConfig):
    """Options of `lp_ft`: how long the head trains alone, and the learning rate after it."""

    name: str = "lp_ft"
    new_head: bool = True
    # Of the epochs of the target stage, rounded, in which the encoder is frozen.
    probe_share: float = share(zero=False, one=False, default=0.5)
    tune_lr_scale: float = above(0, default=1.0)  # further factor on the learning rate once the encoder is not


@register_method(
    "lp_ft",
    config=LPFTConfig,
    family="parameter",
    settings=("few_shot", "supervised"),
    paper="Kumar et al. 2022, ICLR, section 3.3 (LP-FT)",
    gain=0.08,
    gain_in="log_loss",
    over=("fine_tune", "method.new_head=true"),
)
class LPFT(ParameterMethod):
    """Fit a new head on the frozen encoder, then train both from there.

    A random head sends large gradients into the encoder and distorts what the source taught it; a fitted one does not.
    """

    @classmethod
    def check_config(cls, config: DictConfig) -> None:
        super().check_config(config)
        epochs = config.trainer.max_epochs
        left = epochs - source_epochs(config.method.source_share, epochs)
        check(left >= 2, "trainer.max_epochs", epochs, "2 or more epochs of the target stage, for probe and tuning")

    @property
    def probe_epochs(self) -> int:
        """Epochs of the target stage in which the encoder is frozen."""
        return source_epochs(self.config.probe_share, self.epochs - self.source_epochs)

    def target_phase(self, epoch: int) -> Phase:
        scale = self.config.lr_scale
        if epoch < self.probe_epochs:
            return Phase("probe", source=False, frozen=("encoder",), lr_scale=scale)
        return Phase("tune", source=False, lr_scale=scale * self.config.tune_lr_scale)
