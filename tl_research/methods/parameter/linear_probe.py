"""Linear probing: the source's encoder as it is, and a head on it."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import DictConfig

from tl_research.encoders.base import require_trained
from tl_research.methods.staged import ParameterConfig, ParameterMethod
from tl_research.registry import register_method


@dataclass
class LinearProbeConfig(ParameterConfig):
    """Options of `linear_probe`: those of every method of stages; its head is new unless said otherwise."""

    name: str = "linear_probe"
    new_head: bool = True


@register_method(
    "linear_probe",
    config=LinearProbeConfig,
    family="parameter",
    settings=("few_shot", "supervised"),
    paper="Alain & Bengio 2016, arXiv:1610.01644 (linear probes); Kornblith et al. 2019, CVPR, section 3",
    gain=0.1,
    gain_in="log_loss",
    over=("fine_tune",),
)
class LinearProbe(ParameterMethod):
    """Train a linear head on the features of the encoder that the source trained: min over W of CE(W e_s(x), y).

    The encoder is frozen, in evaluation mode: without dropout, its running statistics the source's.
    """

    @classmethod
    def check_config(cls, config: DictConfig) -> None:
        super().check_config(config)
        if config.method.source_share == 0 and config.method.start == "phases":
            require_trained(config, "method 'linear_probe' freezes them: method.source_share is 0")

    def trainable(self, name: str) -> bool:
        return not name.startswith("encoder.")

    def target_frozen(self, epoch: int) -> tuple[str, ...]:
        return ("encoder",)
