"""Views of a batch: the same rows with their inputs changed by draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from tl_research.config import MethodConfig, at_least, share
from tl_research.data.batch import Inputs
from tl_research.encoders.vision import augment
from tl_research.methods.base import AdaptationModule, Step
from tl_research.nn.counter_random import normal_of_uniform, uniform_rows


@dataclass
class ViewsConfig(MethodConfig):
    """Options of a method that trains on a weak and a strong view of a row.

    Noise is in units of the inputs, which are scaled where the data set's are.
    """

    weak_noise: float = at_least(0, default=0.05)  # deviation of the noise on numbers
    strong_noise: float = at_least(0, default=0.2)
    strong_dropout: float = share(one=False, default=0.1)  # of the numbers of a row, set to 0
    weak_crop: int = at_least(0, default=1)  # images: shift by up to this many pixels
    strong_crop: int = at_least(0, default=4)
    flip: bool = False  # images: mirror half of them


class ViewsModule(AdaptationModule):
    """A method of views of its rows. Its config is a `ViewsConfig`.

    Numbers get noise, and in a strong view some of them are set to 0. Images (n, height, width, channels) are shifted
    and mirrored. Of n-grams some are left out in a strong view. Codes (categories, words) stay as they are: of rows
    that hold nothing else all views are equal, and only an encoder with dropout tells them apart.
    """

    def weak(self, step: Step, side: str, number: int = 0) -> Callable[[Inputs], Inputs]:
        """Return the change of inputs that makes a weak view of a side; `number` tells several of them apart."""
        config = self.config
        return self._view(step, side, 2 * number, config.weak_noise, 0.0, config.weak_crop)

    def strong(self, step: Step, side: str, number: int = 0) -> Callable[[Inputs], Inputs]:
        """Return the change of inputs that makes a strong view of a side."""
        config = self.config
        return self._view(step, side, 2 * number + 1, config.strong_noise, config.strong_dropout, config.strong_crop)

    def uniform(self, step: Step, side: str, columns: int) -> Tensor:
        """Return numbers (n, columns) from 0 to 1 for the rows of all ranks, which depend on row and step alone."""
        return uniform_rows(self.seed, self.global_step, -1, getattr(step, side).index, columns)

    def _view(
        self, step: Step, side: str, number: int, noise: float, dropout: float, crop: int
    ) -> Callable[[Inputs], Inputs]:
        index, when = getattr(step.batch, side).index, self.global_step

        def dropped(x: Tensor) -> Tensor:
            return x * (uniform_rows(self.seed, when, 2 * number + 1, index, x.shape[1]) >= dropout) if dropout else x

        def changed(x: Tensor) -> Tensor:
            if x.ndim == 4:
                return augment(x, crop=crop, flip=self.config.flip) if crop or self.config.flip else x
            if noise:
                x = x + noise * normal_of_uniform(uniform_rows(self.seed, when, 2 * number, index, x.shape[1])).to(
                    x.dtype
                )
            return dropped(x)

        known = {"numeric": changed, "image": changed, "text_value": dropped}

        def of_inputs(inputs: Inputs) -> Inputs:
            if not isinstance(inputs, dict):
                return changed(inputs)
            return inputs | {name: change(inputs[name]) for name, change in known.items() if name in inputs}

        return of_inputs
