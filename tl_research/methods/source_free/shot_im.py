"""SHOT-IM: information maximisation on the target, from a source model."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tl_research.config import at_least
from tl_research.losses.source_free import entropy_of_mean
from tl_research.losses.target_probabilities import row_entropies
from tl_research.methods.base import Step
from tl_research.methods.finished_run import SourceFree, SourceFreeConfig
from tl_research.registry import register_method


@dataclass
class SHOTIMConfig(SourceFreeConfig):
    """Options of `shot_im`: the weights of certainty and of variety."""

    name: str = "shot_im"
    certainty: float = at_least(0, default=1.0)
    variety: float = at_least(0, default=1.0)


@register_method(
    "shot_im",
    config=SHOTIMConfig,
    family="source_free",
    settings=("source_free",),
    paper="Liang et al. 2020, ICML, equations 2 and 3",
    no_null="on equal domains the model still grows more certain",
    no_gain="held against source_only on two moons (tests/methods/test_source_free.py)",
    targets=("class",),
)
class SHOTIM(SourceFree):
    """Certain predictions of varied classes: certainty * mean_i H(p_i) - variety * H(mean_i p_i) over target rows.

    The head of the source model is frozen: features move to where it is certain. On rows of very unequal classes
    `variety` pulls towards equal ones; lower it there.
    """

    def terms(self, step: Step) -> dict[str, Tensor]:
        logits, config = step.target.logits, self.config
        return {
            "certainty": config.certainty * row_entropies(logits).mean(),
            "variety": -config.variety * entropy_of_mean(logits),
        }
