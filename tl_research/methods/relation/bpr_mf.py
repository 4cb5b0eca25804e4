"""Matrix factorisation by pairs, on the target alone or on all domains."""

from __future__ import annotations

from dataclasses import dataclass

from tl_research.methods.recommending import Recommending, RecommendingConfig
from tl_research.registry import register_method


@dataclass
class BPRMFConfig(RecommendingConfig):
    """Group `method` of `bpr_mf`."""

    name: str = "bpr_mf"


@register_method(
    "bpr_mf",
    config=BPRMFConfig,
    family="relation",
    settings=("supervised",),
    targets=("preference",),
    encoder="embedding",
    paper="Rendle et al. 2009, UAI, section 4.3.1",
    no_gain="the trained baseline of recommenders",
)
class BPRMF(Recommending):
    """s_ui = p_u · q_i, with one vector per user and per item, shared by all domains that know them."""
