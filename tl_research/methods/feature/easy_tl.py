"""EasyTL: class centres after correlation alignment, and a linear programme over the target's rows."""

from __future__ import annotations

from dataclasses import dataclass

from tl_research.alignment.base import Alignment, Rows
from tl_research.alignment.coral import CORAL, CORALConfig
from tl_research.alignment.easy_tl import intra_domain_programming
from tl_research.alignment.none import NoAlignment
from tl_research.config import MethodConfig, check_choice
from tl_research.errors import keys_of
from tl_research.heads.centre import NearestCentre
from tl_research.methods.closed_form import ClosedForm
from tl_research.registry import PAIRED, register_method

ALIGNMENTS = {"coral": CORAL, "none": NoAlignment}


@dataclass
class EasyTLConfig(CORALConfig, MethodConfig):
    """The options of CORAL, which intra_domain_alignment=none does not read."""

    name: str = "easy_tl"
    intra_domain_alignment: str = "coral"

    def __post_init__(self):
        check_choice("method.intra_domain_alignment", self.intra_domain_alignment, ALIGNMENTS)
        with keys_of("method"):
            super().__post_init__()


@register_method(
    "easy_tl",
    config=EasyTLConfig,
    family="feature",
    settings=PAIRED,
    paper="Wang et al. 2019, ICME, eq. 3 and 4",
    encoder="identity",
    targets=("class",),
    gain=0.05,
)
class EasyTL(ClosedForm):
    """Align by CORAL, then give target rows classes by a linear programme on distances to the class centres.

    The programme (`intra_domain_programming`) sees the target's training rows. Its optimum is the nearest centre but
    for the rows that fill a class which would be empty (`forced` in the record's facts). Every row, seen or not, is
    predicted as its nearest centre: where `forced` is 0 the two are the same labelling.
    """

    alignment_class = CORAL

    def make_alignment(self) -> Alignment:
        return ALIGNMENTS[self.config.intra_domain_alignment](self.config)

    def make_head(self) -> NearestCentre:
        return NearestCentre()

    def fit_rows(self, source: Rows, target: Rows, labeled: Rows | None) -> None:
        super().fit_rows(source, target, labeled)
        centres = self.head.centres.masked_fill(~self.head.present[:, None], float("nan"))
        found = intra_domain_programming(self.alignment.target(target.x), centres)
        self.facts |= {"programme": {"cost": found.cost, "forced": found.forced}}
