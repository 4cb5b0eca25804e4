"""What the step-time benchmarks of the Trainer read: seconds of each epoch."""

from time import perf_counter

from lightning.pytorch.callbacks import Callback


class EpochClock(Callback):
    """Seconds from before the first batch of an epoch to after its last."""

    def __init__(self):
        self.seconds: list[float] = []

    def on_train_epoch_start(self, trainer, pl_module):
        self._begun = perf_counter()

    def on_train_epoch_end(self, trainer, pl_module):
        self.seconds.append(perf_counter() - self._begun)
        trainer.logger.log_metrics(pl_module.mean_terms(), step=trainer.global_step)
