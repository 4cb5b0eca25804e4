"""The random generators of a run, kept in its resume checkpoint."""

from __future__ import annotations

import random
from typing import Any

import lightning as L
import numpy as np
import torch
import torch.distributed as dist

from tl_research.parallel import ranks


class RandomState(L.Callback):
    """Keeps the generators of torch, CUDA, numpy and Python in the checkpoint; Lightning does not."""

    def __init__(self):
        self._pending: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        kind, keys, *rest = np.random.get_state()  # noqa: NPY002 (the global state is what is kept)
        return {
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "numpy": [kind, torch.from_numpy(keys.astype(np.int64)), *rest],
            "python": random.getstate(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._pending = state

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        # Restored just before the first resumed batch: whatever Lightning draws while it starts is undone.
        if self._pending is None:
            return
        state, self._pending = self._pending, None
        torch.set_rng_state(state["torch"])
        if state["cuda"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state["cuda"])
        kind, keys, *rest = state["numpy"]
        np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
        version, internal, gauss = state["python"]
        random.setstate((version, tuple(internal), gauss))


class RandomStateOfRanks(RandomState):
    """Keeps the generators of every rank; each takes up its own."""

    def state_dict(self) -> dict:
        states: list = [None] * ranks.world_size()
        dist.all_gather_object(states, super().state_dict())
        return {"ranks": states}

    def load_state_dict(self, state: dict) -> None:
        super().load_state_dict(state["ranks"][ranks.rank()])
