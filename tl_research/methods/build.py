"""From a configuration to a method and its encoder."""

from __future__ import annotations

from omegaconf import DictConfig, OmegaConf

from tl_research.data.transforms.spec import InputSpec
from tl_research.methods.base import AdaptationModule
from tl_research.outcomes.base import Outcome
from tl_research.registry import ENCODERS, METHODS


def build_method(config: DictConfig, spec: InputSpec, outcome: Outcome) -> AdaptationModule:
    """Make encoder and method of a configuration.

    Args:
        config: from `config.compose`.
        spec: shape of the inputs.
        outcome: what is predicted.
    """
    encoder_entry, method_entry = ENCODERS.get(config.encoder.name), METHODS.get(config.method.name)
    encoder = encoder_entry.target(OmegaConf.to_object(config.encoder), spec)
    return method_entry.target(
        OmegaConf.to_object(config.method),
        encoder,
        outcome=outcome,
        optimizer=OmegaConf.to_object(config.optimizer),
        epochs=config.trainer.max_epochs,
        sources=list(config.data.sources),
    )
