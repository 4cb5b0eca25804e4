"""EasyTL: class centres after correlation alignment, and a linear programme over the target's rows."""

from __future__ import annotations

from dataclasses import dataclass

from tl_research.alignment.base import Alignment
from tl_research.alignment.coral import CORAL
from tl_research.alignment.easy_tl import intra_domain_programming
from tl_research.alignment.none import NoAlignment
from tl_research.config import MethodConfig, check_choice
from tl_research.data.batch import Samples
from tl_research.heads.centre import NearestCentre
from tl_research.methods.closed_form import ClosedForm
from tl_research.registry import register_method

ALIGNMENTS = ("coral", "none")


@dataclass
class EasyTLConfig(MethodConfig):
    name: str = "easy_tl"
    intra_domain_alignment: str = "coral"
    ridge: float = 1.0  # of coral, in squared units of the features
    match_means: bool = True  # of coral

    def __post_init__(self):
        check_choice("method.intra_domain_alignment", self.intra_domain_alignment, ALIGNMENTS)
        CORAL(ridge=self.ridge, match_means=self.match_means)  # refuses what is out of range


@register_method(
    "easy_tl",
    config=EasyTLConfig,
    family="feature",
    settings=("unsupervised", "few_shot", "supervised"),
    paper="Wang et al. 2019, ICME, eq. 3 and 4",
    encoder="identity",
    targets=("class",),
    gain=0.05,
)
class EasyTL(ClosedForm):
    """Align by CORAL, then give target rows classes by a linear programme on distances to the class centres.

    The programme (`intra_domain_programming`) sees the target's training rows. Its optimum is the nearest centre but
    for the rows that fill a class which would be empty (`forced` in the record's facts), and the nearest centre is
    what every row is predicted as, seen or not: where `forced` is 0 the two are the same labelling.
    """

    trains = False

    def build(self) -> None:
        self.alignment = self.make_alignment()
        self.head = NearestCentre()

    def make_alignment(self) -> Alignment:
        config = self.config
        if config.intra_domain_alignment == "none":
            return NoAlignment()
        return CORAL(ridge=config.ridge, match_means=config.match_means)

    def _fit(self, source: Samples, target: Samples, target_labeled: Samples | None) -> None:
        super()._fit(source, target, target_labeled)
        centres = self.head.centres.masked_fill(~self.head.present[:, None], float("nan"))
        found = intra_domain_programming(self.alignment.target(self.encoder(target.inputs)), centres)
        self.facts |= {"programme": {"cost": found.cost, "forced": found.forced}}
