"""Electronics in seven countries: items are shared, each user belongs to one country."""

from __future__ import annotations

from dataclasses import dataclass

from tl_research.interactions.module import InteractionConfig, InteractionModule, LoadedTask
from tl_research.interactions.public import MARKETS, markets
from tl_research.interactions.public_files import FILES
from tl_research.interactions.splits import leave_last_out
from tl_research.interactions.task import dual_by_last, split_task
from tl_research.registry import register_dataset


@dataclass
class XMarketConfig(InteractionConfig):
    """Group `data` of `xmarket`."""

    name: str = "xmarket"


@register_dataset(
    "xmarket",
    config=XMarketConfig,
    domains=MARKETS,
    default=("uk", "de"),
    metric="ndcg10",
    encoder="embedding",
    task="preference",
    module=InteractionModule,
    paper="Bonab et al. 2021, CIKM, Cross-Market Product Recommendation: electronics",
    licence="none stated; the reviews are Amazon's",
)
def load(config: XMarketConfig, seed: int) -> LoadedTask:
    """Purchases of electronics on Amazon in seven countries; products are shared, users are not."""
    shops = markets(config.target, tuple(config.sources), root=config.root)
    *sources, target = shops.logs
    if config.dual_target:
        task = dual_by_last(target, *sources, seed=seed)
    else:
        task = split_task(leave_last_out(target, seed=seed), target, tuple(sources))
    return LoadedTask(task, shops.users, shops.items, shops.remarks)


load.files = FILES["xmarket"]
