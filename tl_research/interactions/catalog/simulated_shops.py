"""Simulated shops with known tastes: shared users, and products that both shops list under ids of their own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from tl_research.config import added_later, at_least, check, share
from tl_research.interactions.content import Attributes
from tl_research.interactions.log import Log
from tl_research.interactions.module import InteractionConfig, InteractionModule, LoadedTask
from tl_research.interactions.splits import leave_last_out
from tl_research.interactions.task import cold_task, dual_by_last, split_task
from tl_research.registry import register_dataset

SHOPS = ("old", "new")


@dataclass
class SimulatedShopsConfig(InteractionConfig):
    """Group `data` of `simulated_shops`."""

    name: str = "simulated_shops"
    n_users: int = at_least(20, default=600)
    n_items: int = at_least(20, default=300)  # per shop
    tastes: int = at_least(1, default=6)  # width of the planted vectors
    overlap: float = share(default=1.0)  # of the users, that buy in both shops; the others buy in one
    kinship: float = share(default=1.0)  # 1: a user wants the same in both shops; 0: tastes of their own in each
    old_purchases: int = at_least(1, default=20)  # per user, in the mean
    new_purchases: int = at_least(3, default=5)
    twin_items: int = at_least(0, default=0)  # products that the old shop lists too, bought there by the same users
    cold: bool = False  # a fifth of the shared users test with all that they bought in the new shop
    attribute_noise: float | None = added_later(None)  # items have attributes, with so much noise; None: they have none

    def __post_init__(self) -> None:
        super().__post_init__()
        noise = self.attribute_noise
        check(noise is None or noise >= 0, "data.attribute_noise", noise, "a number of 0 or more, or nothing")

    def cold_split(self) -> str:
        return "data.cold=true" if self.cold else ""


@dataclass(frozen=True)
class Planted:
    """What the shops are drawn from.

    Fields:
        users: (2, users, tastes) what each user wants, in the old and the new shop.
        items: (2 * items, tastes), the old shop's first.
        popularity: (2 * items,) added to every user's score.
    """

    users: np.ndarray
    items: np.ndarray
    popularity: np.ndarray

    def scores(self, shop: int, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Return (u, i) log odds of a purchase."""
        return self.users[shop, users] @ self.items[items].T + self.popularity[items]


def plant(config: SimulatedShopsConfig, seed: int) -> Planted:
    """Draw tastes, items and popularities."""
    random = np.random.default_rng([seed, 7])
    shape = (config.n_users, config.tastes)
    common, own = random.normal(size=shape), random.normal(size=shape)
    new = np.sqrt(config.kinship) * common + np.sqrt(1 - config.kinship) * own
    items = random.normal(size=(2 * config.n_items, config.tastes)) * 1.5 / np.sqrt(config.tastes)
    return Planted(np.stack([common, new]), items, 0.5 * random.normal(size=2 * config.n_items))


def draw(config: SimulatedShopsConfig, seed: int) -> tuple[Log, Log]:
    """Return the logs of the old and the new shop.

    A user buys k different items by the Gumbel-top-k of the planted scores. The first `twin_items` products of the new
    shop stand in the old shop as its first, and whoever buys one there has bought it here.
    """
    planted, random = plant(config, seed), np.random.default_rng([seed, 8])
    users, items = config.n_users, config.n_items
    in_both, in_old = random.random(users) < config.overlap, random.random(users) < 0.5
    takes_part = [in_both | in_old, in_both | ~in_old]
    logs = []
    for shop, mean in enumerate((config.old_purchases, config.new_purchases)):
        buyers = np.flatnonzero(takes_part[shop])
        codes = np.arange(shop * items, (shop + 1) * items)
        noisy = planted.scores(shop, buyers, codes) + random.gumbel(size=(len(buyers), items))
        amount = np.minimum(np.maximum(3, random.poisson(mean, len(buyers))), items)
        order = np.argsort(-noisy, axis=1)
        user = np.repeat(buyers, amount)
        item = np.concatenate([codes[line[:count]] for line, count in zip(order, amount, strict=True)])
        time = random.random(len(user))
        logs.append(Log(SHOPS[shop], user, item, users, 2 * items, time=time))
    old, new = logs
    if config.twin_items:
        count = min(config.twin_items, items)
        copied = new.take(new.item < items + count)
        rest = old.take(old.item >= count)
        copied = Log("old", copied.user, copied.item - items, users, 2 * items, time=copied.time)
        old = rest.joined(copied)
    return old, new


def attributes_of(config: SimulatedShopsConfig, seed: int) -> Attributes | None:
    """Return twice as many attributes as there are tastes: a_i = v_i M + noise, v_i the planted vector of item i.

    M is the old shop's in the old shop; in the new one it is sqrt(kinship) of that and sqrt(1 - kinship) of one of its
    own: with kinship 0 what an attribute means in one shop says nothing of the other.
    """
    if config.attribute_noise is None:
        return None
    planted, random = plant(config, seed), np.random.default_rng([seed, 9])
    shape = (config.tastes, 2 * config.tastes)
    old, own = random.normal(size=shape), random.normal(size=shape)
    new = np.sqrt(config.kinship) * old + np.sqrt(1 - config.kinship) * own
    count = config.n_items
    values = np.concatenate([planted.items[:count] @ old, planted.items[count:] @ new])
    values += config.attribute_noise * random.normal(size=values.shape)
    table = pd.DataFrame(values, columns=[f"attribute {place + 1}" for place in range(values.shape[1])])
    return Attributes(np.arange(2 * count), table, "simulated_shops")


@register_dataset(
    "simulated_shops",
    config=SimulatedShopsConfig,
    domains=SHOPS,
    default=("old", "new"),
    metric="ndcg10",
    encoder="embedding",
    task="preference",
    module=InteractionModule,
    paper="ours: purchases by planted tastes",
)
def load(config: SimulatedShopsConfig, seed: int) -> LoadedTask:
    """Simulated purchases in an old and a new shop, whose users share their tastes as far as you say."""
    logs = dict(zip(SHOPS, draw(config, seed), strict=True))
    target, sources = logs[config.target], tuple(logs[name] for name in config.sources)
    attributes = attributes_of(config, seed)
    if config.dual_target:
        return LoadedTask(dual_by_last(target, *sources, seed=seed), attributes=attributes)
    if config.cold:
        return LoadedTask(cold_task(target, sources, share=0.2, seed=seed), attributes=attributes, test_share=0.2)
    return LoadedTask(split_task(leave_last_out(target, seed=seed), target, sources), attributes=attributes)
