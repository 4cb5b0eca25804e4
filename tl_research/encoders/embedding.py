"""Users and items as learnt vectors."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from tl_research.config import EncoderConfig, above, at_least
from tl_research.data.batch import Inputs
from tl_research.data.transforms.spec import InputSpec
from tl_research.encoders.base import Encoder
from tl_research.registry import register_encoder


@dataclass
class EmbeddingConfig(EncoderConfig):
    """Group `encoder` of `embedding`."""

    name: str = "embedding"
    width: int = at_least(1, default=64)
    spread: float = above(0, default=0.1)  # standard deviation of the first weights


@register_encoder("embedding", config=EmbeddingConfig, paper="Koren, Bell & Volinsky 2009, Computer 42(8)")
class Embedding(Encoder):
    """A vector of `width` numbers for every user and every item; an interaction's features are their product."""

    takes = ("interactions",)
    #: Vectors of each user.
    user_tables = 1

    def __init__(self, config: EmbeddingConfig, spec: InputSpec):
        super().__init__(config, spec)
        known = spec.interactions
        self.users = nn.Embedding(self.user_tables * known.users, config.width)
        self.items = nn.Embedding(known.items, config.width)
        for table in (self.users, self.items):
            nn.init.normal_(table.weight, std=config.spread)
        self.out_features = config.width

    def forward(self, inputs: Inputs) -> Tensor:
        return self.users(inputs["user"]) * self.items(inputs["item"])


@dataclass
class UserEmbeddingConfig(EmbeddingConfig):
    """Group `encoder` of `user_embedding`."""

    name: str = "user_embedding"


@register_encoder("user_embedding", config=UserEmbeddingConfig, paper="Yi et al. 2019, RecSys, section 3")
class UserEmbedding(Encoder):
    """A vector of `width` numbers for every user, for methods that know items by their attributes."""

    takes = ("interactions",)

    def __init__(self, config: UserEmbeddingConfig, spec: InputSpec):
        super().__init__(config, spec)
        self.users = nn.Embedding(spec.interactions.users, config.width)
        nn.init.normal_(self.users.weight, std=config.spread)
        self.out_features = config.width

    def forward(self, inputs: Inputs) -> Tensor:
        return self.users(inputs["user"])


@dataclass
class EmbeddingPerShopConfig(EmbeddingConfig):
    """Group `encoder` of `embedding_per_shop`."""

    name: str = "embedding_per_shop"


@register_encoder("embedding_per_shop", config=EmbeddingPerShopConfig, paper="Man et al. 2017, IJCAI, section 3.1")
class EmbeddingPerShop(Embedding):
    """Every user has a vector for the source shops and another for the target; an item has one.

    Row u of the table `users` is user u's vector in the sources, row U + u the vector in the target.
    """

    user_tables = 2

    @property
    def people(self) -> int:
        """U, the number of users."""
        return self.users.num_embeddings // self.user_tables

    def forward(self, inputs: Inputs) -> Tensor:
        return self.users(inputs["user"] + self.people) * self.items(inputs["item"])
