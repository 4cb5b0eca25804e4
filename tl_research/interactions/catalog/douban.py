"""Douban: books and music, rated by shared users."""

from __future__ import annotations

from dataclasses import dataclass

from tl_research.config import bounded, check, one_of
from tl_research.interactions.module import InteractionConfig, InteractionModule, LoadedTask
from tl_research.interactions.public import DOUBAN_DOMAINS, douban
from tl_research.interactions.public_files import FILES
from tl_research.interactions.splits import by_ratio, leave_last_out
from tl_research.interactions.task import cold_task, split_task
from tl_research.registry import register_dataset

PROTOCOLS = ("leave_one_out", "ratio", "cold_user")
#: Share of the target's ratings that tests under `ratio`; as many validate.
TEST_SHARE = 0.1


@dataclass
class DoubanConfig(InteractionConfig):
    """Group `data` of `douban`: a rating of any height is an interaction."""

    name: str = "douban"
    # leave_one_out: a random rating of each user tests; ratio: a random tenth of all; cold_user: all target rows of a
    # share of the overlapping users.
    protocol: str = one_of(PROTOCOLS, default="leave_one_out")
    cold_share: float = bounded(lambda value: 0 < value < 0.9, "a share between 0 and 0.9", default=0.2)

    def __post_init__(self) -> None:
        super().__post_init__()
        other = [name for name in DOUBAN_DOMAINS if name != self.target]
        check(list(self.sources) == other, "data.sources", list(self.sources), f"the other domain: {', '.join(other)}")

    def lacks_times(self) -> str:
        return "data.name: 'douban' has none"


@register_dataset(
    "douban",
    config=DoubanConfig,
    domains=DOUBAN_DOMAINS,
    default=("music", "book"),
    metric="ndcg10",
    encoder="embedding",
    task="preference",
    module=InteractionModule,
    paper="Zhu et al. 2020, IJCAI (GA-DTCDR): ratings of books and music by shared users",
    licence="none stated; the repository is GPL-3",
)
def load(config: DoubanConfig, seed: int) -> LoadedTask:
    """Ratings of books and of music by users of Douban who gave both."""
    target, source = douban(config.target, config.sources[0], root=config.root)
    if config.protocol == "cold_user":
        task = cold_task(target, (source,), share=config.cold_share, seed=seed)
        return LoadedTask(task, test_share=config.cold_share)
    whole = config.protocol == "leave_one_out"
    split = leave_last_out(target, seed=seed) if whole else by_ratio(target, test=TEST_SHARE, val=TEST_SHARE, seed=seed)
    return LoadedTask(split_task(split, target, (source,)), test_share=len(split.test) / len(target))


load.files = FILES["douban"]
