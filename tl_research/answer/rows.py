"""The rows of a question: old data, labelled target rows, and which of these belong together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from tl_research.alignment.base import Rows
from tl_research.answer.features import Features
from tl_research.answer.groups import groups_of
from tl_research.answer.leaks import Suspect, refuse_unknown, suspects, without_columns, without_copies
from tl_research.data.audit import numbering
from tl_research.data.domain import Domain
from tl_research.data.modalities import Modalities
from tl_research.data.new_rows import table_of
from tl_research.data.readers.schema import Schema
from tl_research.data.task_domains import read_domains
from tl_research.data.transforms.spec import Transform
from tl_research.errors import DataError
from tl_research.outcomes import Outcome, outcome_of
from tl_research.portfolio.mixtures import MIXTURES
from tl_research.portfolio.parts import MOST_COLUMNS

#: Labelled target rows that are used at most, where the user does not say otherwise.
MOST_LABELLED = 20_000
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
        suspects: columns that are left out as they may be leaks.
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
    suspects: list[Suspect] = field(default_factory=list)

    @property
    def stratified(self) -> bool:
        """Whether splits deal the values of the label out evenly."""
        return MIXTURES[self.outcome.kind].stratified


def as_trained(outcome: Outcome, label: Tensor) -> Tensor:
    """Return labels as training has them: classes, or scaled numbers in float32."""
    scaled = outcome.scaled(label)
    return scaled.float() if scaled.dtype == torch.float64 else scaled


def read_rows(
    config: DictConfig,
    *,
    group: str | None = None,
    most_labelled: int = MOST_LABELLED,
    keep_columns: Sequence[str] = (),
) -> TaskRows:
    """Read the files of a configuration.

    Columns that may be leaks are left out, and old rows that are labelled rows of the target (`answer.leaks`). Old rows
    beyond `method.source_rows` and labelled target rows beyond `most_labelled` are left out at random, and
    counted.

    Args:
        config: of a run of `portfolio`, from `config.compose`.
        group: column of the new file; rows of one value are on one side of every split. It is no feature.
        most_labelled: labelled target rows that are used.
        keep_columns: columns that may be leaks and that are kept.

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
    refuse_unknown(keep_columns, target)
    domains, remarks, suspected = _honest({each.name: each for each in (*sources, target)}, target.name, keep_columns)
    groups = groups_of(domains[target.name], group, ignored=numbering(target.findings))
    if group is not None:
        domains = {name: _without(domain, group) for name, domain in domains.items()}
    target = domains.pop(target.name)
    sources = list(domains.values())
    features = Features(config, [*sources, target])
    transform = features.transform
    random = np.random.default_rng(config.seed)
    source, old_rows = _source(features, sources, config.method.source_rows, random, remarks)
    used = _drawn(labelled, most_labelled, random)
    if len(used) < len(labelled):
        remarks.append(f"{len(used):,} of {len(labelled):,} labelled rows of {target.origin} are used, drawn at random")
    x, label = features.of(target, used), torch.from_numpy(target.label[used])
    if len(label.unique()) < 2:
        raise DataError(
            f"{target.origin or target.name}: all {len(used):,} labels are the same, so that there is nothing to learn "
            "and nothing to measure"
        )
    outcome = outcome_of(target.classes, [source.label])
    if x.shape[1] > MOST_COLUMNS:
        remarks.append(f"boosting is not tried: the rows have {x.shape[1]:,} columns, more than {MOST_COLUMNS:,}")
    groups = pd.factorize(groups[used])[0]
    if group is None and (repeated := len(groups) - len(np.unique(groups))):
        remarks.append(f"{repeated:,} labelled rows repeat another; equal rows are on one side of a split")
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
        facts["columns_said"] = target.schema.said
    source = source._replace(label=as_trained(outcome, source.label))
    remarks = list(dict.fromkeys([*remarks, *features.remarks]))
    gone = [*_left_out(transform, target), *filter(None, [group]), *(str(each.column) for each in suspected)]
    gone = list(dict.fromkeys(gone))
    return TaskRows(source, x, label, groups, outcome, transform, target.schema, gone, facts, remarks, suspected)


def _honest(
    domains: dict[str, Domain], target: str, keep_columns: Sequence[str]
) -> tuple[dict[str, Domain], list[str], list[Suspect]]:
    """Return the domains without what may be a leak, the remarks on them, and the columns that were taken out."""
    remarks = [line for domain in domains.values() for line in domain.remarks]
    findings = domains[target].findings
    suspected = suspects(findings, target=target, keep=keep_columns)
    left, said = without_copies(domains, target, ignored=numbering(findings))
    gone = {each.column for each in suspected}
    counted = [finding.said for finding in findings if said and finding.kind == "source_rows_in_target"]
    counted += [finding.said for finding in findings if gone & set(finding.columns)]
    honest = without_columns(left, [each.column for each in suspected])
    if suspected and honest[target] is left[target]:
        suspected = []  # nothing else is left
        counted = []
    said += [f"column {each.column!r} is left out: it {each.does}; --keep-column {each.column}" for each in suspected]
    return honest, [line for line in remarks if line not in counted] + said, suspected


def _left_out(transform: Transform, target: Domain) -> list[str]:
    rules = {} if target.schema is None else target.schema.columns
    by_rule = [name for name, rule in rules.items() if rule.kind == "drop"]
    table = table_of(transform)
    return list(dict.fromkeys([*target.info.get("columns_dropped", ()), *by_rule, *(table.dropped if table else ())]))


def _source(features, sources, most: int, random, remarks: list[str]) -> tuple[Rows, int]:
    """Return the old rows with labels as the data have them, and how many there are in all."""
    starts = np.cumsum([0, *(len(domain) for domain in sources)])
    used = _drawn(np.arange(starts[-1]), most, random)
    if len(used) < starts[-1]:
        remarks.append(f"{len(used):,} of {starts[-1]:,} old rows are used, drawn at random (method.source_rows)")
    places = [used[(used >= low) & (used < high)] - low for low, high in pairwise(starts)]
    parts = list(zip(sources, places, strict=True))
    x = torch.cat([features.of(domain, rows) for domain, rows in parts])
    label = torch.cat([torch.from_numpy(domain.label[rows]) for domain, rows in parts])
    return Rows(x, label), int(starts[-1])


def _drawn(places: np.ndarray, most: int, random: np.random.Generator) -> np.ndarray:
    return places if len(places) <= most else np.sort(random.permutation(places)[:most])


def _without(domain: Domain, group: str) -> Domain:
    inputs = domain.inputs
    if isinstance(inputs, Modalities):
        return replace(domain, inputs=replace(inputs, table=inputs.table.drop(columns=group, errors="ignore")))
    left = inputs.drop(columns=group, errors="ignore")
    if left.shape[1] == 0:
        raise DataError(f"{domain.origin}: no column is left to learn from beside the label and {group!r}")
    return replace(domain, inputs=left)
