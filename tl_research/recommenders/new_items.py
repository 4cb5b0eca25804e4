"""What nobody has bought yet comes first, in random order: what a method for new items is held against."""

from __future__ import annotations

import numpy as np
import torch

from tl_research.interactions.training import Training
from tl_research.nn.counter_random import counted
from tl_research.recommenders.base import Recommender

#: Numbers that `counted` gives lie below it.
LIMIT = 2**62


class NewItems(Recommender):
    """score(u, i) = r_ui + 1 where nobody has bought i in the target, else r_ui - 1; r drawn from [0, 1) by the seed.

    A task that tests on new items alone is partly solved by knowing which ones are new. What a method says beyond that
    is its gain over this one. Equal scores would not do: ties share their mean rank, behind the list's end where many
    items are new, while a random order has some hits.
    """

    def learn(self, training: Training, seed: int) -> None:
        is_new = np.isin(self.catalogue, np.array(training.unsold, dtype=np.int64))
        self.line, self.seed = np.where(is_new, 1, -1).astype(np.float32), seed

    def score(self, users: np.ndarray) -> np.ndarray:
        number = counted(self.seed, torch.from_numpy(users)[:, None], torch.from_numpy(self.catalogue))
        return (number.double() / LIMIT).float().numpy() + self.line
