"""The mean of several fine-tuned models, in one fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from omegaconf import DictConfig
from torch import Tensor, nn

from tl_research.config import all_above, check, one_of
from tl_research.config.rules import has_target_val
from tl_research.data.batch import Inputs
from tl_research.methods.base import Phase
from tl_research.methods.staged import ParameterConfig, ParameterMethod, source_epochs
from tl_research.nn.frozen import FrozenCopy, combined, values_of
from tl_research.registry import register_method


@dataclass
class ModelSoupConfig(ParameterConfig):
    """Options of `model_soup`: which members are averaged, and the learning rate of each."""

    name: str = "model_soup"
    # uniform: mean of all members; greedy: of those that do not lower the score on target_val.
    kind: str = one_of(("uniform", "greedy"), default="uniform")
    lr_factors: list[float] = all_above(0, fewest=2, default=[1.0, 0.5, 2.0])  # one per member, of optimizer.lr


@register_method(
    "model_soup",
    config=ModelSoupConfig,
    family="parameter",
    settings=("few_shot", "supervised"),
    paper="Wortsman et al. 2022, ICML, algorithm 1 (model soups)",
    gain=0.1,
    gain_in="log_loss",
    over=("fine_tune", "method.source_share=0.25"),
    problem=("method.source_share=0.25",),
)
class ModelSoup(ParameterMethod):
    """Fine-tune several times from the same weights, with other learning rates and seeds, and average the weights.

    The epochs of the target stage are shared out among the members, one after another: each begins with the weights
    that the target stage began with, a new optimiser, a schedule and seeds of its own. What is measured after an epoch
    is the soup of the finished members and of the present one as it stands, so the last epoch is that of all. `greedy`
    takes the members in the order of their score on target_val and keeps one if the soup's score does not fall
    (algorithm 1).
    """

    @classmethod
    def check_config(cls, config: DictConfig) -> None:
        super().check_config(config)
        epochs, members = config.trainer.max_epochs, len(config.method.lr_factors)
        left = epochs - source_epochs(config.method.source_share, epochs)
        check(left >= members, "trainer.max_epochs", epochs, f"{members} epochs of the target stage, one per member")
        kind = config.method.kind
        able = kind != "greedy" or has_target_val(config.data)
        check(able, "method.kind", kind, "uniform, or target labels to validate on (data.shots of 5 per class or more)")

    @property
    def needs_target_val(self) -> bool:
        return self.config.kind != "uniform"

    def stage_of(self, epoch: int) -> int:
        past = epoch - self.source_epochs
        return 0 if past < 0 else 1 + past * len(self.config.lr_factors) // (self.epochs - self.source_epochs)

    def target_phase(self, epoch: int) -> Phase:
        factor = self.config.lr_factors[self.stage_of(epoch + self.source_epochs) - 1]
        return Phase("target", source=False, lr_scale=self.config.lr_scale * factor)

    def make_target_parts(self) -> None:
        super().make_target_parts()
        self.beginning, self.chosen = FrozenCopy(self._model()), FrozenCopy(self._model())
        self.members = nn.ModuleList(FrozenCopy(self._model()) for _ in self.config.lr_factors)

    def enter_later_stage(self, stage: int) -> None:
        self.members[stage - 2].fill(values_of(self._model()))
        beginning = self.beginning.values()
        for name, value in values_of(self._model()).items():
            value.copy_(beginning[name])

    def forward(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        if self.training or not self._stage:
            return super().forward(inputs)
        features = self.chosen.module["encoder"](inputs)
        return features, self.chosen.module["head"](features)

    def choose_weights(self, score: Callable[[], tuple[float, float] | None]) -> None:
        self.members[self._stage - 1].fill(values_of(self._model()))
        present = list(range(self._stage))
        soup = present if self.config.kind == "uniform" else self._greedy(present, score)
        self._use(soup)
        self.facts.setdefault("soup", {})[str(self.current_epoch)] = soup

    def _greedy(self, present: list[int], score: Callable[[], tuple[float, float] | None]) -> list[int]:
        alone = {member: (self._use([member]), score())[1] for member in present}
        soup, best = [], None
        for member in sorted(present, key=alone.get, reverse=True):
            self._use([*soup, member])
            reached = score()
            if best is None or reached >= best:
                soup, best = [*soup, member], reached
        return soup

    def _use(self, soup: list[int]) -> None:
        self.chosen.fill(combined([self.members[member].values() for member in soup], [1 / len(soup)] * len(soup)))

    def _model(self) -> nn.ModuleDict:
        return nn.ModuleDict({"encoder": self.encoder, "head": self.head})
