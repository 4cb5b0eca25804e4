"""Parts that are fitted in closed form. They keep what they fitted in buffers, so that a checkpoint holds it."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn


class Fitted(nn.Module):
    """A module without buffers until it is fitted; the data decide their shapes.

    `keep(name=tensor)` makes or replaces a buffer. Loading a state dict makes the buffers that the state has, so that a
    part that is not yet fitted can take the state of one that is.
    """

    def __init__(self):
        super().__init__()
        self._kept: list[str] = []

    def keep(self, **tensors: Tensor) -> None:
        """Store tensors as buffers without gradient. A buffer of the same name is replaced."""
        for name, tensor in tensors.items():
            if name in self._buffers:
                self._buffers[name] = tensor.detach()
            else:
                self.register_buffer(name, tensor.detach())
                self._kept.append(name)

    @property
    def is_fitted(self) -> bool:
        """Whether it has kept anything."""
        return bool(self._kept)

    def _load_from_state_dict(self, state_dict, prefix, *args, **kwargs):
        for key, value in state_dict.items():
            name = key[len(prefix) :]
            if key.startswith(prefix) and "." not in name and name not in self._parameters:
                self.keep(**{name: value.clone()})
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


class FittedPart(Fitted):
    """A fitted part that is made from its config: `CORAL(config)`, or from the config's fields, `CORAL(ridge=0.1)`.

    Args:
        config: has the fields of `Config`, which checks their ranges.
        options: fields of `Config`, where no config is given.

    Raises:
        ConfigError: an option out of range; the message begins with the option's name.
    """

    #: Dataclass of the options; the decorator that registers the part sets it.
    Config: ClassVar[type]

    def __init__(self, config: Any = None, **options: Any):
        super().__init__()
        self.config = type(self).Config(**options) if config is None else config
