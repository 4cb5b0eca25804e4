"""A constant sparse matrix times dense rows, forwards and backwards without a transposition at each step."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from torch import Tensor

from tl_research.nn.fitted import Fitted


class SparseMatrix(Fitted):
    """A (n, m) and its transpose in compressed rows, as buffers; `self(x)` is A x, and its gradient Aᵀ g.

    Both products are sums in a fixed order, so that a run repeats itself.
    """

    start: Tensor
    column: Tensor
    value: Tensor
    back_start: Tensor
    back_column: Tensor
    back_value: Tensor

    def learn(self, matrix: sp.csr_matrix) -> None:
        """Keep a matrix, in float32."""
        found = {}
        for side, csr in (("", matrix.tocsr()), ("back_", matrix.T.tocsr())):
            csr.sort_indices()
            found[f"{side}start"] = torch.from_numpy(csr.indptr.astype(np.int64))
            found[f"{side}column"] = torch.from_numpy(csr.indices.astype(np.int64))
            found[f"{side}value"] = torch.from_numpy(csr.data.astype(np.float32))
        self.keep(**found)

    def forward(self, x: Tensor) -> Tensor:
        """Return A x: (n, d) for (m, d), in float32."""
        with torch.autocast(x.device.type, enabled=False):
            return _Product.apply(x.float(), self._rows(""), self._rows("back_"))

    def transposed(self, x: Tensor) -> Tensor:
        """Return Aᵀ x: (m, d) for (n, d), in float32."""
        with torch.autocast(x.device.type, enabled=False):
            return _Product.apply(x.float(), self._rows("back_"), self._rows(""))

    def _rows(self, side: str) -> _Rows:
        other = self.back_start if not side else self.start
        return _Rows(*(getattr(self, f"{side}{part}") for part in _Rows._fields[:3]), len(other) - 1)


class _Rows(NamedTuple):
    """Compressed rows: starts (n + 1,), columns and values (entries,), number of columns."""

    start: Tensor
    column: Tensor
    value: Tensor
    width: int

    def times(self, x: Tensor) -> Tensor:
        """Return the product with x (width, d)."""
        if x.device.type == "cpu":
            # Weighted sums of rows of x, which is a quarter of the time of the product of a sparse tensor.
            options = {"mode": "sum", "per_sample_weights": self.value, "include_last_offset": True}
            return F.embedding_bag(self.column, x.contiguous(), self.start, **options)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse CSR tensor support")
            size = len(self.start) - 1, self.width
            return torch.sparse_csr_tensor(*self[:3], size, check_invariants=False) @ x


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(context, x: Tensor, rows: _Rows, back: _Rows) -> Tensor:
        context.back = back
        return rows.times(x)

    @staticmethod
    def backward(context, gradient: Tensor) -> tuple[Tensor, None, None]:
        return context.back.times(gradient.contiguous()), None, None
