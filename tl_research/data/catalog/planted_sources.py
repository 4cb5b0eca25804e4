"""Three sources of known worth for one target: one is close, one is far, and one has its labels turned round."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tl_research.config import DataConfig, at_least, share, within
from tl_research.data.domain import Domain
from tl_research.registry import register_dataset

CLASSES = ("no_purchase", "purchase")
TARGET = "new_market"
#: domain -> share of the target's offset with which it records its second column.
OFFSET = {"close_market": 0.6, "far_market": 0.0, "harmful_market": 0.0, TARGET: 1.0}
#: Mean of the third column, by which the harmful source can be told from the others.
MARK = {"close_market": 0.0, "far_market": 0.0, "harmful_market": 2.0, TARGET: 0.0}
SOURCES = ("close_market", "far_market", "harmful_market")


@dataclass
class PlantedSourcesConfig(DataConfig):
    """Group `data` of `planted_sources`."""

    name: str = "planted_sources"
    sources: list[str] = field(default_factory=lambda: list(SOURCES))
    target: str = TARGET
    n_source: int = at_least(10, default=600)  # rows of each source
    n_target: int = at_least(10, default=600)
    features: int = at_least(3, default=6)
    offset: float = within(-10, 10, default=2.0)  # of the target's second column, in its standard deviations
    turned: float = share(default=1.0)  # of the harmful source's labels, how many are turned round
    data_seed: int = at_least(0, default=0)  # of the rows; the run's own seed is apart


@register_dataset(
    "planted_sources",
    config=PlantedSourcesConfig,
    domains=tuple(OFFSET),
    default=("close_market", TARGET),
    metric="accuracy",
    encoder="mlp",
    paper="a generator of this package",
    licence="MIT",
)
def load(config: PlantedSourcesConfig, names: list[str]) -> dict[str, Domain]:
    """A close, a far and a harmful source for one target.

    With an interest z ~ N(0, 1) and independent e ~ N(0, 1), the columns are x_0 = z + 0.45 e_0, seen alike everywhere;
    x_1 = z + 0.3 e_1 + offset, the better sign of interest, whose offset is 0 in the far and the harmful source, 0.6 of
    the target's in the close one; x_2 ~ N(mark, 1), mark 2 in the harmful source and 0 elsewhere; x_3, ... ~ N(0, 1).
    The label is whether z + 0.3 e_y is above 0; in the harmful source a share `data.turned` of the labels is the other.
    """
    return {name: _domain(config, name) for name in names}


load.files = []


def _domain(config: PlantedSourcesConfig, name: str) -> Domain:
    rows = config.n_target if name == config.target else config.n_source
    # A stream of its own for each domain: an option that acts on one leaves the rows of the others as they are.
    random = np.random.default_rng([config.data_seed, list(OFFSET).index(name)])
    interest = random.standard_normal(rows)
    x = random.standard_normal((rows, config.features))
    x[:, 0] = interest + 0.45 * x[:, 0]
    x[:, 1] = interest + 0.3 * x[:, 1] + config.offset * OFFSET[name]
    x[:, 2] += MARK[name]
    label = (interest + 0.3 * random.standard_normal(rows) > 0).astype(np.int64)
    turned = random.random(rows) < config.turned
    if name == "harmful_market":
        label = np.where(turned, 1 - label, label)
    info = {"rows": rows, "purchase_rate": float(label.mean())}
    return Domain(name, x.astype(np.float32), label, CLASSES, origin=f"planted_sources/{name}", info=info)
