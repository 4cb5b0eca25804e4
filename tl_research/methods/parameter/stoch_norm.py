"""Stochastic normalisation."""

from __future__ import annotations

from dataclasses import dataclass

from tl_research.config import share
from tl_research.encoders.stoch_norm import replaceable_norms, use_stoch_norm
from tl_research.errors import ConfigError
from tl_research.methods.staged import ParameterConfig, ParameterMethod
from tl_research.registry import register_method


@dataclass
class StochNormConfig(ParameterConfig):
    """Options of `stoch_norm`: the share p of channels that moving statistics normalise."""

    name: str = "stoch_norm"
    p: float = share(default=0.5)  # probability that a channel is normalised by its moving statistics


@register_method(
    "stoch_norm",
    config=StochNormConfig,
    family="parameter",
    settings=("few_shot", "supervised"),
    paper="Kou et al. 2020, NeurIPS, algorithm 1 (StochNorm)",
    problem=("encoder.name=mlp", "encoder.batch_norm=true", "data.shots=5"),
    gain=0.02,
    gain_in="log_loss",
    over=("fine_tune",),
)
class StochNormMethod(ParameterMethod):
    """Fine-tune with every batch norm of the encoder replaced: each channel by moving statistics with probability p.

    The source stage has plain batch normalisation. In the authors' code p is the probability of the *batch* statistics,
    the complement of this one; the default 0.5 is the same in both.
    """

    def build(self) -> None:
        if not replaceable_norms(self.encoder):
            name = self.encoder.config.name
            raise ConfigError(
                f"method.name: stoch_norm needs batch normalisation, and this encoder {name!r} has none"
                + ("; set encoder.batch_norm=true" if hasattr(self.encoder.config, "batch_norm") else "")
            )

    def make_target_parts(self) -> None:
        super().make_target_parts()
        use_stoch_norm(self.encoder, p=self.config.p)
