"""DELTA: feature maps held near the source's, with attention to the channels that matter."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from omegaconf import DictConfig
from torch import Tensor

from tl_research.config import at_least, check
from tl_research.data.batch import Samples
from tl_research.errors import ConfigError
from tl_research.losses.delta import attention_from_loss_increase, delta
from tl_research.methods.base import Encoded, Step
from tl_research.methods.staged import ParameterConfig
from tl_research.methods.taught import TeacherMethod
from tl_research.nn.feature_maps import feature_maps
from tl_research.nn.fitted import Fitted
from tl_research.registry import register_method


@dataclass
class DeltaConfig(ParameterConfig):
    """Options of `delta`: the weights of its two penalties, and how channels get their attention."""

    name: str = "delta"
    weight: float = at_least(0, default=0.1)
    head_weight: float = at_least(0, default=0.01)  # of half the squared norm of the head
    attention: bool = True  # False: every channel counts the same
    # Labelled target rows at most that attention is measured on, by one pass per channel.
    attention_rows: int = at_least(1, default=64)


@register_method(
    "delta",
    config=DeltaConfig,
    family="parameter",
    settings=("few_shot", "supervised"),
    paper="Li et al. 2019, ICLR, eq. 3 to 5 (DELTA)",
    gain=0.08,
    gain_in="log_loss",
)
class Delta(TeacherMethod):
    """Fine-tune with a penalty on every block's output that moves away from the source's, by channel.

    + weight * the attention-weighted squared distance of the outputs + (head_weight / 2) * ||head||².

    A channel's attention is the softmax over channels of the loss that the source model, its head included, has more
    on labelled target rows once the channel is 0. (The authors first train a head of the target for that; here both
    domains have the same classes.) The mean is taken over rows and blocks; public code has 0.01 times half the sum,
    about ten times as much at 48 rows and four blocks.
    """

    @classmethod
    def check_config(cls, config: DictConfig) -> None:
        super().check_config(config)
        compiles = config.trainer.compile
        check(not compiles, "trainer.compile", compiles, "False: delta looks at what is inside the encoder")

    def build(self) -> None:
        self.channels = Fitted()
        if not self.encoder.blocks():
            raise ConfigError(f"method.name: encoder {self.encoder.config.name!r} has no blocks whose maps delta holds")

    @torch.no_grad()
    def enter_target_stage(self, labeled: Samples) -> None:
        if not self.config.attention:
            return
        generator = torch.Generator().manual_seed(self.seed)
        drawn = torch.randperm(labeled.size, generator=generator)[: self.config.attention_rows]
        rows = labeled.rows(drawn.to(labeled.label.device))
        for name, increase in self._loss_increases(rows).items():
            self.channels.keep(**{_key(name): attention_from_loss_increase(increase)})

    def _loss_increases(self, rows: Samples) -> dict[str, Tensor]:
        encoder, blocks = self.teacher_encoder.module, self.encoder.blocks()

        def loss() -> Tensor:
            features = encoder(rows.inputs)
            logits = self.teacher_head(features)
            return self.task_loss(Encoded(features, logits, *rows[1:]))

        with feature_maps(encoder, blocks) as maps:
            whole = loss()
        increases = {}
        for name, of_block in maps.items():
            increases[name] = torch.empty(of_block.shape[1], device=self.device)
            for channel in range(of_block.shape[1]):

                def without(_: str, output: Tensor, channel: int = channel) -> Tensor:
                    return output.index_fill(1, torch.tensor([channel], device=output.device), 0.0)

                with feature_maps(encoder, [name], without):
                    increases[name][channel] = loss() - whole
        return increases

    def watched_blocks(self) -> list[str]:
        return self.encoder.blocks()

    def terms(self, step: Step) -> dict[str, Tensor]:
        maps = step.maps("target_labeled")
        with torch.no_grad(), feature_maps(self.teacher_encoder.module, maps) as taught:
            self.teacher_encoder(step.batch.target_labeled.inputs)
        distances = [
            delta(output, taught[name], getattr(self.channels, _key(name)) if self.config.attention else None)
            for name, output in maps.items()
        ]
        if not distances:
            name = self.encoder.config.name
            raise ConfigError(f"method.name: no block of encoder {name!r} puts out a tensor, which delta needs")
        size = sum(value.square().sum() for value in self.head.parameters())
        return {
            "delta": self.config.weight * torch.stack(distances).mean(),
            "head_size": 0.5 * self.config.head_weight * size,
        }


def _key(block: str) -> str:
    return block.replace(".", "__")
