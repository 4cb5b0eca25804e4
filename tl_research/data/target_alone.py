"""`TargetAlone`: the target's rows for a method that may not see the source's (`data.setting=source_free`)."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from tl_research.config import DataConfig, check
from tl_research.data.content import content_digest
from tl_research.data.domain import Domain
from tl_research.data.fitted import FittedData
from tl_research.data.paired import PairedDataModule
from tl_research.data.splits import classes_without_test_rows, refuse_few_test_rows, split_rows
from tl_research.data.task_domains import refuse_unusable
from tl_research.errors import DataError
from tl_research.metrics.left_out import parts_of
from tl_research.registry import DATASETS


class TargetAlone(PairedDataModule):
    """The target's rows alone, read, scaled and labelled as a finished run read its own.

    The reader is asked for the target and for nothing else; a file of the source may be gone. Splits are those of the
    setting `unsupervised`: a target row that tested the finished run tests this one.

    Args:
        config: group `data` of the run's configuration.
        seed: of the split and of the order of batches.
        reads: sides that the method reads.
        fitted: transform, outcome and schema of the finished run.
    """

    def __init__(self, config: DataConfig, *, seed: int, reads: frozenset[str], fitted: FittedData):
        super().__init__(config, seed=seed, reads=reads)
        self.fitted = fitted

    def setup(self, stage: str | None = None) -> None:
        """Read, split, hide and transform. A second call does nothing.

        Raises:
            ConfigError: one file has the rows of all domains, or rows are to be drawn from a file.
            DataError: a label that the finished run does not know, or columns that it read are not there.
        """
        if self.sides:
            return
        target = self._read()
        rows = split_rows(target, seed=self.seed, val_fraction=0.0, test_fraction=self.config.test_fraction)
        refuse_few_test_rows(target, rows, self.config.test_fraction)
        self.transform, self.outcome = self.fitted.transform, self.fitted.outcome
        self.spec, self.schema = self.transform.spec, self.fitted.schema
        number = len(self.config.sources)
        training = self._samples(target, rows.train, number)
        self.sides = {"target": self._hidden(self._scaled(training))}
        self._evaluation = {"target_test": self._samples(target, rows.test, number)}
        self.test_part = parts_of(np.arange(len(target.label)), seed=0)[rows.test]
        self.facts: dict[str, Any] = {
            "domains_read": [target.name],
            "rows": {"target": training.size, "target_test": len(rows.test)},
            "test_share": 1.0 if target.split is not None else self.config.test_fraction,
            "target_labels_used": 0,
            "classes": list(self.outcome.names),
            "transform": self.transform.info,
            "domains": {target.name: target.info} if target.info else {},
        }
        found = [*target.remarks, *classes_without_test_rows(target, rows)]
        if remarks := list(dict.fromkeys(found)):
            self.facts["remarks"] = remarks
        self.facts |= self.outcome.facts

    def _read(self) -> Domain:
        config, entry = self.config, DATASETS.get(self.config.name)
        if entry.domains:
            target = entry.target(config, [config.target])[config.target]
            if target.classes != self.outcome_names:
                where = target.origin or target.name
                raise DataError(
                    f"{where}: has the classes {list(target.classes)}, the run of method.start has "
                    f"{list(self.outcome_names)}"
                )
        else:
            target = self._read_file()
        refuse_unusable(target, config.scale)
        return target

    @property
    def outcome_names(self) -> tuple[str, ...]:
        """Names of the classes that the finished run predicts."""
        return tuple(self.fitted.outcome.names)

    def _read_file(self) -> Domain:
        config = self.config
        one_file = getattr(config, "path", None)
        wants = "nothing: one file of all domains has the source's rows; data.setting=source_free reads a target file"
        check(one_file is None, "data.path", one_file, wants)
        rows = getattr(config, "rows", None)
        check(rows is None, "data.rows", rows, "nothing: data.setting=source_free reads all rows of the target's file")
        # A reader of products fills its configuration in.
        own = copy.copy(config)
        target = self.fitted.read(config.target, own, need_label=True, may_lack_labels=True)
        target.name, target.split_name = config.target, content_digest(config.target)
        return target
