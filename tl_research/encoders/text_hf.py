"""Any encoder of Hugging Face transformers, from a local folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from tl_research.config import EncoderConfig, one_of
from tl_research.data.batch import Inputs
from tl_research.data.transforms.spec import InputSpec
from tl_research.encoders.base import Encoder
from tl_research.encoders.text import POOLS, pool_tokens, require_form
from tl_research.errors import ConfigError, UserError
from tl_research.nn.blocks import child_blocks
from tl_research.registry import register_encoder


@dataclass
class TextHFConfig(EncoderConfig):
    """Options of `text_hf`: the folder of the model, and how the states of the tokens become one vector."""

    name: str = "text_hf"
    path: str | None = None  # folder of model and tokenizer, as save_pretrained writes it
    pool: str = one_of(POOLS, default="mean")  # or first: the state of the first token
    random_weights: bool = False  # the architecture of the folder, not its weights
    grad_checkpointing: bool = False


@register_encoder("text_hf", config=TextHFConfig, paper="Wolf et al. 2020, EMNLP (transformers)", text="pretrained")
class TextHF(Encoder):
    """A pre-trained text encoder over the token ids of its own tokenizer; one vector per text."""

    takes = ("text",)

    def __init__(self, config: TextHFConfig, spec: InputSpec):
        super().__init__(config, spec)
        require_form(config, spec, ("pretrained",))
        self.model = _load(config)
        settings = self.model.config
        longest = getattr(settings, "max_position_embeddings", None)
        if longest is not None and spec.text.width > longest:
            raise ConfigError(f"data.text.length: got {spec.text.width} tokens, but {config.path} takes {longest}")
        if spec.text.size > settings.vocab_size:
            raise ConfigError(
                f"data.text.tokenizer: it has {spec.text.size} tokens, but the model of encoder.path has "
                f"{settings.vocab_size}; are they of one folder?"
            )
        self.out_features = settings.hidden_size

    @classmethod
    def is_trained(cls, config: TextHFConfig) -> bool:
        return not config.random_weights

    def forward(self, inputs: Inputs) -> Tensor:
        ids = inputs["text_ids"].long()
        present = ids != self.spec.text.padding
        # Attention over nothing would be nan, so a text without any token attends to its first padding.
        attended = present.clone()
        attended[:, 0] = True
        states = self.model(input_ids=ids, attention_mask=attended.long()).last_hidden_state
        return pool_tokens(states, present, self.config.pool)

    def blocks(self) -> list[str]:
        """Embeddings, layers and what follows them."""
        return child_blocks(
            self.model, "model", open_up=("encoder", "transformer", "layer", "layers", "albert_layer_groups")
        )


def _load(config: TextHFConfig) -> nn.Module:
    try:
        from transformers import AutoConfig, AutoModel
    except ImportError:
        raise UserError("encoder.name=text_hf: pip install 'tl_research[text]'") from None
    if config.path is None:
        raise ConfigError("encoder.path: missing; text_hf needs the folder of a model")
    folder = Path(config.path).expanduser()
    if not (folder / "config.json").is_file():
        raise ConfigError(f"encoder.path: {folder}: holds no config.json of a transformers model")
    try:
        if config.random_weights:
            model = AutoModel.from_config(AutoConfig.from_pretrained(folder, local_files_only=True))
        else:
            model = AutoModel.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"encoder.path: {folder}: not a model ({str(error).splitlines()[0]})") from None
    # The pooler serves next-sentence prediction. Nothing here reads it: its parameters would have no gradient.
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    if config.grad_checkpointing:
        enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
        enable()
    return model.train()
