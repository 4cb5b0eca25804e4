"""What users prefer: the rank of each held-out item among all that its user could have been shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from tl_research.metrics.intervals import mean_interval
from tl_research.metrics.preferences import AT
from tl_research.metrics.ranking import UserRanks
from tl_research.metrics.registered import values_of
from tl_research.outcomes.base import Outcome


@dataclass(frozen=True)
class PreferenceOutcome(Outcome):
    """A row is a purchase: a user and an item, of label 1. The outputs (n, 2) of held-out rows are (rank, user).

    The rank is that of the row's item among all items that its user could be shown (`interactions.ranks`). Metrics
    are means over users. Training has losses of its own: a method that learns preferences says its `task_loss`.
    """

    kind: ClassVar[str] = "preference"
    main: ClassVar[str] = "ndcg10"
    second: ClassVar[str] = "recall10"
    plural: ClassVar[str] = "preferences"
    shots: ClassVar[str] = "per user"

    @property
    def width(self) -> int:
        return 2

    def head(self, features: int) -> nn.Module:
        return nn.Identity()

    def row_losses(self, outputs: Tensor, label: Tensor) -> Tensor:
        """log2(1 + rank): what NDCG discounts by."""
        return torch.log2(1 + outputs[:, 0])

    def rows_of(self, outputs: Tensor, label: Tensor, group: np.ndarray | None = None) -> UserRanks:
        rank, user = outputs.double().numpy().T
        return UserRanks.group(user.astype(np.int64), rank)

    def metrics(self, outputs: Tensor, label: Tensor) -> dict[str, float]:
        return values_of(self.kind, self.rows_of(outputs, label))

    def interval(self, metric: str, value: float, outputs: Tensor, label: Tensor) -> tuple[float, float] | None:
        per_user, k = AT[metric]
        return mean_interval(per_user(self.rows_of(outputs, label), k))

    def columns(self, outputs: Tensor) -> dict[str, np.ndarray]:
        return {"rank": outputs[:, 0].numpy()}

    def state_dict(self) -> dict[str, Any]:
        return {"kind": self.kind}
