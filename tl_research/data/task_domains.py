"""The domains of a task: read, and refused where they do not fit together. Nothing here needs Lightning."""

from __future__ import annotations

import numpy as np

from tl_research.config import DataConfig
from tl_research.data.domain import Domain
from tl_research.data.label_sets import cut_classes
from tl_research.data.modalities import Modalities, refuse_empty_rows
from tl_research.data.transforms.make import refuse_negative
from tl_research.errors import DataError
from tl_research.registry import DATASETS


def read_domains(config: DataConfig) -> tuple[list[Domain], Domain]:
    """Read the sources and the target of a task, cut to their label sets; refuse domains that do not fit together.

    Raises:
        ConfigError: classes that the domains do not have, or that `data.label_sets` does not say.
        DataError: the domains differ in classes or extra columns, a source row or every target row has no label, or
            values that the scale cannot take.
    """
    names = [*config.sources, config.target]
    domains = DATASETS.get(config.name).target(config, names)
    sources, target = [domains[name] for name in config.sources], domains[config.target]
    for domain in sources:
        _require_labels(domain)
        if domain.classes != target.classes:
            raise DataError(f"{domain.origin or domain.name}: other classes than {target.origin or target.name}")
        if domain.extra.keys() != target.extra.keys():
            both = f"{sorted(domain.extra)}, but {target.origin or target.name} has {sorted(target.extra)}"
            raise DataError(f"{domain.origin or domain.name}: has the extra columns {both}")
    for domain in sources:
        _refuse_rows(domain, config.scale)
    refuse_unusable(target, config.scale)
    return cut_classes(config, sources, target)


def refuse_unusable(target: Domain, scale: str) -> None:
    """Raise `DataError` for a target without any label, or with values that the scale cannot take."""
    _refuse_rows(target, scale)
    if not target.has_label.any():
        raise DataError(f"{target.origin or target.name}: no row has a label, so nothing can be measured")


def _refuse_rows(domain: Domain, scale: str) -> None:
    refuse_negative(domain, scale)
    if isinstance(domain.inputs, Modalities):
        # Here, where a row still has its number in the file.
        refuse_empty_rows(domain.inputs, domain.place)


def _require_labels(domain: Domain) -> None:
    missing = np.flatnonzero(~domain.has_label)
    if len(missing):
        raise DataError(
            f"{domain.place(missing[0])}: no label ({len(missing)} rows of domain {domain.name!r} have none)"
        )
