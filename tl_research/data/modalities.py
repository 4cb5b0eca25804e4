"""Raw rows of several modalities: an image, a text and table fields of each product, any of which may be missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pandas as pd

from tl_research.config import Group, at_least, one_of, within
from tl_research.errors import DataError

#: Order of the modalities wherever they are listed.
MODALITIES = ("image", "text", "table")
#: What a text becomes: a sparse row of weighted n-grams, a row of latent columns, or a row of token ids.
NGRAM_FORMS, LATENT_FORMS, ID_FORMS = ("tfidf", "hashed"), ("lsa",), ("words", "pretrained")


@dataclass
class TextConfig(Group):
    """Group `data.text`: how texts become numbers. Only the texts of rows that train are looked at."""

    key: ClassVar[str] = "data.text"

    # auto: what the encoder takes; n-grams: tfidf, hashed; few columns: lsa; token ids: words, pretrained.
    form: str = one_of(("auto", *NGRAM_FORMS, *LATENT_FORMS, *ID_FORMS), default="auto")
    ngrams: int = within(1, 5, default=2)  # longest n-gram, in words
    vocabulary: int = at_least(2, default=20_000)  # terms or words kept in all; for `hashed`, the number of buckets
    # A term is kept if so many training rows hold it; a word, if it occurs so often in them.
    min_count: int = at_least(1, default=2)
    terms: int = at_least(1, default=512)  # n-grams kept per row, those of the largest weight
    length: int = at_least(2, default=256)  # tokens kept per row, from its beginning
    columns: int = at_least(1, default=100, added_later=True)  # of `lsa`
    tokenizer: str | None = None  # folder of a Hugging Face tokenizer; None: encoder.path


@dataclass
class Modalities:
    """Raw rows that have an image, a text, table fields, or several of these.

    Fields:
        image: (n, height, width, 3) uint8; None where no row has one.
        image_present: (n,) bool; None where every row has its image.
        text: (n,) object array of str, None where a row has no text.
        table: (n, columns); its missing values are its own matter, so that it is present in every row.
        text_config: how the texts are to become numbers.
        origin: file, for messages.
    """

    image: np.ndarray | None = None
    image_present: np.ndarray | None = None
    text: np.ndarray | None = None
    table: pd.DataFrame | None = None
    text_config: TextConfig = field(default_factory=TextConfig)
    origin: str = "rows"

    def __post_init__(self):
        sizes = {name: len(getattr(self, name)) for name in self.names}
        if not sizes:
            raise DataError(f"{self.origin}: there is neither an image nor a text nor a table column")
        if len(set(sizes.values())) > 1:
            raise DataError(f"{self.origin}: the modalities differ in their rows: {sizes}")

    @property
    def names(self) -> tuple[str, ...]:
        """Modalities that these rows have."""
        return tuple(name for name in MODALITIES if getattr(self, name) is not None)

    @property
    def shape(self) -> tuple[int]:
        """(rows,), as an array has it; every modality has as many."""
        return (len(getattr(self, self.names[0])),)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: np.ndarray) -> Modalities:
        return Modalities(
            *(None if part is None else part[rows] for part in (self.image, self.image_present, self.text)),
            None if self.table is None else self.table.loc[rows] if rows.dtype == bool else self.table.iloc[rows],
            self.text_config,
            self.origin,
        )

    def copy(self) -> Modalities:
        """Return rows that a caller may change."""
        return self[np.arange(len(self))]

    def present(self, name: str) -> np.ndarray:
        """(n,) bool: which rows have the modality."""
        if name == "image" and self.image_present is not None:
            return np.asarray(self.image_present, dtype=bool)
        if name == "text":
            return np.fromiter((bool(text) for text in self.text), dtype=bool, count=len(self))
        return np.ones(len(self), dtype=bool)

    def select(self, names: tuple[str, ...] | list[str]) -> Modalities:
        """Return the same rows with these modalities only."""
        kept = {name: getattr(self, name) if name in names else None for name in MODALITIES}
        mask = self.image_present if "image" in names else None
        return Modalities(image_present=mask, text_config=self.text_config, origin=self.origin, **kept)


def refuse_empty_rows(raw: Modalities, place: Callable[[int], str]) -> None:
    """Raise `DataError` where a row has nothing of any modality; `place` names a row."""
    empty = ~sum(raw.present(name) for name in raw.names).astype(bool)
    if empty.any():
        lacks = f"neither {' nor '.join(raw.names)}" if len(raw.names) > 1 else f"no {raw.names[0]}"
        raise DataError(f"{place(int(empty.argmax()))}: has {lacks} ({int(empty.sum())} such rows)")
