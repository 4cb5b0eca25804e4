"""From raw rows to tensors, by statistics of the rows that training may see.

A transform is fitted once, on the rows that train, and then applied to every row. No statistic, vocabulary or choice of
columns depends on a test row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import scipy.sparse as sp

from tl_research.data.domain import Domain
from tl_research.data.modalities import Modalities
from tl_research.data.transforms.image import ImageTransform
from tl_research.data.transforms.interactions import InteractionTransform
from tl_research.data.transforms.matrix import MatrixTransform
from tl_research.data.transforms.modalities import ModalityTransform
from tl_research.data.transforms.spec import SCALES, RawInputs, Transform
from tl_research.data.transforms.table import TableTransform, is_numeric
from tl_research.errors import DataError


def make_transform(inputs_of_training_rows: Sequence[RawInputs], scale: str) -> Transform:
    """Fit a transform to raw inputs.

    Args:
        inputs_of_training_rows: one part per domain, of rows that train. All parts are matrices (n, d), dense or CSR,
            or all are tables, or images (n, height, width, 3) uint8, or `Modalities`.
        scale: `none`; `standard` (x - mean) / std, 0 for a constant column; `log1p` log(1 + x); `unit` x / ||x||_2 per
            row; `log1p_unit` log1p and then unit.

    Raises:
        DataError: parts that do not fit together, or values the scale cannot take.
        ValueError: there is no such scale.
    """
    if scale not in SCALES:
        raise ValueError(f"scale: got {scale!r}, wants one of {SCALES}")
    parts = list(inputs_of_training_rows)
    tables = [isinstance(part, pd.DataFrame) for part in parts]
    if not parts or sum(part.shape[0] for part in parts) == 0:
        raise DataError("there are no training rows to fit the scaling on")
    if len({isinstance(part, Modalities) for part in parts}) > 1:
        raise DataError("some domains have named modalities and some have not; they must be of one kind")
    if isinstance(parts[0], Modalities):
        return ModalityTransform.fit(parts, scale)
    if getattr(parts[0], "ndim", 2) == 4:
        return ImageTransform.fit(parts, scale)
    if any(tables) and not all(tables):
        raise DataError("some domains are tables and some are feature matrices; they must be of one kind")
    return TableTransform.fit(parts, scale) if all(tables) else MatrixTransform.fit(parts, scale)


def transform_from_state(state: dict[str, Any]) -> Transform:
    """Rebuild a transform from its `state_dict()`."""
    kinds = {
        "matrix": MatrixTransform,
        "table": TableTransform,
        "image": ImageTransform,
        "modalities": ModalityTransform,
        "interactions": InteractionTransform,
    }
    return kinds[state["kind"]].from_state(state)


def refuse_negative(domain: Domain, scale: str) -> None:
    """Raise `DataError` with the file, row and column of the first number that `scale` cannot take the logarithm of."""
    if scale not in ("log1p", "log1p_unit"):
        return
    inputs = domain.inputs
    if isinstance(inputs, pd.DataFrame):
        numeric = {name: inputs[name].to_numpy() for name in inputs if is_numeric([inputs[name]])}
        found = [(int((values < 0).argmax()), name) for name, values in numeric.items() if (values < 0).any()]
        wrong = min(found, key=lambda place: place[0], default=None)
        number = None if wrong is None else numeric[wrong[1]][wrong[0]]
    elif sp.issparse(inputs) or getattr(inputs, "ndim", 0) == 2:
        # Zeros that are not stored are not negative.
        places = sorted(zip(*(inputs < 0).nonzero(), strict=True))[:1]
        wrong = tuple(int(at) for at in places[0]) if places else None
        number = inputs[wrong] if wrong else None
    else:
        return
    if wrong is not None:
        raise DataError(
            f"{domain.place(wrong[0])}, column {wrong[1]!r}: {number:g} is negative, and data.scale={scale} takes a "
            "logarithm of 1 + x; choose data.scale=standard"
        )
