"""Simulated shop visits with known shifts, a known density ratio and a known Bayes score.

A visit has features x in R^d and a purchase y in {0, 1}. With e, x_2, ..., x_{d-1} and the interest z all
independent N(0, 1), the old market is

    x_0 = z + 0.45 e_0    clicks: seen alike in every market
    x_1 = z + 0.3 e_1     basket: the better sign of interest, but every market records it in its own way
    x_2                   habit, which acts through its square
    x_3                   trend, without effect until the concept shifts
    x_4, ...              without effect

    P(y=1 | x) = Phi(g(x) / noise),    g(x) = w + CURVATURE (x_2^2 - 1),

where w is E[z | x_0, x_1] scaled to variance 1. A new market differs by four knobs, each 0 for "no shift":

    covariate_shift c    x_2 ~ N(c, 1); P(y|x) as before.                           Only p(x) changes.
    concept_shift a      w cos a + x_3 sin a in place of w; p(x) as before.         Only P(y|x) changes.
    label_shift l        the log-odds of p(y=1) grow by l; p(x|y) as before.        Only p(y) changes.
    measurement_shift m  x_1, x_5, x_7, ... are recorded as exp(0.3 m) x + 2 m.     Another scale for the same visit.

With `data.task=regression` the label is the amount g(x) + noise · e instead, of which the purchase is the sign;
there is no label shift then, and its best possible R² is `bayes_r2`.

The first two act first, then the label shift re-weights the classes of the result, then the measurement. What
`density_ratio` and `bayes_score` take is what is recorded. The third market has every knob at half its value.

Under the measurement shift, the default, a classifier of the old market trusts x_1 and errs in the new one. A
method that aligns features can learn to do without (x_0 alone is nearly as good), and one that maps the new
market's mean and variances onto the old one's undoes the shift.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from scipy.special import expit, log_ndtr, logit, ndtr
from scipy.stats import multivariate_normal

from tl_research.config import DataConfig, added_later, check, check_choice
from tl_research.data.domain import Domain
from tl_research.registry import TARGETS, register_dataset

CLASSES = ("no_purchase", "purchase")
#: domain -> by how much of their value the knobs act on it.
STRENGTH = {"old_market": 0.0, "third_market": 0.5, "new_market": 1.0}
CURVATURE = 0.4
VIEW_NOISE = (0.45, 0.3)  # of x_0 and x_1 as views of the interest
STRETCH, OFFSET = 0.3, 2.0  # of the recording, at measurement_shift = 1


@dataclass
class SimulatedMarketConfig(DataConfig):
    """Group `data` of `simulated_market`."""

    name: str = "simulated_market"
    sources: list[str] = field(default_factory=lambda: ["old_market"])
    target: str = "new_market"
    n_source: int = 2000  # rows of each source
    n_target: int = 2000
    features: int = 10
    noise: float = 0.3  # of the decision; the Bayes error grows with it
    covariate_shift: float = 0.0
    label_shift: float = 0.0
    concept_shift: float = 0.0  # radians
    measurement_shift: float = 1.0
    data_seed: int = 0  # of the rows; the run's own seed is apart
    task: str = added_later("class")  # or regression: the amount, of which the purchase is the sign

    def __post_init__(self):
        super().__post_init__()
        check(self.n_source >= 10, "data.n_source", self.n_source, "at least 10")
        check(self.n_target >= 10, "data.n_target", self.n_target, "at least 10")
        check(self.features >= 4, "data.features", self.features, "at least 4")
        check(self.noise > 0, "data.noise", self.noise, "a number above 0")
        check_choice("data.task", self.task, TARGETS)
        check(self.data_seed >= 0, "data.data_seed", self.data_seed, "0 or more")
        for knob, most in (("covariate", 10), ("label", 10), ("concept", math.pi), ("measurement", 10)):
            value = getattr(self, f"{knob}_shift")
            check(abs(value) <= most, f"data.{knob}_shift", value, f"a number from -{most:.4g} to {most:.4g}")
        if self.task == "regression":
            check(self.label_shift == 0, "data.label_shift", self.label_shift, "0: data.task=regression has no classes")


@register_dataset(
    "simulated_market",
    config=SimulatedMarketConfig,
    domains=tuple(STRENGTH),
    default=("old_market", "new_market"),
    metric="accuracy",
    encoder="mlp",
    paper="a generator of this package",
    licence="MIT",
)
def load(config: SimulatedMarketConfig, names: list[str]) -> dict[str, Domain]:
    """Simulated shop visits in an old and a new market, with knobs for every kind of shift and a known optimum."""
    return {name: _domain(config, name) for name in names}


load.files = []


def density_ratio(config: SimulatedMarketConfig, x: np.ndarray, domain: str = "new_market") -> np.ndarray:
    """Exact p_domain(x) / p_old_market(x) of recorded inputs.

    It is the importance weight of a source row under covariate and label shift. Under measurement shift it is
    still the ratio of the two densities, though P(y|x) then differs as well.

    Args:
        config: the knobs.
        x: (n, features).
        domain: whose density is above the line.

    Returns:
        (n,) float64.
    """
    return np.exp(log_density(config, x, domain) - log_density(config, x, "old_market"))


def log_density(config: SimulatedMarketConfig, x: np.ndarray, domain: str) -> np.ndarray:
    """Exact log p(x) of recorded inputs (n, features) in a domain; (n,) float64."""
    market = _Market(config, domain)
    latent = market.unrecord(x)
    gaussian = multivariate_normal(market.mean, _covariance(config.features)).logpdf(latent)
    buys, base = market.score(latent), market.base_rate()
    rate = expit(logit(base) + market.label_shift)
    reweighted = buys * (rate / base) + (1 - buys) * ((1 - rate) / (1 - base))
    return gaussian + np.log(reweighted) - np.log(market.scale).sum()


def bayes_score(config: SimulatedMarketConfig, x: np.ndarray, domain: str) -> np.ndarray:
    """Exact P(y=1 | x) of recorded inputs (n, features) in a domain; (n,) float64."""
    market = _Market(config, domain)
    # Re-weighting the classes adds the change of the log-odds of p(y) to those of P(y|x).
    margin = market.margin(market.unrecord(x))
    return expit(log_ndtr(margin) - log_ndtr(-margin) + market.label_shift)


def purchase_rate(config: SimulatedMarketConfig, domain: str) -> float:
    """Exact p(y=1) in a domain."""
    market = _Market(config, domain)
    return float(expit(logit(market.base_rate()) + market.label_shift))


def bayes_accuracy(config: SimulatedMarketConfig, domain: str) -> float:
    """Accuracy of the best possible classifier in a domain: E max(P(y=1|x), P(y=0|x)), to about 1e-6."""
    market = _Market(config, domain)
    along, across = np.meshgrid(np.linspace(-9, 9, 1201), np.linspace(-9, 9, 601))
    buys = ndtr((along + CURVATURE * ((across + market.covariate_shift) ** 2 - 1)) / config.noise)
    weight = np.exp(-0.5 * (along**2 + across**2))
    base, rate = market.base_rate(), purchase_rate(config, domain)
    best = np.maximum(buys * rate / base, (1 - buys) * (1 - rate) / (1 - base))
    return float((best * weight).sum() / weight.sum())


def bayes_r2(config: SimulatedMarketConfig, domain: str) -> float:
    """R² of the best possible prediction of the amount in a domain: Var g / (Var g + noise²).

    w and the habit x_2 are independent, so Var g = 1 + CURVATURE² (2 + 4 c²), c the covariate shift.
    """
    explained = 1 + CURVATURE**2 * (2 + 4 * _Market(config, domain).covariate_shift ** 2)
    return explained / (explained + config.noise**2)


class _Market:
    """The law of one domain."""

    def __init__(self, config: SimulatedMarketConfig, domain: str):
        strength = STRENGTH[domain]
        self.noise = config.noise
        self.covariate_shift = strength * config.covariate_shift
        self.label_shift = strength * config.label_shift
        self.concept_shift = strength * config.concept_shift
        self.mean = np.zeros(config.features)
        self.mean[2] = self.covariate_shift
        measurement = strength * config.measurement_shift
        recorded = _recorded_anew(config.features)
        self.scale = np.where(recorded, math.exp(STRETCH * measurement), 1.0)
        self.offset = np.where(recorded, OFFSET * measurement, 0.0)

    def score(self, latent: np.ndarray) -> np.ndarray:
        """P(y=1 | latent) before the label shift."""
        return ndtr(self.margin(latent))

    def margin(self, latent: np.ndarray) -> np.ndarray:
        """g / noise."""
        interest = latent[:, :2] @ _INTEREST
        turned = math.cos(self.concept_shift) * interest + math.sin(self.concept_shift) * latent[:, 3]
        return (turned + CURVATURE * (latent[:, 2] ** 2 - 1)) / self.noise

    def base_rate(self) -> float:
        """p(y=1) before the label shift: w integrates out in closed form, x_2 by Gauss-Hermite quadrature."""
        nodes, weights = np.polynomial.hermite_e.hermegauss(100)
        value = CURVATURE * ((nodes + self.covariate_shift) ** 2 - 1) / math.hypot(1.0, self.noise)
        return float((ndtr(value) * weights).sum() / weights.sum())

    def record(self, latent: np.ndarray) -> np.ndarray:
        return latent * self.scale + self.offset

    def unrecord(self, x: np.ndarray) -> np.ndarray:
        return (np.asarray(x, dtype=np.float64) - self.offset) / self.scale


def _recorded_anew(features: int) -> np.ndarray:
    """Mask (d,) of the columns that a measurement shift acts on."""
    column = np.arange(features)
    return (column == 1) | ((column >= 5) & (column % 2 == 1))


def _covariance(features: int) -> np.ndarray:
    covariance = np.eye(features)
    covariance[:2, :2] = 1.0 + np.diag(np.square(VIEW_NOISE))
    return covariance


def _interest_weights() -> np.ndarray:
    """Weights of x_0 and x_1 in w: those of E[z | x_0, x_1], scaled so that w has variance 1."""
    precision = 1.0 / np.square(VIEW_NOISE)
    return precision / math.sqrt(precision.sum() * (1.0 + precision.sum()))


_INTEREST = _interest_weights()


def _domain(config: SimulatedMarketConfig, name: str) -> Domain:
    market = _Market(config, name)
    rows = config.n_target if name == config.target else config.n_source
    # A stream of its own for each domain: a knob that acts on one leaves the rows of the others as they are.
    random = np.random.default_rng([config.data_seed, list(STRENGTH).index(name)])
    latent, label, classes, facts = _LABELS[config.task](config, name, market, rows, random)
    x = market.record(latent).astype(np.float32)
    return Domain(name, x, label, classes, origin=f"simulated_market/{name}", info={"rows": rows, **facts})


def _purchases(config: SimulatedMarketConfig, name: str, market: _Market, rows: int, random):
    """Return latent rows, whether each is a purchase, the classes, and facts for the record."""
    latent, label = _draw(market, purchase_rate(config, name), config.features, rows, random)
    return latent, label, CLASSES, {"purchase_rate": float(label.mean())}


def _amounts(config: SimulatedMarketConfig, name: str, market: _Market, rows: int, random):
    """Return latent rows, the amount of each, no classes, and no further facts."""
    latent = random.multivariate_normal(market.mean, _covariance(config.features), rows, method="cholesky")
    return latent, market.noise * (market.margin(latent) + random.standard_normal(rows)), (), {}


_LABELS = {"class": _purchases, "regression": _amounts}


def _draw(market: _Market, rate: float, features: int, rows: int, random) -> tuple[np.ndarray, np.ndarray]:
    """Draw y by its rate, then x given y by rejection."""
    label = (random.random(rows) < rate).astype(np.int64)
    latent, covariance = np.empty((rows, features)), _covariance(features)
    waiting = {value: np.flatnonzero(label == value) for value in (0, 1)}
    while any(len(open_rows) for open_rows in waiting.values()):
        drawn = random.multivariate_normal(market.mean, covariance, rows, method="cholesky")
        buys = (random.random(rows) < market.score(drawn)).astype(np.int64)
        for value, open_rows in waiting.items():
            fitting = drawn[buys == value][: len(open_rows)]
            latent[open_rows[: len(fitting)]] = fitting
            waiting[value] = open_rows[len(fitting) :]
    return latent, label
