"""From a configuration to a method and its encoder."""

from __future__ import annotations

from omegaconf import DictConfig, OmegaConf

from tl_research.methods.base import AdaptationModule
from tl_research.registry import ENCODERS, METHODS


def build_method(config: DictConfig, spec, classes: int) -> AdaptationModule:
    """Make encoder and method of a configuration for inputs of shape `spec`; no classes: regression."""
    encoder_entry, method_entry = ENCODERS.get(config.encoder.name), METHODS.get(config.method.name)
    encoder = encoder_entry.target(OmegaConf.to_object(config.encoder), spec)
    return method_entry.target(
        OmegaConf.to_object(config.method),
        encoder,
        classes=classes,
        optimizer=OmegaConf.to_object(config.optimizer),
        epochs=config.trainer.max_epochs,
    )
