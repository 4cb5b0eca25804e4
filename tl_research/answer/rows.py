"""The rows of a question: old data, labelled target rows, and which of these belong together."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from tl_research.alignment.base import Rows
from tl_research.answer.features import features_of, fit_features
from tl_research.data.domain import Domain
from tl_research.data.modalities import Modalities
from tl_research.data.new_rows import table_of
from tl_research.data.paired import read_domains
from tl_research.data.readers.schema import Schema
from tl_research.data.transforms.spec import Transform
from tl_research.errors import ConfigError, DataError, nearest
from tl_research.outcomes import Outcome, outcome_of
from tl_research.portfolio.mixtures import MIXTURES

#: Labelled target rows that are used at most, where the user does not say otherwise.
MOST_LABELLED = 20_000
#: Distinct rows, as a share of all, below which equal features do not mean the same customer.
DISTINCT_SHARE = 0.5
#: Labelled target rows without which nothing can be learnt on one side and tested on the other.
FEWEST_LABELLED = 8


@dataclass
class TaskRows:
    """What a question is answered from.

    Fields:
        source: (n, d) rows of the old files with labels (n,) as training has them.
        x: (m, d) labelled target rows.
        label: (m,) their labels as the data have them.
        groups: (m,) rows of one number are on one side of a split.
        outcome: what is predicted; of numbers, the scale is that of the old files, so that no target label is in it.
        transform: raw rows -> inputs, fitted to the features of all rows.
        schema: how the columns were read.
        columns_left_out: names of columns that are no feature.
        facts: counts of rows and columns.
        remarks: sentences on what was left out, counted or is suspicious.
    """

    source: Rows
    x: Tensor
    label: Tensor
    groups: np.ndarray
    outcome: Outcome
    transform: Transform
    schema: Schema | None = None
    columns_left_out: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    @property
    def stratified(self) -> bool:
        """Whether splits deal the values of the label out evenly."""
        return MIXTURES[self.outcome.kind].stratified


def as_trained(outcome: Outcome, label: Tensor) -> Tensor:
    """Return labels as training has them: classes, or scaled numbers in float32."""
    scaled = outcome.scaled(label)
    return scaled.float() if scaled.dtype == torch.float64 else scaled


def read_rows(config: DictConfig, *, group: str | None = None, most_labelled: int = MOST_LABELLED) -> TaskRows:
    """Read the files of a configuration.

    Old rows beyond `method.source_rows` and labelled target rows beyond `most_labelled` are left out at random, and
    counted.

    Args:
        config: of a run of `portfolio`, from `config.compose`.
        group: column of the new file; rows of one value are on one side of every split. It is no feature.
        most_labelled: labelled target rows that are used.

    Raises:
        DataError: as the readers; and fewer than `FEWEST_LABELLED` labelled target rows.
        ConfigError: there is no column `group`.
    """
    data = OmegaConf.to_object(config.data)
    sources, target = read_domains(data)
    labelled = np.flatnonzero(target.has_label)
    if len(labelled) < FEWEST_LABELLED:
        raise DataError(
            f"{target.origin or target.name}: {len(labelled)} of {len(target)} rows have a label, too few to learn "
            f"from some and test on others; label more rows ({FEWEST_LABELLED} at the least, better 100 or more)"
        )
    given = None
    if group is not None:
        given = _values_of(target, group)
        sources, target = [_without(domain, group) for domain in sources], _without(target, group)
    remarks = [line for domain in (*sources, target) for line in domain.remarks]
    transform = fit_features([*sources, target], data.scale)
    random = np.random.default_rng(config.seed)
    source, old_rows = _source(transform, sources, config.method.source_rows, random, remarks)
    used = _drawn(labelled, most_labelled, random)
    if len(used) < len(labelled):
        remarks.append(f"{len(used):,} of {len(labelled):,} labelled rows of {target.origin} are used, drawn at random")
    x, label = features_of(transform, target, used), torch.from_numpy(target.label[used])
    outcome = outcome_of(target.classes, [source.label])
    groups = _same_rows(x, remarks) if given is None else given[used]
    facts = {
        "old_rows": old_rows,
        "old_rows_used": len(source.x),
        "new_rows": len(target),
        "labelled": len(labelled),
        "labelled_used": len(used),
        "groups": len(np.unique(groups)),
        "columns": int(x.shape[1]),
        "transform": transform.info,
        "domains": {domain.name: domain.info for domain in (*sources, target) if domain.info},
        "classes": dict(zip(target.classes, target.label_kind.sizes(target.label).tolist(), strict=False)),
    }
    if target.schema is not None and target.schema.columns:
        facts["schema"] = target.schema.short()
    source = source._replace(label=as_trained(outcome, source.label))
    remarks = list(dict.fromkeys([*remarks, *transform.remarks]))
    gone = [*_left_out(transform, target), *filter(None, [group])]
    return TaskRows(source, x, label, groups, outcome, transform, target.schema, gone, facts, remarks)


def _left_out(transform: Transform, target: Domain) -> list[str]:
    rules = {} if target.schema is None else target.schema.columns
    by_rule = [name for name, rule in rules.items() if rule.kind == "drop"]
    table = table_of(transform)
    return list(dict.fromkeys([*target.info.get("columns_dropped", ()), *by_rule, *(table.dropped if table else ())]))


def _source(transform, sources, most: int, random, remarks: list[str]) -> tuple[Rows, int]:
    """Return the old rows with labels as the data have them, and how many there are in all."""
    starts = np.cumsum([0, *(len(domain) for domain in sources)])
    used = _drawn(np.arange(starts[-1]), most, random)
    if len(used) < starts[-1]:
        remarks.append(f"{len(used):,} of {starts[-1]:,} old rows are used, drawn at random (method.source_rows)")
    places = [used[(used >= low) & (used < high)] - low for low, high in pairwise(starts)]
    parts = list(zip(sources, places, strict=True))
    x = torch.cat([features_of(transform, domain, rows) for domain, rows in parts])
    label = torch.cat([torch.from_numpy(domain.label[rows]) for domain, rows in parts])
    return Rows(x, label), int(starts[-1])


def _drawn(places: np.ndarray, most: int, random: np.random.Generator) -> np.ndarray:
    return places if len(places) <= most else np.sort(random.permutation(places)[:most])


def _same_rows(x: Tensor, remarks: list[str]) -> np.ndarray:
    """(m,) a number for each row, the same for rows of equal features; for each row its own where many are equal."""
    hashes = pd.util.hash_pandas_object(pd.DataFrame(x.numpy()), index=False).to_numpy()
    groups = pd.factorize(hashes)[0]
    distinct = int(groups.max()) + 1
    if distinct == len(groups):
        return groups
    repeated = len(groups) - distinct
    if distinct >= DISTINCT_SHARE * len(groups):
        remarks.append(
            f"{repeated:,} labelled rows repeat the features of another; such rows are on one side of a split"
        )
        return groups
    remarks.append(
        f"{len(groups):,} labelled rows have {distinct:,} different features: so few that equal rows are not taken for "
        "the same customer; --group COLUMN names a column that tells customers apart"
    )
    return np.arange(len(groups))


def _values_of(target: Domain, group: str) -> np.ndarray:
    table = target.inputs.table if isinstance(target.inputs, Modalities) else target.inputs
    if not isinstance(table, pd.DataFrame) or group not in table:
        known = list(map(str, table.columns)) if isinstance(table, pd.DataFrame) else []
        raise ConfigError(f"--group: {target.origin} has no column {group!r}{nearest(group, known)}")
    return pd.factorize(table[group], use_na_sentinel=False)[0]


def _without(domain: Domain, group: str) -> Domain:
    inputs = domain.inputs
    if isinstance(inputs, Modalities):
        return replace(domain, inputs=replace(inputs, table=inputs.table.drop(columns=group, errors="ignore")))
    left = inputs.drop(columns=group, errors="ignore")
    if left.shape[1] == 0:
        raise DataError(f"{domain.origin}: no column is left to learn from beside the label and {group!r}")
    return replace(domain, inputs=left)
