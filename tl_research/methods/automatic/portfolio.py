"""The best that simple learners make of old data and few target labels, chosen by cross-fitting."""

from __future__ import annotations

from dataclasses import dataclass

from tl_research.alignment.base import Rows
from tl_research.config import MethodConfig
from tl_research.methods.fitted import FittedMethod
from tl_research.portfolio.head import PortfolioConfig, PortfolioHead
from tl_research.registry import register_method


@dataclass
class PortfolioMethodConfig(PortfolioConfig, MethodConfig):
    """Options of `portfolio`."""

    name: str = "portfolio"


@register_method(
    "portfolio",
    config=PortfolioMethodConfig,
    family="automatic",
    settings=("few_shot", "supervised", "unsupervised"),
    paper="van der Laan, Polley & Hubbard 2007, Statistical Applications in Genetics 6(1), article 25",
    gain=0.02,
    over=("portfolio", "method.old_data=never"),
    encoder="identity",
    problem=("method.trees=25", "method.repeats=1"),  # for the time that tests take
)
class Portfolio(FittedMethod):
    """Linear models, forests and boosters on the source, on the target and on both, in a convex combination.

    See `tl_research.portfolio.head.PortfolioHead`. With `method.weighting` the source's rows are weighted.
    """

    def build(self) -> None:
        self.head = PortfolioHead(self.config, self.outcome.kind)

    def fit_rows(self, source: Rows, target: Rows, labeled: Rows | None) -> None:
        shown = labeled or Rows(source.x[:0], source.label[:0])
        self.head.fit_transfer(source, shown, classes=self.classes, seed=self.seed)
        if self.config.prior is not None:
            self.head.correct_prior(self.config.prior, target.x, names=self.outcome.names)
        self.facts |= {"portfolio": self.head.facts}
