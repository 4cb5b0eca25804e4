"""`Training`: what a recommender may learn from, the target's interactions and those of the other domains."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from tl_research.interactions.content import Attributes, Content, content_of
from tl_research.interactions.log import Log


@dataclass(frozen=True)
class Training:
    """What a recommender may learn from.

    Fields:
        target: training interactions of the target domain.
        sources: interactions of the other domains; none for a method of the target alone.
        unsold: codes of items that the target sells and that nobody has bought there yet.
        attributes: of items, `unsold` ones too; None where there are none.
    """

    target: Log
    sources: tuple[Log, ...] = ()
    unsold: tuple[int, ...] = ()
    attributes: Attributes | None = None

    @cached_property
    def catalogue(self) -> np.ndarray:
        """Sorted codes of the items that may be recommended: with a training interaction in the target, or `unsold`."""
        return np.union1d(self.target.own_items(), np.array(self.unsold, dtype=np.int64))

    @cached_property
    def own(self) -> sp.csr_matrix:
        """(users, items) of ones: the target alone."""
        return self.target.matrix()

    @cached_property
    def other(self) -> sp.csr_matrix:
        """(users, items) of ones: the other domains together."""
        found = sp.csr_matrix(self.own.shape, dtype=np.float32)
        for log in self.sources:
            found = found.maximum(log.matrix())
        return found.tocsr()

    @cached_property
    def both(self) -> sp.csr_matrix:
        """(users, items) of ones: all domains together."""
        return self.own.maximum(self.other).tocsr()

    @property
    def content(self) -> np.ndarray | None:
        """(items, d) float32 attributes by the scales, categories and words of the items bought in any domain.

        Rows of 0 for items without attributes; None where there are no attributes.

        Raises:
            DataError: no item that somebody has bought has attributes.
        """
        return None if self._content is None else self._content.matrix.numpy()

    @property
    def content_remarks(self) -> tuple[str, ...]:
        """Rows and columns that `content` leaves out, and the number of items bought that have no row."""
        return () if self._content is None else tuple(self._content.remarks)

    @cached_property
    def _content(self) -> Content | None:
        if self.attributes is None:
            return None
        bought = np.flatnonzero(np.diff(self.both.tocsc().indptr))
        return content_of(self.attributes, self.target.items, bought)
