"""`Shelf`: what one domain can show, and what each user has there already, as buffers."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from tl_research.nn.fitted import Fitted


class Shelf(Fitted):
    """The catalogue of a domain, and its users' purchases there.

    Buffers, made by `stock`: `catalogue` (c,) sorted codes of the items that may be recommended; `seen_start` (users
    + 1,) and `seen_item`: what each user has there.
    """

    catalogue: Tensor
    seen_start: Tensor
    seen_item: Tensor

    def stock(self, catalogue: np.ndarray, bought: sp.csr_matrix) -> None:
        """Keep a catalogue (c,), and the domain's matrix (users, items) of ones."""
        bought.sort_indices()
        found = {
            "catalogue": catalogue,
            "seen_start": bought.indptr.astype(np.int64),
            "seen_item": bought.indices.astype(np.int64),
        }
        self.keep(**{name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in found.items()})

    def place_in_catalogue(self, item: Tensor) -> Tensor:
        """Return places (n,) of item codes (n,) in the catalogue, -1 outside."""
        place = torch.searchsorted(self.catalogue, item).clamp_max(len(self.catalogue) - 1)
        return torch.where(self.catalogue[place] == item, place, -1)

    def seen_by(self, users: Tensor) -> tuple[Tensor, Tensor]:
        """Return what users (u,) have here: starts (u + 1,), and places in the catalogue, user after user."""
        first, count = self.seen_start[users], self.seen_start[users + 1] - self.seen_start[users]
        start = torch.cat([count.new_zeros(1), count.cumsum(0)])
        at = torch.arange(int(start[-1]), device=users.device)
        at = at + torch.repeat_interleave(first - start[:-1], count)
        return start, self.place_in_catalogue(self.seen_item[at])
