"""`Described`: recommenders that read the attributes of items."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from tl_research.errors import ConfigError
from tl_research.methods.recommending import Recommending


class Described(Recommending):
    """Items have attributes: the buffer `content` (items, d), which a checkpoint has with the transform.

    Hooks: `make_parts` makes what reads them.
    """

    content: Tensor

    def build(self) -> None:
        content = self.encoder.spec.interactions.content
        if content is None:
            raise ConfigError(
                f"method.name: {self.config.name!r} reads attributes of items, and the data have none; data.name="
                "interactions takes them from data.items=FILE"
            )
        # The transform keeps it already.
        self.register_buffer("content", content, persistent=False)
        self.make_parts(content.shape[1])

    @abstractmethod
    def make_parts(self, columns: int) -> None:
        """Make the parts that read `columns` attributes per item."""
