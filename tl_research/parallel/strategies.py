"""How several processes train one model whose trained parameters change on the way: by Lightning's DDP, or by FSDP2."""

from __future__ import annotations

import lightning as L
import torch
from lightning.pytorch.strategies import DDPStrategy
from torch.distributed.device_mesh import init_device_mesh
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.parallel import DistributedDataParallel
from torch.utils._pytree import tree_map

from tl_research.parallel import ranks, sharding


class FollowingDDP(DDPStrategy):
    """DDP that wraps the model anew where a stage adds modules or a phase freezes some.

    Where nothing is trained the model is not wrapped at all.

    DDP keeps to the parameters that asked for a gradient when it was made: it would wait for those frozen since, and
    leave those added since to differ between the ranks. Wrapping anew also sends rank 0's parameters to all. Of the
    buffers only running statistics follow rank 0 in every step; the others are the same on every rank because all
    compute them alike.
    """

    def configure_ddp(self) -> None:
        """Wrap the parameters that are trained now; leave the model bare where there are none."""
        module = self.lightning_module
        self._trained = _trained(module)
        self.model = module
        if self._trained:
            ignored = _but_running_statistics(module)
            DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(module, ignored)
            super().configure_ddp()

    def on_train_batch_start(self, batch, batch_idx: int) -> None:
        # The method's own hook, which begins a phase, has run: other parameters than before may be trained now.
        if _trained(self.lightning_module) != self._trained:
            self.configure_ddp()


class FullySharded(DDPStrategy):
    """The processes of DDP, among which weights, gradients and optimiser state are shared out (`sharding`).

    What is read from a checkpoint and written to one is whole, under the names it has in a run of one process.
    """

    def configure_ddp(self) -> None:
        """Send rank 0's whole state to all ranks; what each holds of it is decided in `setup_optimizers`."""
        ranks.broadcast_state(self.lightning_module)
        self._mesh = init_device_mesh(self.root_device.type, (self.world_size,))

    def setup_optimizers(self, trainer: L.Trainer) -> None:
        # Here, because a stage begins with new optimisers too, and may have made a new head.
        sharding.shard(self.lightning_module, self._mesh)
        super().setup_optimizers(trainer)

    def training_step(self, *args, **kwargs):
        ranks.broadcast_tensors(list(_running_statistics(self.lightning_module).values()))
        return super().training_step(*args, **kwargs)

    def lightning_module_state_dict(self) -> dict:
        return sharding.whole_state(self.lightning_module)

    def optimizer_state(self, optimizer) -> dict:
        return tree_map(sharding.whole, super().optimizer_state(optimizer))

    def load_optimizer_state_dict(self, checkpoint) -> None:
        """Share out the whole optimiser state of a checkpoint."""
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            shared_out = {
                number: {name: sharding.shared_out(value, parameters[number]) for name, value in values.items()}
                for number, values in state["state"].items()
            }
            optimizer.load_state_dict({**state, "state": shared_out})

    def teardown(self) -> None:
        # DDP moves the model to the CPU, from where a part of a GPU's mesh could not be gathered.
        for part in (self.cluster_environment, self.precision_plugin, self.accelerator, self.checkpoint_io):
            part.teardown()


def _trained(module: L.LightningModule) -> list[int]:
    return [id(parameter) for parameter in module.parameters() if parameter.requires_grad]


def _running_statistics(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {
        f"{name}.{buffer}": value
        for name, part in module.named_modules()
        if isinstance(part, _NormBase)
        for buffer, value in part.named_buffers(recurse=False)
    }


def _but_running_statistics(module: torch.nn.Module) -> list[str]:
    running = _running_statistics(module)
    return [name for name, _ in module.named_buffers() if name not in running]
