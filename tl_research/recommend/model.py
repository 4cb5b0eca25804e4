"""A fitted recommender in a file: the arrays it scores with, the ids behind its codes, what each user has bought."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch

from tl_research.errors import DataError
from tl_research.interactions.ranks import top_items
from tl_research.recommenders.base import Recommender
from tl_research.recommenders.packing import packed, packed_recommender, unpacked, unpacked_recommender
from tl_research.storage.checkpoints import read_checkpoint

FILE = "recommender.pt"
FORMAT = 1


@dataclass(frozen=True)
class RecommenderModel:
    """A fitted recommender with ids.

    Fields:
        recommender: fitted.
        users, items: ids by code; of a user whom no list is for, an empty one.
        seen: (users, items) of ones: what is not recommended again.
        popular: (items of the catalogue,) codes, most bought first: for users that the model does not know.
        path: of its file, for messages.
    """

    recommender: Recommender
    users: np.ndarray
    items: np.ndarray
    seen: sp.csr_matrix
    popular: np.ndarray
    path: str = ""

    def save(self, folder: Path) -> None:
        """Write `recommender.pt` into a folder."""
        content = {
            "format": FORMAT,
            **packed_recommender(self.recommender),
            "users": [str(name) for name in self.users],
            "items": [str(name) for name in self.items],
            "seen": packed(self.seen),
            "popular": packed(self.popular),
        }
        torch.save(content, folder / FILE)

    @classmethod
    def load(cls, folder: str | Path) -> RecommenderModel:
        """Read a folder of `tl-research recommend`.

        Raises:
            DataError: there is no such file, or it is none of ours.
        """
        path = Path(folder) / FILE
        if not path.is_file():
            raise DataError(f"{path}: there is no recommender in this folder; `tl-research recommend` writes one")
        content = read_checkpoint(path)
        is_ours = isinstance(content, dict) and content.get("format") == FORMAT
        recommender = unpacked_recommender(content) if is_ours else None
        if recommender is None:
            raise DataError(f"{path}: is no recommender of this version")
        users, items = (np.asarray(content[what], dtype=object) for what in ("users", "items"))
        return cls(recommender, users, items, unpacked(content["seen"]), unpacked(content["popular"]), str(path))

    def lists(self, users: Sequence[str], *, top: int, unknown: str = "refuse") -> pd.DataFrame:
        """Return `user`, `rank` (from 1), `item`: the best items of each user, without what the user has bought.

        Args:
            users: ids.
            top: items per user; fewer where the catalogue ends.
            unknown: `refuse`, or `popularity`: users without an interaction in training get the most bought items.

        Raises:
            DataError: a user is unknown, and `unknown` is `refuse`.
        """
        ids = np.asarray([str(user) for user in users], dtype=object)
        places = {name: code for code, name in enumerate(self.users) if name}
        codes = np.array([places.get(name, -1) for name in ids], dtype=np.int64)
        strangers = np.flatnonzero(codes < 0)
        if len(strangers) and unknown == "refuse":
            raise DataError(
                f"{self.path}: {len(strangers):,} of {len(ids):,} users are not known to the model, the first "
                f"{ids[strangers[0]]!r}; leave them out, or give them the most bought items: --unknown popularity"
            )
        found = np.full((len(ids), top), -1)
        known = np.flatnonzero(codes >= 0)
        made = self.recommender
        found[known] = top_items(made.score, codes[known], self.seen, made.catalogue, top)
        best = self.popular[:top]
        found[strangers, : len(best)] = best
        row, rank = np.nonzero(found >= 0)
        return pd.DataFrame({"user": ids[row], "rank": rank + 1, "item": self.items[found[row, rank]]})
