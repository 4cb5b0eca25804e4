"""What a transform is, and what an encoder learns of its outputs: `InputSpec`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pandas as pd
import scipy.sparse as sp
from torch import Tensor

#: Kinds of rows, and how a message calls them.
KINDS = {
    "matrix": "a matrix of numbers",
    "columns": "named columns",
    "image": "images",
    "text": "texts",
    "interactions": "interactions of users with items",
}
SCALES = ("none", "standard", "log1p", "unit", "log1p_unit")
Column = dict[str, Any]
RawInputs = np.ndarray | sp.csr_matrix | pd.DataFrame | Any


class Transform(Protocol):
    """A transform is fitted once, saved with the model, and applied to raw rows."""

    spec: InputSpec
    info: dict[str, Any]
    remarks: list[str]

    def transform(self, raw: RawInputs) -> Tensor | dict[str, Tensor]:
        """Return the tensors of raw rows, row for row.

        Raises:
            DataError: rows of another shape, or with other columns, than those it was fitted to.
        """

    def unseen_counts(self, raw: RawInputs) -> dict[str, int]:
        """Return, per column, how many rows hold a value that no training row had."""

    def state_dict(self) -> dict[str, Any]:
        """Return what was fitted, as numbers, texts and tensors alone; `from_state` makes the transform of it again."""


@dataclass(frozen=True)
class TextSpec:
    """Texts as tensors.

    Fields:
        form: `tfidf` or `hashed` (`text_index`, `text_value`), `lsa` (`text_dense`), `words` or `pretrained`
            (`text_ids`).
        size: number of terms, of latent columns or of token ids.
        width: columns of the tensors.
        padding: token id that is no token; n-grams are padded with value 0.
    """

    form: str
    size: int
    width: int
    padding: int = 0


@dataclass(frozen=True)
class InteractionSpec:
    """Interactions as codes: inputs are `{"user": (n,), "item": (n,)}`, int64.

    Fields:
        users, items: numbers of codes, of all domains together.
        unsold: codes of items that the target sells and that nobody has bought there yet.
        ranked_sources: source domains whose held-out rows are ranked too.
        content: (items, d) float32 attributes of the items, rows of 0 where none are known; None without any.
    """

    users: int
    items: int
    unsold: tuple[int, ...] = ()
    ranked_sources: int = 0
    content: Tensor | None = field(default=None, compare=False)


@dataclass(frozen=True)
class InputSpec:
    """What a transform gives, which is what an encoder takes.

    Fields:
        numeric: number of float columns, including indicators of missing values.
        cardinalities: number of codes of each categorical column, including 0 (unknown).
        is_table: inputs are `{"numeric": (n, numeric), "categorical": (n, c)}` rather than one tensor.
        columns: names of a table's numeric and then categorical columns; empty for a matrix.
        image: height, width and channels of uint8 images: the inputs, or their field `image`.
        text: what the fields `text_*` hold.
        modalities: names of `image`, `text`, `table` that the inputs hold; if there are several, each has a field
            `<modality>_present` (n,) bool. Empty for a matrix, a plain table and plain images.
        interactions: what the codes of users and items mean, where rows are interactions.
    """

    numeric: int
    cardinalities: tuple[int, ...] = ()
    is_table: bool = False
    columns: tuple[str, ...] = ()
    image: tuple[int, int, int] | None = None
    text: TextSpec | None = None
    modalities: tuple[str, ...] = ()
    interactions: InteractionSpec | None = None

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of what a row holds, of `KINDS`."""
        has = {
            "columns": self.is_table,
            "image": self.image is not None,
            "text": self.text is not None,
            "interactions": self.interactions is not None,
        }
        return tuple(kind for kind, is_there in has.items() if is_there) or ("matrix",)
