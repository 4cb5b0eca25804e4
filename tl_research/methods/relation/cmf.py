"""Collective matrix factorisation: one vector per user for all domains, and a weight per source domain."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from omegaconf import DictConfig
from torch import Tensor

from tl_research.config import all_at_least, check
from tl_research.methods.recommending import RankingConfig, Recommending
from tl_research.methods.step import Phase, Step
from tl_research.registry import register_method


@dataclass
class CMFConfig(RankingConfig):
    """Group `method` of `cmf`."""

    name: str = "cmf"
    weights: list[float] = all_at_least(0, default=[0.5])  # of the sources' losses: one for all, or one per source


@register_method(
    "cmf",
    config=CMFConfig,
    family="relation",
    settings=("supervised",),
    targets=("preference",),
    encoder="embedding",
    paper="Singh & Gordon 2008, KDD, equation 4; its loss of pairs is Rendle et al. 2009",
    no_gain="held against bpr_mf on planted shops (tests/methods/test_joint_recommenders.py)",
)
class CMF(Recommending):
    """L = L_target + mean over source rows of w_d l, s_ui = p_u · q_i, with vectors that all domains share.

    Both parts count half, as in every method that reads both. With w = 0 no source row is read: `bpr_mf` on the
    target alone. With w = 1 it is `bpr_mf` on all domains.
    """

    @classmethod
    def check_config(cls, config: DictConfig) -> None:
        super().check_config(config)
        given, sources = list(config.method.weights), len(config.data.sources)
        wants = f"one number for all sources or one for each of {sources}"
        check(len(given) in (1, sources), "method.weights", given, wants)
        wants = "a weight above 0: data.dual_target=true measures the source, which must train"
        check(any(given) or not config.data.dual_target, "method.weights", given, wants)

    def phase(self, epoch: int) -> Phase:
        return Phase(source=any(self.config.weights))

    def source_weights(self, step: Step) -> Tensor:
        """The weight (n,) of each row's domain, times that of `method.weighting`."""
        domain = step.local("source").domain
        given = self.config.weights
        weights = torch.tensor(given, dtype=torch.float32, device=domain.device)
        own = weights[domain] if len(given) > 1 else weights.expand(len(domain))
        rows = super().source_weights(step)
        return own if rows is None else own * rows
