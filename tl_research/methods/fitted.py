"""`FittedMethod`: a method that is fitted to whole domains, without a gradient step."""

from __future__ import annotations

import torch
from omegaconf import DictConfig
from torch import Tensor

from tl_research.alignment.base import Rows
from tl_research.config import MethodConfig
from tl_research.data.batch import Inputs, Samples
from tl_research.encoders.base import require_trained
from tl_research.errors import ConfigError, keys_of
from tl_research.methods.base import AdaptationModule


class FittedMethod(AdaptationModule):
    """Fits itself once to the encoded training rows of both domains; the engine `fit` carries it out.

    The encoder is `identity` or has pre-trained weights: nothing trains it. With `method.weighting` the source rows
    are weighted.

    Hooks: `build` makes `head`; `fit_rows` fits it.
    """

    engine = "fit"

    @classmethod
    def check_config(cls, config: DictConfig) -> None:
        require_trained(config, f"method {config.method.name!r} is fitted to its features")
        if config.data.sampler is not None and not cls.draws_batches(config.method):
            raise ConfigError(
                f"data.sampler: method {config.method.name!r} is fitted to all rows at once and draws no batches; "
                "leave it out"
            )

    @classmethod
    def draws_batches(cls, config: MethodConfig) -> bool:
        """Whether a part of the method is trained by gradient steps, whose batches `data.sampler` draws."""
        return False

    @classmethod
    def needs_whole_weights(cls) -> str:
        return "is fitted in closed form, with the whole encoder, before the first step"

    def fit_rows(self, source: Rows, target: Rows, labeled: Rows | None) -> None:
        """Fit to the rows of the encoder, without gradients.

        Args:
            source: (n, d) rows with labels (n,), and weights (n,) where `method.weighting` gives some.
            target: (m, d) rows without labels.
            labeled: (k, d) target rows with labels (k,); None where the setting shows none.

        Raises:
            ConfigError: an option does not suit the rows; the message begins with the option's name.
        """
        raise NotImplementedError

    def prepare(self, source: Samples, target: Samples, target_labeled: Samples | None) -> None:
        super().prepare(source, target, target_labeled)
        weight = None if self.row_weights is None else self.row_weights.source
        encoder_mode = self.encoder.training
        self.encoder.eval()
        with torch.no_grad():
            source_rows = Rows(self.encoder(source.inputs), source.label, weight)
            target_rows = Rows(self.encoder(target.inputs))
            labeled = target_labeled and Rows(self.encoder(target_labeled.inputs), target_labeled.label)
            with keys_of("method"):
                self.fit_rows(source_rows, target_rows, labeled)
        self.encoder.train(encoder_mode)

    def forward(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        features = whole_precision(self.encoder(inputs))
        with torch.autocast(features.device.type, enabled=False):
            return features, self.head(features)


def whole_precision(x: Tensor) -> Tensor:
    """Rows in float32 or wider: what was fitted in full precision is applied in it."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
