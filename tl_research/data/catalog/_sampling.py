"""Which rows of the user's own files are read where `data.rows` bounds them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tl_research.data.readers.cells import Cells, nfc
from tl_research.data.readers.domain_file import domains_in
from tl_research.data.readers.labels import decide_label, read_label
from tl_research.data.readers.sampling import ColumnOf, Sampling
from tl_research.data.readers.tabular import PARQUET_ENDINGS

if TYPE_CHECKING:
    from tl_research.data.catalog.files import FilesConfig


def sampling_of(config: FilesConfig, name: str) -> Sampling | None:
    """Which rows of the file of one domain are read; None: all."""
    if config.rows is None:
        return None
    labelled = partial(_has_label, config, name) if name == config.target else None
    return Sampling(config.rows, config.rows_seed, labelled)


def sampling_of_domains(config: FilesConfig, names: list[str], whole: dict[str, np.ndarray]) -> Sampling | None:
    """Which rows of the file of all domains are read; the domain of every row is left in `whole`."""
    if config.rows is None:
        return None
    path = str(config.path)

    def population_of(column: ColumnOf) -> np.ndarray:
        found = column(nfc(str(config.domain_column)))
        if found is None:  # whoever reads the rows says so
            return np.zeros(0, dtype=object)
        cells = Cells(found, path, typed=path.lower().endswith(PARQUET_ENDINGS))
        whole["domain"] = domains_in(cells, config.wishes().missing, [])
        known = list(pd.unique(whole["domain"]))
        named = {spelled_as(name, known): name for name in names}
        return np.array([named.get(own) for own in whole["domain"]], dtype=object)

    labelled = partial(_has_label, config, path)
    return Sampling(config.rows, config.rows_seed, labelled, population_of, (config.target,))


def _has_label(config: FilesConfig, path: str, column: ColumnOf) -> np.ndarray | None:
    """(n,) bool: whether a row of a file has a label; None where the file has no such column."""
    label = config.label or "y"
    found = column(nfc(label))
    if found is None:
        return None
    cells = Cells(found, path, typed=path.lower().endswith(PARQUET_ENDINGS))
    wishes = config.wishes()
    rule, _ = decide_label([cells], wishes.task, wishes.columns.get(label), wishes.missing)
    return np.array([value is not None for value in read_label(rule, cells)])


def spelled_as(name: str, known: list[str]) -> str:
    """The domain that a name means: itself, or the one flag (true, false) that is the same but for its capitals."""
    same = [domain for domain in known if domain.lower() == name.lower()]
    flag = name not in known and name.lower() in ("true", "false") and len(same) == 1
    return same[0] if flag else name
