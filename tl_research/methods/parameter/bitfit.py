"""Fine-tuning of the biases."""

from __future__ import annotations

from dataclasses import dataclass

from tl_research.errors import ConfigError
from tl_research.methods.staged import ParameterConfig, ParameterMethod
from tl_research.registry import register_method


@dataclass
class BitFitConfig(ParameterConfig):
    """Options of `bitfit`: those of every method of stages."""

    name: str = "bitfit"


@register_method(
    "bitfit",
    config=BitFitConfig,
    family="parameter",
    settings=("few_shot", "supervised"),
    paper="Ben Zaken et al. 2022, ACL (BitFit)",
    gain=0.02,
    over=("fine_tune",),
)
class BitFit(ParameterMethod):
    """Train the encoder's biases and the head on the target labels; every other weight stays the source's.

    A norm of which the bias alone is trained keeps its running statistics.
    """

    def build(self) -> None:
        if not any(_is_bias(name) for name, _ in self.encoder.named_parameters()):
            raise ConfigError(f"method.name: encoder {self.encoder.config.name!r} has no bias that bitfit could train")

    def trainable(self, name: str) -> bool:
        return not name.startswith("encoder.") or _is_bias(name)


def _is_bias(name: str) -> bool:
    return name.rpartition(".")[2].endswith("bias")
