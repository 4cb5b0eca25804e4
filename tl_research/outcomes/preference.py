"""What users prefer: the rank of each held-out item among all that its user could have been shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from tl_research.metrics.intervals import mean_interval, mean_of_means_interval
from tl_research.metrics.preferences import AT
from tl_research.metrics.ranking import UserRanks
from tl_research.metrics.registered import values_of
from tl_research.metrics.requested import find_metric
from tl_research.outcomes.base import Outcome


@dataclass(frozen=True)
class PreferenceOutcome(Outcome):
    """A row is a purchase: a user and an item, of label 1. The outputs (n, 2) of held-out rows are (rank, user).

    The rank is that of the row's item among all items that its user could be shown (`interactions.ranks`). Metrics
    are means over users. Training has losses of its own: a method that learns preferences says its `task_loss`.

    Fields:
        per_domain: whether the outputs are (rank, user, domain) of rows of several domains; a metric is then the mean
            over the domains of the means over users.
    """

    per_domain: bool = False

    kind: ClassVar[str] = "preference"
    main: ClassVar[str] = "ndcg10"
    second: ClassVar[str] = "recall10"
    plural: ClassVar[str] = "preferences"
    shots: ClassVar[str] = "per user"

    @property
    def width(self) -> int:
        return 3 if self.per_domain else 2

    def head(self, features: int) -> nn.Module:
        return nn.Identity()

    def row_losses(self, outputs: Tensor, label: Tensor) -> Tensor:
        """log2(1 + rank): what NDCG discounts by."""
        return torch.log2(1 + outputs[:, 0])

    def rows_of(self, outputs: Tensor, label: Tensor, group: np.ndarray | None = None) -> UserRanks:
        rank, user = outputs[:, :2].double().numpy().T
        return UserRanks.group(user.astype(np.int64), rank)

    def metrics(self, outputs: Tensor, label: Tensor) -> dict[str, float]:
        return _means([values_of(self.kind, ranks) for ranks in self._of_domains(outputs, label)])

    def figure(self, metric: str, outputs: Tensor, label: Tensor) -> float | None:
        function = find_metric(metric).function
        values = [function(ranks) for ranks in self._of_domains(outputs, label)]
        return _means([{} if value is None else {metric: value} for value in values]).get(metric)

    def interval(self, metric: str, value: float, outputs: Tensor, label: Tensor) -> tuple[float, float] | None:
        per_user, k = AT[metric]
        of_domains = self._of_domains(outputs, label)
        if len(of_domains) == 1:
            return mean_interval(per_user(of_domains[0], k))
        users = np.concatenate([ranks.users for ranks in of_domains])
        domain = np.repeat(np.arange(len(of_domains)), [len(ranks.users) for ranks in of_domains])
        return mean_of_means_interval(users, domain, np.concatenate([per_user(ranks, k) for ranks in of_domains]))

    def _of_domains(self, outputs: Tensor, label: Tensor) -> list[UserRanks]:
        if outputs.shape[1] == 2:  # new rows of the target
            return [self.rows_of(outputs, label)]
        domain = outputs[:, 2]
        parts = [domain == number for number in domain.unique()]
        return [self.rows_of(outputs[part], label[part]) for part in parts]

    def columns(self, outputs: Tensor) -> dict[str, np.ndarray]:
        return {"rank": outputs[:, 0].numpy()}

    def state_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "per_domain": self.per_domain}


def _means(found: list[dict[str, float]]) -> dict[str, float]:
    """Mean over domains of each metric that every domain has a value of."""
    names = [name for name in (found[0] if found else {}) if all(name in values for values in found)]
    return {name: float(np.mean([values[name] for values in found])) for name in names}
