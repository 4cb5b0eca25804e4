"""The file that describes items: its attributes, and codes for the items in it that nobody has bought."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from tl_research.interactions.content import Attributes, read_attributes
from tl_research.interactions.files import read_ids
from tl_research.interactions.together import Shops


def described(shops: Shops, path: str, column: str, *, new_items: bool) -> tuple[Shops, Attributes, tuple[int, ...]]:
    """Read attributes, and give a code to every item of the file that no shop has sold, where they are asked for.

    Args:
        shops: of the files of interactions.
        path: a CSV or Parquet file with one row per item.
        column: its column of item ids.
        new_items: whether items without an interaction get a code; else they are left out and counted.

    Returns:
        The shops, with the further items; the attributes; the codes of these items.

    Raises:
        DataError: as `read_attributes`.
    """
    if not new_items:
        return shops, read_attributes(path, column, shops.items), ()
    ids = pd.unique(read_ids(path, column).astype(str)).astype(object)
    is_new = ~np.isin(ids.astype(str), shops.items.astype(str))
    if is_new.all() or not is_new.any():
        # A file that knows no item at all is an error of the reader's.
        return shops, read_attributes(path, column, shops.items), ()
    items = np.concatenate([shops.items, ids[is_new]])
    logs = tuple(replace(log, items=len(items)) for log in shops.logs)
    codes = tuple(range(len(shops.items), len(items)))
    said = (
        f"{path}: {len(codes):,} items have no interaction in any shop; the model can recommend them. Leave out of the "
        "file what the new shop will not sell"
    )
    shops = replace(shops, logs=logs, items=items, remarks=(*shops.remarks, said))
    return shops, read_attributes(path, column, items), codes
