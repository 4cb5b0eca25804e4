"""`PairedDataModule`: from raw domains to paired training batches without hidden labels, and evaluation splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import lightning as L
import numpy as np
import torch

from tl_research.config import DataConfig
from tl_research.data.audit.overlap import tested_in_training
from tl_research.data.batch import Inputs, Samples
from tl_research.data.domain import Domain, take
from tl_research.data.sampling.loaders import PairedLoader
from tl_research.data.splits import (
    classes_without_test_rows,
    draw_shots,
    refuse_few_test_rows,
    split_rows,
    whole_domain,
)
from tl_research.data.task_domains import read_domains
from tl_research.data.transforms.make import make_transform
from tl_research.data.transforms.spec import InputSpec
from tl_research.metrics.left_out import parts_of
from tl_research.outcomes import Outcome, outcome_of
from tl_research.parallel.ranks import rank, world_size


class PairedDataModule(L.LightningDataModule):
    """The one DataModule: any number of source domains, one target, every setting and modality.

    What training may see is `sides`: source rows with labels, target rows with labels replaced by `HIDDEN`, and,
    where the setting shows target labels, `target_labeled`. The transform is fitted on exactly those rows'
    inputs. Labels of the sides are scaled by `outcome`, which is fitted on the labels that training may see, of both
    domains; evaluation splits keep them as the data have them. The labels that only evaluation may
    read leave the module through `release_evaluation`, once, so that a method that reaches for its trainer's
    datamodule finds none.

    Args:
        config: group `data` of the run's configuration.
        seed: of the splits, the shots and the order of batches.
        reads: sides that the method reads; no other side is gathered.
    """

    def __init__(
        self,
        config: DataConfig,
        *,
        seed: int,
        reads: frozenset[str] = frozenset(("source", "target", "target_labeled")),
    ):
        super().__init__()
        self.config, self.seed, self.reads = config, seed, reads
        self.sides: dict[str, Samples] = {}
        self._evaluation: dict[str, Samples] | None = None
        self._loader: PairedLoader | None = None
        self._resumed: dict[str, int] | None = None

    def setup(self, stage: str | None = None) -> None:
        """Load, split, hide and transform. A second call does nothing.

        Raises:
            DataError: the domains differ in classes or extra columns, or no target row has a label.
        """
        if self.sides:
            return
        config = self.config
        sources, target = read_domains(config)
        split = {"seed": self.seed, "test_fraction": config.test_fraction}
        source_rows = [split_rows(domain, val_fraction=config.val_fraction, **split) for domain in sources]
        # Target rows are held out for validation only where their labels are shown: unlabelled validators read
        # the training rows, so unsupervised methods train on all of them.
        supervised = config.setting == "supervised"
        target_rows = split_rows(target, val_fraction=config.val_fraction if supervised else 0.0, **split)
        transductive = getattr(config, "transductive", False)
        if transductive:
            source_rows = [whole_domain(domain, is_target=False) for domain in sources]
            target_rows = whole_domain(target, is_target=True)
        refuse_few_test_rows(target, target_rows, config.test_fraction)
        shown = None
        if config.setting == "few_shot":
            shown = draw_shots(target, target_rows.train, config.shots, seed=self.seed)
            # What chooses the epoch trains in no form: neither as an unlabelled row nor in the transform's statistics.
            target_rows = replace(target_rows, train=np.setdiff1d(target_rows.train, shown.val))

        pairs = list(zip(sources, source_rows, strict=True))
        visible = [take(domain.inputs, rows.train) for domain, rows in pairs] + [take(target.inputs, target_rows.train)]
        self.transform = make_transform(visible, config.scale)
        self.spec: InputSpec = self.transform.spec

        samples = self._samples

        def joined(part: str) -> Samples:
            return _concatenate([samples(domain, getattr(rows, part), i) for i, (domain, rows) in enumerate(pairs)])

        source = joined("train")
        source_val, source_test = (None, None) if transductive else (joined("val"), joined("test"))
        target_train = samples(target, target_rows.train, len(sources))
        target_test = samples(target, target_rows.test, len(sources))
        labeled = None
        if supervised:
            labeled = target_train.rows(torch.from_numpy(np.flatnonzero(target.has_label[target_rows.train])))
        elif shown is not None:
            labeled = samples(target, shown.train, len(sources))
        visible_labels = [rows.label for rows in (source, labeled) if rows is not None]
        self.outcome: Outcome = outcome_of(target.classes, visible_labels, has_unknown=config.label_sets == "open")
        self.sides = {"source": self._scaled(source), "target": self._hidden(self._scaled(target_train))}
        if labeled is not None:
            self.sides["target_labeled"] = self._scaled(labeled)
        evaluation = {} if transductive else {"source_val": source_val, "source_test": source_test}
        if supervised:
            evaluation["target_val"] = samples(target, target_rows.val, len(sources))
        elif shown is not None and shown.val.size:
            evaluation["target_val"] = samples(target, shown.val, len(sources))
        evaluation["target_test"] = target_test
        self._evaluation = evaluation
        # By the row's place in its domain, so that seeds and methods of one target agree.
        self.test_part = parts_of(np.arange(len(target.label)), seed=0)[target_rows.test]
        self.facts: dict[str, Any] = {
            "rows": {"source": source.size, "target": target_train.size}
            | {name: rows.size for name, rows in evaluation.items()},
            # The share of the rows that test rows are drawn from, anew by each seed; 1 where they are always the same.
            "test_share": 1.0 if transductive or target.split is not None else config.test_fraction,
            "target_labels_used": sum(
                rows.size for rows in (self.sides.get("target_labeled"), evaluation.get("target_val")) if rows
            ),
            "classes": list(self.outcome.names),
            "transform": self.transform.info,
            "domains": {domain.name: domain.info for domain in (*sources, target) if domain.info},
        }
        self.schema = target.schema
        if self.schema is not None and self.schema.columns:
            self.facts["schema"] = self.schema.short()
            if self.schema.said:
                self.facts["columns"] = self.schema.said
        found = [line for domain in (*sources, target) for line in domain.remarks] + self.transform.remarks
        may_lack = config.label_sets != "equal"
        found += classes_without_test_rows(target, target_rows, may_lack=may_lack)
        found += tested_in_training(pairs, target, target_rows)
        if remarks := list(dict.fromkeys(found)):
            self.facts["remarks"] = remarks
        self.facts |= self.outcome.facts

    def _samples(self, domain: Domain, rows: np.ndarray, number: int) -> Samples:
        return Samples(
            self.transform.transform(take(domain.inputs, rows)),
            torch.from_numpy(domain.label[rows]),
            torch.arange(len(rows)),
            torch.full((len(rows),), number),
            {name: torch.from_numpy(column[rows]) for name, column in domain.extra.items()},
        )

    def _scaled(self, rows: Samples) -> Samples:
        label = self.outcome.scaled(rows.label)
        return rows._replace(label=label.float() if label.dtype == torch.float64 else label)

    def _hidden(self, rows: Samples) -> Samples:
        return rows._replace(label=self.outcome.hide(rows.label))

    def release_evaluation(self) -> dict[str, Samples]:
        """Hand over the evaluation splits with their labels, and forget them.

        Raises:
            RuntimeError: they were handed over before.
        """
        self.setup()
        if self._evaluation is None:
            raise RuntimeError("the evaluation splits have been handed over already")
        splits, self._evaluation = self._evaluation, None
        return splits

    def to_device(self, device: torch.device) -> None:
        """Keep the training rows on `device` (`data.resident`)."""
        self.sides = {side: samples.map(lambda tensor: tensor.to(device)) for side, samples in self.sides.items()}

    def train_dataloader(self) -> PairedLoader:
        self.setup()
        target_size = self.config.target_batch_size or self.config.batch_size
        if self.config.resident and self.trainer is not None:
            self.to_device(self.trainer.strategy.root_device)
        self._loader = PairedLoader(
            self.sides,
            {"source": self.config.batch_size, "target": target_size, "target_labeled": target_size},
            seed=self.seed,
            reads=self.reads,
            sampler=self.config.sampler,
            rank=rank(),
            world_size=world_size(),
            num_workers=self.config.num_workers,
        )
        if self._resumed is not None:
            self._loader.load_state_dict(self._resumed)
        return self._loader

    # Lightning restores the state of a loader only in the middle of an epoch, that of a DataModule always.

    def state_dict(self) -> dict[str, int]:
        return {} if self._loader is None else self._loader.state_dict()

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self._resumed = state_dict


def _concatenate(parts: list[Samples]) -> Samples:
    if len(parts) == 1:
        return parts[0]
    inputs, label, _, domain, extra = (_joined(field) for field in zip(*parts, strict=True))
    # Weights and memory banks key on the index, so it counts through all sources.
    return Samples(inputs, label, torch.arange(len(label)), domain, extra)


def _joined(fields: Sequence[Inputs]) -> Inputs:
    """One field of several parts, one part after another."""
    if isinstance(fields[0], dict):
        return {name: torch.cat([field[name] for field in fields]) for name in fields[0]}
    return torch.cat(fields)
