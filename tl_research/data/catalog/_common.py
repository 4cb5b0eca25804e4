"""What several data sets share: text columns by condition, duplicate rows, and tasks whose domains overlap."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from tl_research.data.domain import Domain
from tl_research.data.readers.columns import MISSING, infer_types
from tl_research.errors import ConfigError


def refuse_mixed_partitions(config, partitions: dict[str, str]) -> None:
    """Refuse a task whose domains come from different partitions of the same rows.

    Args:
        config: the group `data`.
        partitions: domain name -> the partition it belongs to.

    Raises:
        ConfigError: names both domains and their partitions.
    """
    named = [("data.sources", name) for name in config.sources] + [("data.target", config.target)]
    named = [(key, name, partitions[name]) for key, name in named if name in partitions]
    for key, name, partition in named[1:]:
        first_key, first_name, first_partition = named[0]
        if partition != first_partition:
            raise ConfigError(
                f"{key}: {name!r} (a domain by {partition}) shares rows with {first_name!r} of {first_key} (by "
                f"{first_partition}); take all domains of a task from one partition"
            )


def copy_of(domain: Domain) -> Domain:
    """Return a domain that a caller may change, of one that is kept for later loads."""
    return replace(domain, inputs=domain.inputs.copy(), label=domain.label.copy(), info=dict(domain.info))


def tabular_domain(
    name: str,
    rows: pd.DataFrame,
    *,
    label: str,
    values: tuple[str, str],
    classes: tuple[str, str],
    drop: tuple[str, ...],
    origin: str,
) -> Domain:
    """Make a domain of raw text rows: exact duplicates and the columns in `drop` go, with a count.

    Args:
        name: the domain.
        rows: its rows, every column as in the file.
        label: label column.
        values, classes: the two values of the label in the file, and what to call them; the positive one last.
        drop: columns that leak the label, or are constant because the domain was chosen by them.
        origin: file, for messages.
    """
    kept = rows[~rows.duplicated()]
    features = infer_types(kept.drop(columns=[label, *drop]), origin, missing=MISSING)
    info = {"rows": len(kept), "duplicates_dropped": len(rows) - len(kept), "columns_dropped": sorted(drop)}
    encoded = kept[label].map({value: index for index, value in enumerate(values)}).to_numpy(dtype="int64")
    return Domain(name, features, encoded, classes, origin=origin, info=info)
