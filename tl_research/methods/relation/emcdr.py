"""Embedding and mapping: a cold user's vector is mapped from the vector that the old shop has learnt."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tl_research.config import at_least
from tl_research.methods.bridging import ENCODER, Mapped, MappedConfig
from tl_research.methods.step import Step
from tl_research.registry import register_method


@dataclass
class EMCDRConfig(MappedConfig):
    """Group `method` of `emcdr`."""

    name: str = "emcdr"
    bridge_batch: int = at_least(1, default=1024)  # users per step


@register_method(
    "emcdr",
    config=EMCDRConfig,
    family="relation",
    settings=("supervised",),
    targets=("preference",),
    encoder=ENCODER,
    paper="Man et al. 2017, IJCAI, section 3: BPR vectors, linear and MLP mapping",
    no_gain="held against popularity for cold users on planted tastes (tests/recommenders/test_bridges.py)",
)
class EMCDR(Mapped):
    """min_f mean over users u of both shops of |f(s_u) - t_u|², with the vectors s and t held still."""

    def terms(self, step: Step) -> dict[str, Tensor]:
        users = self.histories.draw(self.config.bridge_batch, seed=self.seed, step=self.steps_done)
        return {"bridge": (self.bridged(users) - self.in_target(users)).square().sum(1).mean()}
