"""Stops a run where it can go on bit for bit."""

from __future__ import annotations

import lightning as L

from tl_research.parallel import preemption
from tl_research.training.resume import ResumeCheckpoint

#: Ranks must stop at the same batch; they ask one another after so many, which costs a collective.
BATCHES_BETWEEN = 10


class StopWhenAsked(L.Callback):
    """Writes the resume checkpoint and raises, at the end of the first batch or epoch after a signal.

    It raises `Preempted` after SIGUSR1, and `Terminated` after SIGTERM, which Lightning has taken note of. (A SIGTERM
    to one of several processes is left to Lightning, which ends them all without a checkpoint.)

    Stands behind `ResumeCheckpoint` and the callbacks that measure: at the end of an epoch they have had their turn.
    The last batch of an epoch waits for that end, and a batch in the middle of an accumulated gradient for the last
    of it, because a checkpoint holds no gradients.
    """

    def __init__(self, resume: ResumeCheckpoint):
        self.resume = resume
        self._batches = 0

    def on_train_start(self, trainer: L.Trainer, pl_module) -> None:
        preemption.ending_batches(True)

    def on_train_end(self, trainer: L.Trainer, pl_module) -> None:
        preemption.ending_batches(False)

    def on_exception(self, trainer: L.Trainer, pl_module, exception: BaseException) -> None:
        preemption.ending_batches(False)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module, outputs, batch, batch_idx: int) -> None:
        self._batches += 1
        progress = trainer.fit_loop.epoch_loop.batch_progress
        if progress.is_last_batch or (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        if trainer.world_size == 1 or self._batches % BATCHES_BETWEEN == 0:
            self._stop_if_asked(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module) -> None:
        self._stop_if_asked(trainer)

    def _stop_if_asked(self, trainer: L.Trainer) -> None:
        if trainer.world_size == 1 and trainer.received_sigterm:
            self.resume.save(trainer)
            raise preemption.Terminated
        asked = preemption.is_asked_to_stop()
        if trainer.world_size > 1 and preemption.in_job():
            asked = trainer.strategy.reduce_boolean_decision(asked, all=False)
        if asked:
            self.resume.save(trainer)
            raise preemption.Preempted
