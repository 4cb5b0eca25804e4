"""Tent: scale and shift of a source model's batch norms, by the entropy of its predictions."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tl_research.config import at_least
from tl_research.losses.target_probabilities import row_entropies
from tl_research.methods.base import Step
from tl_research.methods.finished_run import SourceFreeConfig
from tl_research.methods.norms import NormsAlone
from tl_research.registry import register_method


@dataclass
class TentConfig(SourceFreeConfig):
    """Options of `tent`: the weight of the entropy."""

    name: str = "tent"
    weight: float = at_least(0, default=1.0)


@register_method(
    "tent",
    config=TentConfig,
    family="source_free",
    settings=("source_free",),
    problem=("encoder.batch_norm=true",),
    paper="Wang et al. 2021, ICLR, section 3",
    no_null="on equal domains the model still grows more certain",
    no_gain="held against source_only on two moons (tests/methods/test_source_free.py)",
    targets=("class",),
)
class Tent(NormsAlone):
    """Entropy of the target's predictions: weight * mean_i H(p_i), over scale and shift of the batch norms.

    In training a norm scales by its batch, as in the paper. The paper measures a stream of batches while it adapts;
    here the model is measured on rows that it has not seen, with the running statistics of the target's batches.
    """

    def terms(self, step: Step) -> dict[str, Tensor]:
        return {"entropy": self.config.weight * row_entropies(step.target.logits).mean()}
