"""`InteractionModule`: interactions of several domains as paired batches, and held-out ones to rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from tl_research.config import DataConfig, added_later, check, one_of
from tl_research.data.batch import Samples
from tl_research.data.paired import PairedDataModule
from tl_research.data.transforms.interactions import InteractionTransform
from tl_research.data.transforms.spec import InteractionSpec
from tl_research.errors import DataError
from tl_research.interactions.content import Attributes, content_of
from tl_research.interactions.log import Log
from tl_research.interactions.task import Task
from tl_research.interactions.twin_rows import TREATMENTS, treat_twins
from tl_research.metrics.left_out import parts_of
from tl_research.outcomes import PreferenceOutcome
from tl_research.registry import DATASETS


@dataclass
class InteractionConfig(DataConfig):
    """Group `data`, common to every data set of interactions.

    All of the target's training interactions are shown: `setting` is `supervised`.
    """

    setting: str = "supervised"
    twins: str = one_of(TREATMENTS, default="drop")  # what becomes of items that two domains list under two ids
    batch_size: int = 1024
    dual_target: bool = added_later(False)  # whether the source's held-out rows are measured as well as the target's

    #: Keys that only rows with features have.
    unread: ClassVar[tuple[str, ...]] = ("label", "scale", "val_fraction", "test_fraction")

    def __post_init__(self) -> None:
        super().__post_init__()
        wants = "supervised: a recommender learns from all training interactions of the target"
        check(self.setting == "supervised", "data.setting", self.setting, wants)
        for key in self.unread:
            default = DataConfig.__dataclass_fields__[key].default
            wants = f"nothing: interactions have no {key}"
            check(getattr(self, key) == default, f"data.{key}", getattr(self, key), wants)
        if self.dual_target:
            wants = "one source, where data.dual_target=true: two domains that learn from each other"
            check(len(self.sources) == 1, "data.sources", list(self.sources), wants)
            cold = self.cold_split()
            check(not cold, "data.dual_target", True, f"false with {cold}: only the target has cold users or items")

    def cold_split(self) -> str:
        """Return the key and value that hold out cold users or items of the target; empty where none does."""
        return ""

    def lacks_times(self) -> str:
        """Return the key by which rows have no time, and why (`data.name: 'douban' has none`); empty where they may."""
        return ""


@dataclass(frozen=True)
class LoadedTask:
    """What a data set of interactions gives for a configuration.

    Fields:
        task: split; its twins told, not yet treated.
        user_ids, item_ids: ids by code; None where the codes are the ids.
        remarks: what was left out.
        attributes: of the items; None where the data have none.
        test_share: share of the rows that test rows are drawn from, anew by each seed; 1 where they are the same.
    """

    task: Task
    user_ids: Sequence[str] | None = None
    item_ids: Sequence[str] | None = None
    remarks: tuple[str, ...] = ()
    attributes: Attributes | None = None
    test_share: float = 1.0


class InteractionModule(PairedDataModule):
    """A row is one interaction: inputs `{"user", "item"}` in codes that all domains share, label 1.

    Sides: `source` are all interactions of the source domains, `target_labeled` the training interactions of the
    target, `target` the same without labels. Splits: `target_val`, `target_test`. What is held out is in no side.
    `extra` has `user` and `item`, and `time` where every domain has one.

    With `data.dual_target` the side `source` has the source's training interactions alone, and the splits hold the
    held-out rows of both domains; their inputs say the `domain` of each row.
    """

    def setup(self, stage: str | None = None) -> None:
        """Load, split and treat twins. A second call does nothing.

        Raises:
            DataError: nothing is left to train, validate or test on.
        """
        if self.sides:
            return
        loaded = DATASETS.get(self.config.name).target(self.config, self.seed)
        task, twins = treat_twins(loaded.task, self.config.twins)
        known, place, dual = task.train, len(task.sources), task.of_source is not None
        content = None
        if loaded.attributes is not None:
            learns = [log.own_items() for log in (known, *task.sources)]
            learns = np.unique(np.concatenate([*learns, np.array(task.unsold, dtype=np.int64)]))
            content = content_of(loaded.attributes, known.items, learns)
        ranked = place if dual else 0
        counts = InteractionSpec(known.users, known.items, task.unsold, ranked, content and content.matrix)
        self.transform = InteractionTransform(counts, loaded.user_ids, loaded.item_ids)
        self.spec, self.schema, self.outcome = self.transform.spec, None, PreferenceOutcome(per_domain=dual)
        held_out = {"target_val": ([task.val], [place]), "target_test": ([task.test], [place])}
        if dual:
            held_out["target_val"] = [task.of_source.val, task.val], [0, place]
            held_out["target_test"] = [task.of_source.test, task.test], [0, place]
        validate, test = (logs for logs, _ in held_out.values())
        parts = {"train": [*task.sources, known] if dual else [known], "validate": validate, "test": test}
        for what, logs in parts.items():
            for log in logs:
                if not len(log):
                    raise DataError(f"{log.name}: no interaction is left to {what} on")
        with_time = all(log.time is not None for log in (known, *validate, *test, *task.sources))
        train = _samples([task.train], [place], with_time)
        self.sides = {
            "source": _samples(task.sources, range(place), with_time),
            "target": self._hidden(train),
            "target_labeled": train,
        }
        self._evaluation = {
            name: _samples([_sorted(log) for log in logs], domains, with_time)
            for name, (logs, domains) in held_out.items()
        }
        if dual:
            self._evaluation = {name: _with_domain(rows) for name, rows in self._evaluation.items()}
        self.test_part = parts_of(self._evaluation["target_test"].inputs["user"].numpy(), seed=0)
        sizes = {"source": self.sides["source"].size, "target": train.size}
        self.facts = {
            "rows": sizes | {name: rows.size for name, rows in self._evaluation.items()},
            "test_share": loaded.test_share,
            "target_labels_used": train.size + len(task.val),
            "classes": [],
            "transform": self.transform.info,
            "domains": {log.name: {"interactions": len(log)} for log in task.sources},
        }
        if twins:
            self.facts["twins"] = twins
        if content is not None:
            self.facts["attributes"] = content.info
        remarks = [*loaded.remarks, *(content.remarks if content else ()), *_of_strangers(task)]
        if remarks:
            self.facts["remarks"] = list(dict.fromkeys(remarks))


def _of_strangers(task: Task) -> list[str]:
    """Return a sentence where no test user has an interaction in the target that trains."""
    users = np.unique(task.test.user)
    if np.isin(users, task.train.user).any():
        return []
    return [
        f"{task.train.name}: none of the {len(users):,} test users has an interaction here that trains; a method of "
        "the target alone gives them all one ranking, or ranks all items alike"
    ]


def _samples(logs: Sequence[Log], domains: Sequence[int], with_time: bool) -> Samples:
    codes = {name: _column(logs, name) for name in ("user", "item")}
    rows = len(codes["user"])
    extra = dict(codes) | ({"time": _column(logs, "time")} if with_time else {})
    domain = np.repeat(np.asarray(domains, dtype=np.int64), [len(log) for log in logs])
    return Samples(codes, torch.ones(rows), torch.arange(rows), torch.from_numpy(domain), extra)


def _with_domain(rows: Samples) -> Samples:
    return rows._replace(inputs=rows.inputs | {"domain": rows.domain})


def _column(logs: Sequence[Log], name: str) -> torch.Tensor:
    return torch.from_numpy(np.concatenate([getattr(log, name) for log in logs]))


def _sorted(log: Log) -> Log:
    """By user, so that each user is scored once."""
    return log.take(np.lexsort((log.item, log.user)))
