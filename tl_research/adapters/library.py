"""Adapters of the `peft` library, for transformers encoders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from tl_research.errors import ConfigError

if TYPE_CHECKING:
    import peft


def attach_peft(model: nn.Module, config: peft.PeftConfig) -> list[str]:
    """Put adapters of the `peft` library into a network, in place; all of its other parameters are frozen.

    Unlike our own adapters these replace the layers, so that the network's parameters change their names
    (`query.weight` becomes `query.base_layer.weight`): load the bare network's weights before.

    Args:
        model: any network that the library knows how to adapt, such as a Hugging Face encoder.
        config: what to put in, such as `peft.LoraConfig(r=8, target_modules=["query", "value"])`.

    Returns:
        Names of the parameters that train.

    Raises:
        ConfigError: the library is not installed, or it finds no layer of that name.
    """
    try:
        import peft
    except ImportError:
        raise ConfigError("adapters of the peft library need it: pip install 'tl_research[peft]'") from None
    try:
        peft.inject_adapter_in_model(config, model)
    except ValueError as error:
        raise ConfigError(f"target_modules: {str(error).splitlines()[0]}") from error
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]
