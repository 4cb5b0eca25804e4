"""Personalised bridges: a network reads a user's purchases in the old shop and writes that user's own map."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tl_research.config import at_least
from tl_research.methods.bridging import ENCODER, Bridging, BridgingConfig
from tl_research.methods.step import Phase, Step
from tl_research.registry import register_method


@dataclass
class PTUPCDRConfig(BridgingConfig):
    """Group `method` of `ptupcdr`."""

    name: str = "ptupcdr"
    hidden: int = at_least(1, default=50)  # of the meta-network
    history: int = at_least(1, default=20)  # latest purchases that are read


class HistoryAttention(nn.Module):
    """p = Σ_j a_j v_j with a = softmax_j h(v_j), over the items of a history.

    Args:
        width: of the vectors; the score h is a perceptron of one hidden layer of that width.
    """

    def __init__(self, width: int):
        super().__init__()
        # Without a bias at the end: a softmax does not see it.
        self.score = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1, bias=False))

    def forward(self, items: Tensor, is_item: Tensor) -> Tensor:
        """Return (n, width) for vectors (n, h, width), of which `is_item` (n, h) says which there are."""
        score = self.score(items)[:, :, 0].masked_fill(~is_item, torch.finfo(items.dtype).min)
        return torch.einsum("nh,nhd->nd", score.softmax(1), items)


class MetaNetwork(nn.Module):
    """W = g(p): a perceptron from a user's traits (n, d) to a map (n, d, d) of vectors.

    Args:
        width: d.
        hidden: units of its hidden layer.
    """

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width * width))

    def forward(self, traits: Tensor) -> Tensor:
        return self.layers(traits).unflatten(1, (traits.shape[1], -1))


@register_method(
    "ptupcdr",
    config=PTUPCDRConfig,
    family="relation",
    settings=("supervised",),
    targets=("preference",),
    encoder=ENCODER,
    paper="Zhu et al. 2022, WSDM, section 3, with pairs in the place of ratings",
    no_gain="held against popularity for cold users on planted tastes (tests/recommenders/test_bridges.py)",
)
class PTUPCDR(Bridging):
    """f_u = W_u s_u with W_u = g(p_u), p_u = Σ_j softmax_j(h(v_j)) v_j over u's items in the old shop.

    Attention h and meta-network g minimise the pairwise loss of the target's interactions with f_u in the place of t_u;
    the vectors are held still.
    """

    def make_bridge(self, width: int) -> None:
        self.attention = HistoryAttention(width)
        self.meta = MetaNetwork(width, self.config.hidden)

    def bridged(self, users: Tensor) -> Tensor:
        items, is_item = self.histories.latest(users, self.config.history)
        traits = self.attention(self.encoder.items.weight[items], is_item)
        return torch.einsum("nij,nj->ni", self.meta(traits), self.in_sources(users))

    def terms(self, step: Step) -> dict[str, Tensor]:
        return {"bridge": self.bridged_task(step.batch.target_labeled)}

    def averaged_over(self, term: str, phase: Phase) -> str | None:
        return "target_labeled" if term == "bridge" else super().averaged_over(term, phase)
