"""What is known of items beside who bought them: a table of attributes, and the matrix that methods read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from tl_research.data.catalog._kinds import bound_categories, settle_texts
from tl_research.data.matrix import as_matrix
from tl_research.data.readers.domain_file import read_domain_file
from tl_research.data.transforms.make import make_transform
from tl_research.errors import DataError
from tl_research.interactions.files import read_ids

#: Name of the one table, where readers of domains want one.
NAME = "items"


@dataclass(frozen=True)
class Attributes:
    """Attributes of some of a task's items.

    Fields:
        item: (n,) int64 codes, each once.
        table: n rows of numbers, categories and texts.
        origin: where they are from, for messages.
        remarks: what was left out in reading.
    """

    item: np.ndarray
    table: pd.DataFrame
    origin: str
    remarks: tuple[str, ...] = ()


class Content(NamedTuple):
    """Attributes as numbers.

    Fields:
        matrix: (items, d) float32; rows of 0 for items without attributes.
        info: facts for the result record.
        remarks: columns that are left out, items without attributes.
    """

    matrix: Tensor
    info: dict[str, Any]
    remarks: list[str]


def read_attributes(path: str, column: str, ids: np.ndarray) -> Attributes:
    """Read a CSV or Parquet file with one row per item; the other columns are read as those of any table.

    Ids are texts, however they look. Of rows that repeat an item the first is kept; rows of items that the task has not
    are left out. Both are counted.

    Args:
        path: the file.
        column: its column of item ids.
        ids: ids by code.

    Raises:
        DataError: no such file or column, an empty id, no column beside the id, no item of the task; or an id that
            stands for different items of several shops.
    """
    names = read_ids(path, column)
    domain = read_domain_file(path, None, classes=(), label_required=False, drop=[column], name=NAME)
    if not isinstance(domain.inputs, pd.DataFrame):
        raise DataError(f"{path}: holds a matrix; attributes of items are columns of a CSV or Parquet file")
    if len(domain) != len(names):
        raise DataError(f"{path}: has empty lines or rows that cannot be told apart; leave them out")
    settle_texts({NAME: domain}, NAME, ())
    bound_categories({NAME: domain}, NAME, {})
    first = ~pd.Series(names).duplicated().to_numpy()
    remarks = list(domain.remarks)
    if repeated := int((~first).sum()):
        remarks.append(f"{path}: {repeated:,} rows repeat an item; the first row of each is kept")
    codes = pd.Series(np.arange(len(ids)), index=pd.Index(ids.astype(str)))
    if not codes.index.is_unique:
        several = np.intersect1d(codes.index[codes.index.duplicated()], names.astype(str))
        if len(several):
            raise DataError(
                f"{path}, column {column!r}: {several[0]!r} stands for another item in each shop "
                f"({len(several):,} such ids); where it is the same item say data.shared=items (--shared items), else "
                "rename the ids"
            )
        codes = codes[~codes.index.duplicated()]
    found = codes.reindex(names.astype(str)).to_numpy()
    kept = first & ~np.isnan(found)
    if not kept.any():
        raise DataError(f"{path}, column {column!r}: none of its {len(names):,} ids is an item of the interactions")
    if unknown := int((first & np.isnan(found)).sum()):
        remarks.append(f"{path}: {unknown:,} items have no interaction and are left out")
    table = domain.inputs[kept].reset_index(drop=True)
    table.attrs = dict(domain.inputs.attrs)
    return Attributes(found[kept].astype(np.int64), table, path, tuple(remarks))


def content_of(attributes: Attributes, items: int, learns: np.ndarray) -> Content:
    """Return the attributes as a matrix; scales, categories and words are those of the items that train.

    Numbers are standardised, categories are columns of 0 and 1, texts become latent columns.

    Args:
        attributes: of some items.
        items: number of codes.
        learns: codes of the items that training knows.

    Raises:
        DataError: no item that training knows has attributes, or no column is left.
    """
    known = np.isin(attributes.item, learns)
    if not known.any():
        raise DataError(f"{attributes.origin}: no item with a training interaction has a row")
    rows = attributes.table[known]
    rows.attrs = dict(attributes.table.attrs)
    try:
        transform = make_transform([rows], "standard")
    except DataError as error:
        raise DataError(f"{attributes.origin}: {error}") from None
    found = as_matrix(transform.transform(attributes.table), transform.spec).float()
    matrix = torch.zeros(items, found.shape[1])
    matrix[torch.from_numpy(attributes.item)] = found
    remarks = [*attributes.remarks, *(f"{attributes.origin}: {line}" for line in transform.remarks)]
    if lacking := len(np.setdiff1d(learns, attributes.item)):
        remarks.append(
            f"{attributes.origin}: {lacking:,} of {len(learns):,} items that train have no row; they count as items of "
            "mean numbers and of no category"
        )
    return Content(matrix, {"columns": matrix.shape[1], "described": len(attributes.item)}, remarks)
