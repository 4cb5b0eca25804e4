"""Your own files of interactions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tl_research.config import added_later, one_of
from tl_research.data.content import file_digest
from tl_research.errors import DataError
from tl_research.interactions.content import read_attributes
from tl_research.interactions.files import Columns, read_log
from tl_research.interactions.module import InteractionConfig, InteractionModule, LoadedTask
from tl_research.interactions.task import COLD, dual_by_last, make_task
from tl_research.interactions.together import SHARED, together
from tl_research.registry import register_dataset


@dataclass
class InteractionsConfig(InteractionConfig):
    """Group `data` of `interactions`: `sources` and `target` are paths of CSV or Parquet files."""

    name: str = "interactions"
    user: str = "user"
    item: str = "item"
    time: str | None = None
    cold: str = one_of(COLD, default="none")
    items: str | None = added_later(None)  # a file with a row of attributes per item; its column of ids is `item`
    shared: str | None = one_of(SHARED, default=None)  # what the same id in two files means; None: told by ids

    def cold_split(self) -> str:
        return "" if self.cold == "none" else f"data.cold={self.cold}"

    def lacks_times(self) -> str:
        return "" if self.time is not None else "data.time: names no column of data.name='interactions'"

    def content(self) -> str | None:
        """Return a digest of the bytes of all files."""
        files = (*self.sources, self.target, *([] if self.items is None else [self.items]))
        return "/".join(file_digest(Path(name)).hex() for name in files)


@register_dataset(
    "interactions",
    config=InteractionsConfig,
    domains=(),
    metric="ndcg10",
    encoder="embedding",
    task="preference",
    module=InteractionModule,
    paper="your own files",
)
def load(config: InteractionsConfig, seed: int) -> LoadedTask:
    """Your own interactions: who bought what, one file per shop or market.

    `data.items` describes items: with a method that reads attributes, such as `two_tower`, `data.cold=items` then tests
    on new items that no old shop has sold.
    """
    columns = Columns(config.user, config.item, config.time)
    raws = [read_log(name, columns) for name in (*config.sources, config.target)]
    shops = together(raws, shared=config.shared, are_described=config.items is not None)
    *sources, target = shops.logs
    attributes = None if config.items is None else read_attributes(config.items, config.item, shops.items)
    described = None if attributes is None else attributes.item
    try:
        if config.dual_target:
            task = dual_by_last(target, *sources, seed=seed)
        else:
            task = make_task(target, tuple(sources), cold=config.cold, seed=seed, described=described)
    except ValueError as error:
        raise DataError(str(error)) from None
    return LoadedTask(task, shops.users, shops.items, shops.remarks, attributes)
