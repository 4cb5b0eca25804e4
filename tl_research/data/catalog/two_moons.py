"""Two interleaved half circles, and the same turned by an angle."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from scipy.special import expit

from tl_research.config import DataConfig, above, at_least, within
from tl_research.data.domain import Domain
from tl_research.registry import register_dataset

CLASSES = ("upper", "lower")
DOMAINS = ("upright", "rotated")
#: Middle of the two half circles, about which they are turned.
MIDDLE = np.array([0.5, 0.25])


@dataclass
class TwoMoonsConfig(DataConfig):
    """Group `data` of `two_moons`."""

    name: str = "two_moons"
    sources: list[str] = field(default_factory=lambda: ["upright"])
    target: str = "rotated"
    n_source: int = at_least(10, default=600)
    n_target: int = at_least(10, default=600)
    angle: float = within(10, 90, default=30.0)  # degrees, anticlockwise
    noise: float = above(0, default=0.1)  # standard deviation of each coordinate; a half circle has radius 1
    class_shift: float = within(-10, 10, default=0.0)  # change of the log-odds of `lower` in `rotated`
    data_seed: int = at_least(0, default=0)  # of the rows; the run's own seed is apart


@register_dataset(
    "two_moons",
    config=TwoMoonsConfig,
    domains=DOMAINS,
    default=DOMAINS,
    metric="accuracy",
    encoder="mlp",
    paper="a generator of this package",
    licence="MIT",
)
def load(config: TwoMoonsConfig, names: list[str]) -> dict[str, Domain]:
    """Two interleaved half circles of radius 1, upright and turned by `data.angle` degrees.

    With t uniform on [0, pi] and e ~ N(0, noise²) in each coordinate, `upper` is (cos t, sin t) + e and `lower` is
    (1 - cos t, 1/2 - sin t) + e, less the middle (1/2, 1/4). The classes are equally likely in `upright`; in `rotated`
    the log-odds of `lower` are `data.class_shift`. `data.scale=none` leaves the rotation a rotation.
    """
    return {name: _domain(config, name) for name in names}


load.files = []


def _domain(config: TwoMoonsConfig, name: str) -> Domain:
    rows = config.n_target if name == config.target else config.n_source
    # A stream of its own for each domain: the angle leaves the upright rows as they are.
    random = np.random.default_rng([config.data_seed, DOMAINS.index(name)])
    is_rotated = name == "rotated"
    label = (random.random(rows) < expit(config.class_shift if is_rotated else 0.0)).astype(np.int64)
    turn = random.uniform(0.0, math.pi, rows)
    upper = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    moons = np.where(label[:, None] == 1, np.array([1.0, 0.5]) - upper, upper) - MIDDLE
    x = (moons + config.noise * random.standard_normal((rows, 2))) @ _rotation(config.angle if is_rotated else 0.0)
    info = {"rows": rows, "share_of_lower": float(label.mean())}
    return Domain(name, x.astype(np.float32), label, CLASSES, origin=f"two_moons/{name}", info=info)


def _rotation(degrees: float) -> np.ndarray:
    """Matrix R with x @ R turned anticlockwise."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[c, s], [-s, c]])
