"""Users click on items, some users on nearly everything: a data set with users, and a loss within each of them."""

import numpy as np
import torch.nn.functional as F

from tl_research.config import DataConfig, MethodConfig
from tl_research.data.domain import Domain
from tl_research.methods.base import AdaptationModule
from tl_research.registry import register_dataset, register_method

SHOPS = ("shop", "app")


@register_dataset("toy_clicks", config=DataConfig, domains=SHOPS, metric="auroc", encoder="mlp", paper="none")
def load(config, names):
    """40 users see 30 of 200 items each; four features of an item say whether a user clicks more than usual."""
    draw, domains = np.random.default_rng(0), {}
    items, user = draw.normal(size=(200, 4)).astype(np.float32), np.repeat(np.arange(40), 30)
    for name in names:
        item = draw.integers(200, size=len(user))
        click = items[item].sum(1) + 4 * draw.normal(size=40)[user] > 0
        extra = {"user": user, "item": item}
        domains[name] = Domain(name, items[item], click.astype(int), ("no", "yes"), extra=extra)
    return domains


@register_method("toy_pairs", config=MethodConfig, family="ranking", settings=("unsupervised",), paper="Rendle 2009")
class Pairs(AdaptationModule):
    """Bayesian personalised ranking: of two different items of one user, the clicked one is to score higher."""

    def task_loss(self, rows, weight=None):
        score, user, item = rows.logits[:, 1] - rows.logits[:, 0], rows.extra["user"], rows.extra["item"]
        is_pair = (user[:, None] == user) & (item[:, None] != item) & (rows.label[:, None] > rows.label)
        return F.softplus(score - score[:, None])[is_pair].sum() / is_pair.sum().clamp(min=1)
