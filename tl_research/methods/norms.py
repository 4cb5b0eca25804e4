"""Methods that change the batch norms of a source model, and nothing else of it."""

from __future__ import annotations

from omegaconf import DictConfig

from tl_research.config import check
from tl_research.errors import ConfigError
from tl_research.methods.finished_run import SourceFree
from tl_research.nn.batch_norms import batch_norms


class NormsAlone(SourceFree):
    """A source model whose encoder's batch norms adapt: their scale and shift by `terms`, their statistics by rows."""

    @classmethod
    def check_config(cls, config: DictConfig) -> None:
        super().check_config(config)
        has, method = getattr(config.encoder, "batch_norm", None), config.method.name
        check(has is not False, "encoder.batch_norm", has, f"true: method {method!r} adapts batch norms alone")

    @classmethod
    def needs_whole_weights(cls) -> str | None:
        return "adapts batch norms alone, and measures them through the whole encoder"

    def build(self) -> None:
        self._adapted = {f"encoder.{name}" for name in batch_norms(self.encoder)}
        if not self._adapted:
            name, method = self.encoder.config.name, self.config.name
            raise ConfigError(
                f"encoder.name: {name!r} has no batch norm here, and method {method!r} adapts nothing else"
            )

    def trainable(self, name: str) -> bool:
        return name.rpartition(".")[0] in self._adapted
