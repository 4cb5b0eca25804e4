"""Products of factors at the entries of a sparse matrix, and sums over its entries."""

from __future__ import annotations

import warnings

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F


class Products:
    """Of a pattern (n, m) in compressed rows, and factors Q (m, d): nothing of size entries × d is made.

    Each row is summed by one thread in the order of its entries, so that the number of threads changes no bit.

    Args:
        pattern: its values are not read.
        factors: (m, d) float32.
    """

    def __init__(self, pattern: sp.csr_matrix, factors: np.ndarray):
        kind = np.int32 if pattern.nnz < 2**31 else np.int64
        self.start, self.column = (torch.from_numpy(part.astype(kind)) for part in (pattern.indptr, pattern.indices))
        self.factors = torch.from_numpy(np.ascontiguousarray(factors))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse CSR tensor support")
            self._entries = torch.sparse_csr_tensor(
                self.start, self.column, torch.zeros(len(self.column)), pattern.shape, check_invariants=False
            )

    def at_entries(self, rows: np.ndarray, *, scale: float) -> torch.Tensor:
        """Return scale · x_u · q_i (entries,) of every entry (u, i), for x (n, d); valid until the next call."""
        rows = torch.from_numpy(np.ascontiguousarray(rows))
        torch.sparse.sampled_addmm(self._entries, rows, self.factors.T, beta=0.0, alpha=scale, out=self._entries)
        return self._entries.values()

    def sums(self, value: torch.Tensor) -> np.ndarray:
        """Return Σ_i v_ui q_i (n, d), for values (entries,)."""
        return F.embedding_bag(
            self.column, self.factors, self.start, mode="sum", per_sample_weights=value, include_last_offset=True
        ).numpy()
