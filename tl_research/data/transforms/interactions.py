"""Interactions as codes of users and items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from tl_research.data.transforms.spec import InputSpec, InteractionSpec
from tl_research.errors import DataError


class InteractionTransform:
    """Ids of users and items to the codes that a run's domains share.

    Args:
        interactions: numbers of codes, and items that nobody has bought yet.
        user_ids, item_ids: ids by code; None where the codes are the ids.
    """

    def __init__(
        self,
        interactions: InteractionSpec,
        user_ids: Sequence[str] | None = None,
        item_ids: Sequence[str] | None = None,
    ):
        self.interactions = interactions
        self.ids = {"user": user_ids, "item": item_ids}
        self._codes: dict[str, dict[str, int]] = {}

    @property
    def spec(self) -> InputSpec:
        """What an encoder is told: how many users and items there are."""
        return InputSpec(numeric=0, interactions=self.interactions)

    @property
    def info(self) -> dict[str, Any]:
        """Facts for the result record."""
        known = self.interactions
        columns = {} if known.content is None else {"attributes": known.content.shape[1]}
        return {"users": known.users, "items": known.items} | columns

    @property
    def remarks(self) -> list[str]:
        """Nothing is left out here; what readers leave out they say themselves."""
        return []

    def names(self, what: str, codes: np.ndarray) -> np.ndarray:
        """Return ids (n,) of codes (n,); `what` is `user` or `item`."""
        ids = self.ids[what]
        return codes.astype(str).astype(object) if ids is None else np.asarray(ids, dtype=object)[codes]

    def codes(self, what: str, ids: Sequence[Any]) -> np.ndarray:
        """Return codes (n,) of ids, -1 for one that training did not have; `what` is `user` or `item`."""
        if what not in self._codes:
            total = self.interactions.users if what == "user" else self.interactions.items
            names = self.ids[what] or [str(code) for code in range(total)]
            self._codes[what] = {name: code for code, name in enumerate(names) if name}
        return np.array([self._codes[what].get(str(name), -1) for name in ids], dtype=np.int64)

    def transform(self, raw: pd.DataFrame) -> dict[str, Tensor]:
        """Return `{"user": (n,), "item": (n,)}` for ids in columns of these names.

        Raises:
            DataError: an id that training did not have.
        """
        found = {}
        for what in ("user", "item"):
            codes = self.codes(what, raw[what].tolist())
            if (codes < 0).any():
                place = int((codes < 0).argmax())
                raise DataError(f"row {place + 1}, column {what!r}: training had no {what} {raw[what].iloc[place]!r}")
            found[what] = torch.from_numpy(codes)
        return found

    def unseen_counts(self, raw: pd.DataFrame) -> dict[str, int]:
        """Return, per column, how many rows have an id that training did not have."""
        return {what: int((self.codes(what, raw[what].tolist()) < 0).sum()) for what in ("user", "item")}

    def state_dict(self) -> dict[str, Any]:
        """Numbers of codes, the ids, and the items' attributes where there are some."""
        known = self.interactions
        counts = {"users": known.users, "items": known.items, "unsold": list(known.unsold)}
        counts["ranked_sources"] = known.ranked_sources
        ids = {f"{what}_ids": None if ids is None else [str(name) for name in ids] for what, ids in self.ids.items()}
        content = {} if known.content is None else {"content": known.content}
        return {"kind": "interactions"} | counts | ids | content

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> InteractionTransform:
        """Make the transform of what `state_dict` gave."""
        # Runs of one target alone were written without the number of ranked sources.
        ranked = state.get("ranked_sources", 0)
        spec = InteractionSpec(state["users"], state["items"], tuple(state["unsold"]), ranked, state.get("content"))
        return cls(spec, state["user_ids"], state["item_ids"])
