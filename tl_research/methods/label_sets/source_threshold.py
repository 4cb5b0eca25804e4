"""Training on the source alone, and no answer where the model is uncertain: what an open-set method must beat."""

from __future__ import annotations

from dataclasses import dataclass

from tl_research.methods.rejecting import Rejecting, RejectingConfig
from tl_research.registry import register_method


@dataclass
class SourceThresholdConfig(RejectingConfig):
    """Options of `source_threshold`: the entropy above which a row is unknown."""

    name: str = "source_threshold"


@register_method(
    "source_threshold",
    config=SourceThresholdConfig,
    family="label_sets",
    settings=("unsupervised",),
    targets=("class",),
    label_sets=("open",),
    no_gain="the baseline of open sets",
    problem=(
        "data.name=simulated_classes",
        "data.shift=2",
        "data.label_sets=open",
        "data.source_classes=[c0,c1,c2,c3,c4]",
    ),
    paper="Hendrycks and Gimpel 2017, ICLR, with the entropy in place of the largest probability",
)
class SourceThreshold(Rejecting):
    """Train on the labelled source, mean CE(source); rows of an entropy above `threshold` are `unknown`."""

    reads = frozenset(("source",))
