"""Contrastive pre-training on the rows of both domains, without labels of either."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from tl_research.config import above, at_least, check, share
from tl_research.data.batch import Inputs, Samples
from tl_research.losses.info_nce import info_nce
from tl_research.methods.base import Phase, Step
from tl_research.methods.views import ViewsConfig, ViewsModule
from tl_research.nn.counter_random import uniform_rows
from tl_research.nn.fitted import Fitted
from tl_research.registry import register_method

#: Rows of each domain that replaced values are drawn from.
DRAWN_FROM = 1000


@dataclass
class ContrastiveConfig(ViewsConfig):
    """Options of `contrastive`: how far the second view is changed, the projection, and the temperature."""

    name: str = "contrastive"
    corruption: float = share(zero=False, default=0.6)  # of a row's values, replaced by those of other rows
    temperature: float = above(0, default=0.5)
    projection: int = at_least(1, default=64)  # width of the projected features, which the loss compares


@register_method(
    "contrastive",
    config=ContrastiveConfig,
    family="self_training",
    settings=("unsupervised",),
    paper="Bahri et al. 2022, ICLR, section 3 (SCARF, tables); Chen et al. 2020, ICML, section 2 (SimCLR, images)",
    no_null="it does not compare the domains",
    no_gain="it trains no head: what a head on its encoder gains is in tests/methods/test_contrastive.py",
)
class Contrastive(ViewsModule):
    """An encoder from rows alone: InfoNCE of two views of each row, rows of both domains in one batch.

    Of tables one view is the row, the other has `corruption` of its values replaced by those of random rows of the
    same domain, value by value. Of images both views are shifted and mirrored (`strong_crop`, `flip`). Views are
    compared behind a projection that is thrown away. No label is read and the head stays as it was drawn, so that the
    metrics of this run say nothing: begin a run with it, `method.name=fine_tune method.start=runs/<id>
    method.source_share=0`, or `linear_probe`. The last epoch is the one that is kept.

    Four views are encoded and compared: seven times a step of `source_only` (docs/step_cost.md).
    """

    reads = frozenset(("source", "target"))

    @classmethod
    def check_config(cls, config: DictConfig) -> None:
        super().check_config(config)
        wants = "nothing: method 'contrastive' has no task loss of source rows to be weighted"
        check(
            config.method.weighting is None, "method.weighting", getattr(config.method.weighting, "name", None), wants
        )

    def build(self) -> None:
        width = self.encoder.out_features
        self.projector = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, self.config.projection))
        self.others = Fitted()  # <side>_<name> (rows, columns): values that others are replaced by

    def prepare(self, source: Samples, target: Samples, target_labeled: Samples | None) -> None:
        super().prepare(source, target, target_labeled)
        for side, rows in (("source", source), ("target", target)):
            generator = torch.Generator().manual_seed(self.seed)
            places = torch.randperm(rows.size, generator=generator)[:DRAWN_FROM].to(rows.label.device)
            self.others.keep(**{f"{side}_{name}": values[places] for name, values in _tables(rows.inputs).items()})

    def phase(self, epoch: int) -> Phase:
        is_last = epoch == self.epochs - 1
        return Phase("pretraining", source=False, target_labeled=False, frozen=("head",), selectable=is_last)

    def terms(self, step: Step) -> dict[str, Tensor]:
        sides = ("source", "target")
        views = [
            torch.cat([self.projector(step.view(side, self._view_of(step, side, number)).features) for side in sides])
            for number in (0, 1)
        ]
        return {"info_nce": info_nce(*views, temperature=self.config.temperature)}

    def _view_of(self, step: Step, side: str, number: int) -> Callable[[Inputs], Inputs]:
        moved = self.strong(step, side, number)

        def view(inputs: Inputs) -> Inputs:
            tables = _tables(inputs)
            if not tables:
                return moved(inputs)
            if not number:
                return inputs
            index = getattr(step.batch, side).index
            replaced = {
                name: self._replaced(side, name, values, index, stream)
                for stream, (name, values) in enumerate(tables.items())
            }
            return inputs | replaced if isinstance(inputs, dict) else replaced["numeric"]

        return view

    def _replaced(self, side: str, name: str, values: Tensor, index: Tensor, stream: int) -> Tensor:
        others, columns = getattr(self.others, f"{side}_{name}"), values.shape[1]
        # Streams of their own for each side, table and draw: rows of two domains have the same numbers.
        first = 4 * stream + 2 * (side == "target") + 1000
        chance, place = (uniform_rows(self.seed, self.global_step, first + at, index, columns) for at in (0, 1))
        drawn = others[(place * len(others)).long(), torch.arange(columns, device=values.device)]
        return torch.where(chance < self.config.corruption, drawn, values)


def _tables(inputs: Inputs) -> dict[str, Tensor]:
    """The parts of the inputs that have one value per row and column."""
    named = inputs if isinstance(inputs, dict) else {"numeric": inputs}
    return {name: values for name, values in named.items() if values.ndim == 2}
