"""Texts as few latent columns, beside the columns of a table."""

from __future__ import annotations

from dataclasses import dataclass

from tl_research.data.transforms.spec import InputSpec
from tl_research.encoders.identity import Identity, IdentityConfig
from tl_research.encoders.text import require_form
from tl_research.registry import register_encoder


@dataclass
class TextLsaConfig(IdentityConfig):
    """Options of `text_lsa`: none; how many columns the texts become is `data.text.columns`."""

    name: str = "text_lsa"


@register_encoder(
    "text_lsa",
    config=TextLsaConfig,
    paper="Deerwester et al. 1990, Journal of the American Society for Information Science 41(6)",
    text="lsa",
)
class TextLsa(Identity):
    """The latent columns of texts (`data.text.form=lsa`), behind the table's columns as `identity` has them.

    The data fit them to the training rows of all domains, without a label. Nothing is trained, so that methods that are
    fitted once can read them.
    """

    takes = ("text", "columns")

    def __init__(self, config: TextLsaConfig, spec: InputSpec):
        super().__init__(config, spec)
        if spec.text is not None:
            require_form(config, spec, ("lsa",))
