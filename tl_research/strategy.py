"""How several processes train one model: Lightning's DDP, for models whose trained parameters change on the way."""

from __future__ import annotations

import lightning as L
import torch
import torch.distributed as dist
from lightning.pytorch.strategies import DDPStrategy
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.parallel import DistributedDataParallel

from tl_research import distributed
from tl_research.checkpoint import RandomState


class FollowingDDP(DDPStrategy):
    """DDP that wraps the model anew where a stage adds modules or a phase freezes some, and not at all where nothing
    is trained.

    DDP keeps to the parameters that asked for a gradient when it was made: it would wait for those frozen since, and
    leave those added since to differ between the ranks. Wrapping anew also sends rank 0's parameters to all. Of the
    buffers only running statistics follow rank 0 in every step; the others are the same on every rank because all
    compute them alike.
    """

    def configure_ddp(self) -> None:
        module = self.lightning_module
        self._trained = _trained(module)
        self.model = module
        if self._trained:
            ignored = _but_running_statistics(module)
            DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(module, ignored)
            super().configure_ddp()

    def follow(self) -> None:
        """Wrap the model anew if other parameters than before are to be trained; every rank must call it."""
        if _trained(self.lightning_module) != self._trained:
            self.configure_ddp()


class RandomStateOfRanks(RandomState):
    """Keeps the generators of every rank; each takes up its own."""

    def state_dict(self) -> dict:
        states: list = [None] * distributed.world_size()
        dist.all_gather_object(states, super().state_dict())
        return {"ranks": states}

    def load_state_dict(self, state: dict) -> None:
        super().load_state_dict(state["ranks"][distributed.rank()])


def _trained(module: L.LightningModule) -> list[int]:
    return [id(parameter) for parameter in module.parameters() if parameter.requires_grad]


def _but_running_statistics(module: torch.nn.Module) -> list[str]:
    running = {
        f"{name}.{buffer}"
        for name, part in module.named_modules()
        if isinstance(part, _NormBase)
        for buffer, _ in part.named_buffers(recurse=False)
    }
    return [name for name, _ in module.named_buffers() if name not in running]
