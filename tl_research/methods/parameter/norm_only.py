"""Fine-tuning of the norms."""

from __future__ import annotations

from dataclasses import dataclass

from tl_research.errors import ConfigError
from tl_research.methods.staged import ParameterConfig, ParameterMethod
from tl_research.registry import register_method


@dataclass
class NormOnlyConfig(ParameterConfig):
    """Options of `norm_only`: those of every method of stages."""

    name: str = "norm_only"


@register_method(
    "norm_only",
    config=NormOnlyConfig,
    family="parameter",
    settings=("few_shot", "supervised"),
    paper="Frankle et al. 2021, ICLR (training only BatchNorm); Li et al. 2017, ICLR workshop (AdaBN)",
    gain=0.03,
    over=("fine_tune",),
    problem=("encoder.batch_norm=true",),
)
class NormOnly(ParameterMethod):
    """Train scale and shift of the encoder's norms (batch, layer, group, RMS) and the head on the target labels.

    Running statistics follow the target rows; every other weight stays the source's.
    """

    def build(self) -> None:
        self._norms = {
            f"{name}.{parameter}"
            for name, module in self.encoder.named_modules()
            if "Norm" in type(module).__name__
            for parameter, _ in module.named_parameters(recurse=False)
        }
        if not self._norms:
            hint = "; encoder.batch_norm=true gives it one" if hasattr(self.encoder.config, "batch_norm") else ""
            raise ConfigError(
                f"method.name: encoder {self.encoder.config.name!r} has no norm that norm_only could train{hint}"
            )

    def trainable(self, name: str) -> bool:
        part, _, inner = name.partition(".")
        return part != "encoder" or inner in self._norms
