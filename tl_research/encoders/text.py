"""What the encoders of text share."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from tl_research.config import EncoderConfig
from tl_research.data.transforms.spec import InputSpec
from tl_research.errors import ConfigError

POOLS = ("mean", "first")


def require_form(config: EncoderConfig, spec: InputSpec, forms: Sequence[str]) -> None:
    """Raise `ConfigError` unless the texts are in one of `forms`."""
    if spec.text.form not in forms:
        wants = " or ".join(forms)
        raise ConfigError(f"data.text.form: got {spec.text.form!r}, but encoder {config.name!r} takes {wants}")


def pool_tokens(states: Tensor, present: Tensor, pool: str) -> Tensor:
    """Return one vector per text: the first token's, or the mean over its tokens (0 for a text without any)."""
    if pool == "first":
        return states[:, 0]
    weight = present.unsqueeze(-1).to(states.dtype)
    return (states * weight).sum(1) / weight.sum(1).clamp(min=1)
