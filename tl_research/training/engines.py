"""The engines that carry a method out: by gradient steps, or by one fit. A method names its engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import lightning as L
from omegaconf import DictConfig

from tl_research.data.paired import PairedDataModule
from tl_research.evaluation.throughput import reset_peak_memory
from tl_research.methods.base import AdaptationModule
from tl_research.parallel import launch
from tl_research.training.callbacks import Prepare, StepTimerCallback, prepare
from tl_research.training.random_state import RandomState, RandomStateOfRanks
from tl_research.training.resume import ResumeCheckpoint, TakeUp
from tl_research.training.stopping import StopWhenAsked
from tl_research.training.trainer import fit, make_trainer

ENGINES: dict[str, type[Engine]] = {}


def register_engine(name: str) -> Callable[[type[Engine]], type[Engine]]:
    """Register an engine under the name that methods give it (`AdaptationModule.engine`)."""

    def add(engine: type[Engine]) -> type[Engine]:
        ENGINES[name] = engine
        return engine

    return add


class Engine:
    """Carries a method out on the devices of a run; what is measured and kept is left to callbacks.

    Args:
        config: of the run.
        data: its data module, set up.
        folder: of the run, for checkpoints.
        measuring: callbacks that measure the weights and keep the selected ones, in this order.
        logger: of Lightning, or None.
        checkpoint: resume checkpoint to go on from; None: from the start.

    Attributes:
        trainer: Lightning's Trainer: devices, processes, precision and logger.
    """

    def __init__(
        self,
        config: DictConfig,
        data: PairedDataModule,
        folder: Path,
        *,
        measuring: list[L.Callback],
        logger,
        checkpoint: Path | None,
    ):
        self.config, self.data, self.folder, self.measuring = config, data, folder, measuring
        self.checkpoint = checkpoint
        self.trainer = make_trainer(config, self.callbacks(), logger, folder)

    def callbacks(self) -> list[L.Callback]:
        """Return the Trainer's callbacks."""
        return self.measuring

    def run(self, module: AdaptationModule) -> None:
        """Carry the method out, from its first weights to the selected ones."""
        reset_peak_memory(self.trainer.strategy.root_device)
        self.carry_out(module)

    def carry_out(self, module: AdaptationModule) -> None:
        """Train or fit `module` on its devices (`on_devices`), `measure` it, and `keep` the weights of the run.

        `gradient` leaves all three to Lightning's Trainer and its callbacks.
        """
        raise NotImplementedError

    @contextmanager
    def on_devices(self, module: AdaptationModule) -> Iterator[None]:
        """Within it the module is on its device, and the run's processes know of one another."""
        strategy = self.trainer.strategy
        strategy.connect(module)
        strategy.setup_environment()
        try:
            module.to(strategy.root_device)
            yield
        finally:
            strategy.teardown()

    def measure(self, module: AdaptationModule) -> None:
        """Measure the weights as they are: one row of the history, whose epoch counts up."""
        for callback in self.measuring:
            callback.on_train_epoch_end(self.trainer, module)
        self.trainer.fit_loop.epoch_progress.increment_completed()

    def keep(self, module: AdaptationModule) -> None:
        """Keep the last weights where the selection rule is `last`; those of another rule are kept when measured."""
        for callback in self.measuring:
            callback.on_train_end(self.trainer, module)

    def throughput(self) -> dict[str, float]:
        """Return what the record says of the speed of training."""
        return {}


@register_engine("gradient")
class Gradient(Engine):
    """Gradient steps of the paired batches by Lightning's Trainer, measured after every epoch."""

    def callbacks(self) -> list[L.Callback]:
        settings = self.config.trainer
        self.take_up, self.timer = TakeUp(self.checkpoint), StepTimerCallback(self.config.data.batch_size)
        resume = ResumeCheckpoint(
            self.folder,
            every_n_steps=settings.checkpoint_every_n_steps,
            every_seconds=settings.checkpoint_every_seconds,
        )
        random_state = RandomStateOfRanks() if launch.processes(self.config) > 1 else RandomState()
        stop = StopWhenAsked(resume)
        callbacks = [Prepare(self.data), random_state, self.timer, *self.measuring, resume, stop, self.take_up]
        if settings.progress_bar and launch.process_rank() == 0:
            callbacks.append(L.pytorch.callbacks.RichProgressBar())
        return callbacks

    def carry_out(self, module: AdaptationModule) -> None:
        with self.take_up.watched():
            fit(self.trainer, module, self.data, self.checkpoint)

    def throughput(self) -> dict[str, float]:
        return self.timer.timer.summary()


@register_engine("fit")
class Fit(Engine):
    """One fit to whole domains, in the method's `prepare`, measured once. It is repeated where a run is taken up.

    There is no state between its beginning and its end, so that SIGUSR1 does not stop it: a fit that ends within half
    of the notice is kept, and a job whose fit does not is queued again then (`preemption.listen`).
    """

    def carry_out(self, module: AdaptationModule) -> None:
        with self.on_devices(module):
            prepare(module, self.data)
            self.measure(module)
            self.keep(module)
