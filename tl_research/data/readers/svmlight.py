"""svmlight files: `label index:value ...`, one row per line, only the values that are not 0."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from sklearn.datasets import load_svmlight_file

from tl_research.data.readers.paths import first_line, kind_of, read_bytes
from tl_research.errors import DataError

_QUERY = re.compile(rb"^[^#\r\n]*?\sqid:\d+", re.MULTILINE)
_LARGEST_INDEX = 2**31 - 2


def read_svmlight(
    file: Path, origin: str, n_features: int | None, zero_based: bool, remarks: list[str]
) -> tuple[sp.csr_matrix, np.ndarray]:
    """Read a svmlight file, plain or packed.

    Args:
        file: the file.
        origin: what to call it in messages.
        n_features: columns; default one more than the largest index.
        zero_based: whether indices count from 0.
        remarks: sentences on what is left out are appended to it.

    Returns:
        x: (n, d) float32 CSR. y: (n,) float64.

    Raises:
        DataError: not such a file; the first row that is wrong is named where it can be.
    """
    data = read_bytes(file)
    if not data.strip():
        raise DataError(f"{origin}: the file is empty")
    if (kind := kind_of(data)) or b"\0" in data[:4096]:
        raise DataError(f"{origin}: not a svmlight file ({kind or 'it holds binary data'})")
    try:
        x, y = load_svmlight_file(io.BytesIO(data), n_features=n_features, dtype=np.float32, zero_based=zero_based)
    except MemoryError:
        raise
    except Exception as error:  # whatever a library says of hostile bytes
        raise DataError(f"{origin}{_first_wrong_row(data, n_features)} ({first_line(error)})") from None
    if with_query := len(_QUERY.findall(data)):
        remarks.append(f"{origin}: qid of {with_query} rows is not used")
    return x, y


def _first_wrong_row(data: bytes | bytearray, n_features: int | None) -> str:
    """Name the first row that is not of the form, for a message."""
    lines = (line.split(b"#")[0].split() for line in data.splitlines())
    for row, (label, *pairs) in enumerate(filter(None, lines)):
        try:
            float(label)
        except ValueError:
            return f", row {row}: not a svmlight file: the label {_shown(label)} is not a number"
        last = -1
        for pair in pairs:
            index, colon, value = pair.partition(b":")
            if index == b"qid":
                continue
            try:
                at, _ = int(index), float(value)
            except ValueError:
                at, colon = -1, b""
            if not colon:
                return f", row {row}: not a svmlight file: got {_shown(pair)}, wants index:value"
            if not 0 <= at <= (_LARGEST_INDEX if n_features is None else n_features - 1):
                return f", row {row}: the index {at} is out of range"
            if at <= last:
                return f", row {row}: the index {at} comes after {last}; indices rise, each comes once"
            last = at
    return ": not a svmlight file"


def _shown(text: bytes) -> str:
    return repr(bytes(text[:30]).decode("utf-8", "replace"))
