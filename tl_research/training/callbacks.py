"""What happens before the first step of a run, and the time of each step."""

from __future__ import annotations

import lightning as L

from tl_research.data.paired import PairedDataModule
from tl_research.evaluation.throughput import StepTimer
from tl_research.methods.base import AdaptationModule
from tl_research.parallel import ranks


def prepare(module: AdaptationModule, data: PairedDataModule) -> None:
    """Call the method's `prepare` with the training rows on its device, where it has any use for it."""
    if type(module).prepare is AdaptationModule.prepare and module.row_weights is None:
        return
    sides = {name: samples.map(lambda tensor: tensor.to(module.device)) for name, samples in data.sides.items()}
    # Every rank fits the same on all rows; what is kept is rank 0's, to the last bit.
    module.prepare(sides.get("source"), sides["target"], sides.get("target_labeled"))
    ranks.broadcast_state(module)


class Prepare(L.Callback):
    """Prepares the method once, before the first step, unless its buffers come from a checkpoint."""

    def __init__(self, data: PairedDataModule):
        self.data = data

    def on_fit_start(self, trainer: L.Trainer, pl_module: AdaptationModule) -> None:
        if trainer.ckpt_path is None:
            prepare(pl_module, self.data)


class StepTimerCallback(L.Callback):
    """Times training steps; the rows of a step are those of its larger side, of all processes together."""

    def __init__(self, batch_size: int):
        self.timer, self.batch_size = StepTimer(), batch_size

    def on_fit_start(self, trainer: L.Trainer, pl_module) -> None:
        self.timer = StepTimer(device=trainer.strategy.root_device)

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        self.timer.start()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.timer.stop(trainer.world_size * max(rows.size for rows in batch if rows is not None))
