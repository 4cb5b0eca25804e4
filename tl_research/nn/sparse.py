"""A constant sparse matrix times dense rows, forwards and backwards without a transposition at each step."""

from __future__ import annotations

import warnings

import numpy as np
import scipy.sparse as sp
import torch
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
            return _Product.apply(x.float(), self._csr(""), self._csr("back_"))

    def transposed(self, x: Tensor) -> Tensor:
        """Return Aᵀ x: (m, d) for (n, d), in float32."""
        with torch.autocast(x.device.type, enabled=False):
            return _Product.apply(x.float(), self._csr("back_"), self._csr(""))

    def _csr(self, side: str) -> Tensor:
        start, column, value = (getattr(self, f"{side}{part}") for part in ("start", "column", "value"))
        other = self.back_start if not side else self.start
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse CSR tensor support")
            size = len(start) - 1, len(other) - 1
            return torch.sparse_csr_tensor(start, column, value, size, check_invariants=False)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(context, x: Tensor, matrix: Tensor, back: Tensor) -> Tensor:
        context.back = back
        return matrix @ x

    @staticmethod
    def backward(context, gradient: Tensor) -> tuple[Tensor, None, None]:
        return context.back @ gradient.contiguous(), None, None
