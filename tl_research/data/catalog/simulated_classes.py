"""Clusters of points, and the same moved by an offset that all share: a small problem of several classes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tl_research.config import DataConfig, above, at_least
from tl_research.data.domain import Domain
from tl_research.registry import register_dataset

DOMAINS = ("old", "new")


@dataclass
class SimulatedClassesConfig(DataConfig):
    """Group `data` of `simulated_classes`."""

    name: str = "simulated_classes"
    sources: list[str] = field(default_factory=lambda: ["old"])
    target: str = "new"
    n_source: int = at_least(10, default=1500)
    n_target: int = at_least(10, default=1500)
    classes: int = at_least(3, default=10)  # their names are c0, c1, ...
    features: int = at_least(2, default=10)
    spread: float = above(0, default=1.5)  # standard deviation of each coordinate of the centres; of a cluster it is 1
    shift: float = at_least(0, default=3.0)  # length of the offset between the domains
    data_seed: int = at_least(0, default=0)  # of centres, offset and rows; the run's own seed is apart


@register_dataset(
    "simulated_classes",
    config=SimulatedClassesConfig,
    domains=DOMAINS,
    default=DOMAINS,
    metric="accuracy",
    encoder="mlp",
    paper="a generator of this package",
    licence="MIT",
)
def load(config: SimulatedClassesConfig, names: list[str]) -> dict[str, Domain]:
    """Gaussian clusters, for label sets that differ (`data.label_sets`).

    x = μ_y + e, e ~ N(0, I), with centres μ_c ~ N(0, spread² I) and classes that are equally likely. In `new` every row
    is moved by `shift` along one random direction.
    """
    return {name: _domain(config, name) for name in names}


load.files = []


def _domain(config: SimulatedClassesConfig, name: str) -> Domain:
    rows = config.n_target if name == config.target else config.n_source
    task = np.random.default_rng([config.data_seed, len(DOMAINS)])
    direction = task.standard_normal(config.features)
    centres = config.spread * task.standard_normal((config.classes, config.features))
    random = np.random.default_rng([config.data_seed, DOMAINS.index(name)])
    label = random.integers(config.classes, size=rows)
    x = centres[label] + random.standard_normal((rows, config.features))
    if name == "new":
        x += config.shift * direction / np.linalg.norm(direction)
    classes = tuple(f"c{number}" for number in range(config.classes))
    return Domain(name, x.astype(np.float32), label, classes, origin=f"simulated_classes/{name}", info={"rows": rows})
