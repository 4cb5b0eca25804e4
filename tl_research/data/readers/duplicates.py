"""Which rows are the same: counted for the record, never taken out."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd
import scipy.sparse as sp


def row_hashes(inputs: np.ndarray | sp.csr_matrix | pd.DataFrame, label: np.ndarray) -> np.ndarray:
    """Return (n,) uint64, equal for rows of equal features (missing equals missing) and label.

    Args:
        inputs: (n, d) matrix, dense or CSR, or a table of typed columns.
        label: (n,) numbers.
    """
    own = pd.util.hash_array(np.asarray(label, dtype=np.float64))
    if isinstance(inputs, pd.DataFrame):
        features = pd.util.hash_pandas_object(inputs, index=False).to_numpy()
    else:
        features = np.fromiter(map(_digest, _rows(inputs)), dtype=np.uint64, count=inputs.shape[0])
    # The product wraps around, as it should.
    return features * np.uint64(31) + own


def duplicate_rows(hashes: np.ndarray) -> int:
    """Number of rows that repeat an earlier one."""
    return int(pd.Series(hashes).duplicated().sum())  # much faster than numpy's own


def _digest(row: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(row, digest_size=8).digest(), "little")


def _rows(matrix: np.ndarray | sp.csr_matrix):
    if sp.issparse(matrix):
        for start, end in zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True):
            order = np.argsort(matrix.indices[start:end])
            yield (
                matrix.indices[start:end][order].astype(np.int64).tobytes()
                + matrix.data[start:end][order].astype(np.float64).tobytes()
            )
    else:
        for row in matrix:
            yield np.asarray(row, dtype=np.float64).tobytes()
