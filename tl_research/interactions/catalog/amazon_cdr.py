"""Amazon departments in pairs, with the split that their files ship."""

from __future__ import annotations

from dataclasses import dataclass

from tl_research.config import bounded, check, one_of
from tl_research.interactions.module import InteractionConfig, InteractionModule, LoadedTask
from tl_research.interactions.public import AMAZON_PAIRS, amazon_pair
from tl_research.interactions.public_files import FILES
from tl_research.interactions.task import cold_task, dual_task, given_parts, given_task
from tl_research.registry import register_dataset

DEPARTMENTS = ("phone", "electronic", "sport", "cloth")
PROTOCOLS = ("warm", "cold_user")


@dataclass
class AmazonCDRConfig(InteractionConfig):
    """Group `data` of `amazon_cdr`."""

    name: str = "amazon_cdr"
    # warm: the files' own test rows, one per user; cold_user: all target rows of a share of the overlapping users.
    protocol: str = one_of(PROTOCOLS, default="warm")
    cold_share: float = bounded(lambda value: 0 < value < 0.9, "a share between 0 and 0.9", default=0.2)

    def __post_init__(self) -> None:
        super().__post_init__()
        pair = (self.target, *self.sources)
        known = ", ".join(f"{target}<-{source}" for target, source in AMAZON_PAIRS)
        check(pair in AMAZON_PAIRS, "data.sources", list(self.sources), f"the one department of a pair: {known}")

    def cold_split(self) -> str:
        return "" if self.protocol == "warm" else f"data.protocol={self.protocol}"

    def lacks_times(self) -> str:
        return "data.name: 'amazon_cdr' has none"


@register_dataset(
    "amazon_cdr",
    config=AmazonCDRConfig,
    domains=DEPARTMENTS,
    default=("electronic", "phone"),
    metric="ndcg10",
    encoder="embedding",
    task="preference",
    module=InteractionModule,
    paper="Cao et al. 2022, SIGIR (DisenCDR): Amazon reviews, pairs of departments with shared users",
    licence="none stated; the reviews are Amazon's",
)
def load(config: AmazonCDRConfig, seed: int) -> LoadedTask:
    """Amazon purchases of phones, electronics, sports and clothes, in pairs of departments with shared users."""
    pair = amazon_pair(config.target, config.sources[0], both=config.dual_target, root=config.root)
    if pair.source_test is not None:
        domains = (pair.train, pair.test), (pair.source, pair.source_test)
        return LoadedTask(dual_task(*(given_parts(*logs, seed=seed) for logs in domains)))
    if config.protocol == "warm":
        return LoadedTask(given_task(pair.train, pair.test, (pair.source,), seed=seed))
    whole = pair.train.joined(pair.test)
    task = cold_task(whole, (pair.source,), share=config.cold_share, seed=seed)
    return LoadedTask(task, test_share=config.cold_share)


load.files = FILES["amazon_cdr"]
