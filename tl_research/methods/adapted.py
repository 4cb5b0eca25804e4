"""Training adapters on a frozen encoder."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from tl_research.adapters.base import CHILD, Adapter, attach, matching_layers
from tl_research.data.batch import Samples
from tl_research.methods.base import Phase
from tl_research.methods.staged import ParameterConfig, ParameterMethod


@dataclass
class AdapterMethodConfig(ParameterConfig):
    """What every method of adapters has beside its own options."""

    layers: list[str] = field(default_factory=lambda: ["*"])  # names or shell patterns of the encoder's layers


class AdapterMethod(ParameterMethod):
    """Trains adapters and the head in the target stage; the encoder's own parameters and statistics are frozen."""

    def make_adapter(self, layer: nn.Module) -> Adapter:
        """Return the adapter of a layer, which changes nothing yet."""
        raise NotImplementedError

    def build(self) -> None:
        # Refuse a wrong pattern before the source stage, not after it.
        matching_layers(self.encoder, self.config.layers, key="method.layers")

    def make_target_parts(self) -> None:
        super().make_target_parts()
        with torch.random.fork_rng(devices=[]):  # the rank does not change what else is drawn
            attach(self.encoder, self.make_adapter, layers=self.config.layers, key="method.layers")

    def enter_target_stage(self, labeled: Samples) -> None:
        own = [p for name, p in self.encoder.named_parameters() if _is_of_an_adapter(name)]
        names = list(matching_layers(self.encoder, self.config.layers))
        self.facts["adapters"] = {
            "layers": names, "count": len(names), "parameters": sum(p.numel() for p in own),
        }  # fmt: skip

    def trainable(self, name: str) -> bool:
        return not name.startswith("encoder.") or _is_of_an_adapter(name)

    def _enter(self, phase: Phase) -> None:
        super()._enter(phase)
        if not phase.source:
            # A norm without affine parameters has no `requires_grad` to check, so its statistics are frozen here.
            for module in self.encoder.modules():
                if isinstance(module, _NormBase):
                    module.eval()


def _is_of_an_adapter(name: str) -> bool:
    return f".{CHILD}." in name
