"""Fine-tuning, and back half of the way: interpolation of the source's weights and the fine-tuned ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from tl_research.config import check, share
from tl_research.data.batch import Inputs
from tl_research.methods.staged import ParameterConfig, ParameterMethod
from tl_research.nn.frozen import FrozenCopy, combined, values_of
from tl_research.registry import register_method

GRID = tuple(step / 10 for step in range(11))


@dataclass
class WiSEFTConfig(ParameterConfig):
    """Options of `wise_ft`: the share α of the fine-tuned weights."""

    name: str = "wise_ft"
    # None: by target_val from 0, 0.1, ..., 1 where there is such a split, else 0.5.
    alpha: float | None = share(default=None)

    def __post_init__(self):
        super().__post_init__()
        check(not self.new_head, "method.new_head", self.new_head, "false: a new one has no counterpart to average")


@register_method(
    "wise_ft",
    config=WiSEFTConfig,
    family="parameter",
    settings=("few_shot", "supervised"),
    paper="Wortsman et al. 2022, CVPR, section 3 (WiSE-FT)",
    gain=0.05,
    gain_in="log_loss",
    over=("fine_tune",),
)
class WiSEFT(ParameterMethod):
    """Fine-tune, and predict with (1 - α) θ_source + α θ_fine-tuned, of encoder and head, running statistics too.

    What is trained is `fine_tune`; what is measured after an epoch and kept is the interpolation. The record's fact
    `alpha` has the α of every epoch and `curve` the metrics along α after the last one.
    """

    def make_target_parts(self) -> None:
        super().make_target_parts()
        self.source, self.chosen = FrozenCopy(self._model()), FrozenCopy(self._model())

    def forward(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        if self.training or not self._stage:
            return super().forward(inputs)
        features = self.chosen.module["encoder"](inputs)
        return features, self.chosen.module["head"](features)

    def choose_weights(self, score: Callable[[], tuple[float, float] | None]) -> None:
        alpha = self.config.alpha
        if alpha is None:
            scores = [(self._use(step), score())[1] for step in GRID]
            alpha = 0.5 if scores[0] is None else GRID[scores.index(max(scores))]
        self._use(alpha)
        self.facts.setdefault("alpha", {})[str(self.current_epoch)] = alpha

    def weight_curve(self) -> Iterator[dict[str, Any]]:
        chosen = self.facts["alpha"][str(self.current_epoch)]
        for alpha in GRID:
            self._use(alpha)
            yield {"alpha": alpha}
        self._use(chosen)

    def _use(self, alpha: float) -> None:
        ends = [self.source.values(), values_of(self._model())]
        self.chosen.fill(combined(ends, [1 - alpha, alpha]))

    def _model(self) -> nn.ModuleDict:
        return nn.ModuleDict({"encoder": self.encoder, "head": self.head})
