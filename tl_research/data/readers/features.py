"""Feature matrices: npz, mat and svmlight files, dense as numpy and sparse as CSR.

Rows and columns in messages count from 0, as in numpy.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from tl_research.data.readers.matlab import read_mat
from tl_research.data.readers.paths import checked_file, first_line, kind_of, refuse_bomb
from tl_research.data.readers.rules import LARGEST
from tl_research.data.readers.svmlight import read_svmlight
from tl_research.errors import DataError, nearest

FEATURE_KEYS = ("x", "X", "features", "fts")
LABEL_KEYS = ("y", "Y", "label", "labels")
NPZ_ENDINGS = (".npz",)
MAT_ENDINGS = (".mat",)
SVMLIGHT_ENDINGS = tuple(f"{end}{pack}" for end in (".svmlight", ".libsvm", ".svm") for pack in ("", ".gz"))
ENDINGS = NPZ_ENDINGS + MAT_ENDINGS + SVMLIGHT_ENDINGS
#: Columns of a matrix; a stray index of ten digits would make as many weights.
MOST_COLUMNS = 10_000_000


class FeatureFile(NamedTuple):
    """`x`: (n, d) numpy array or CSR matrix, finite numbers. `y`: (n,) labels as in the file, or None."""

    x: np.ndarray | sp.csr_matrix
    y: np.ndarray | None


def read_features(
    path: str | Path,
    *,
    features: str | None = None,
    label: str | None = None,
    label_required: bool = True,
    n_features: int | None = None,
    zero_based: bool = True,
    remarks: list[str] | None = None,
) -> FeatureFile:
    """Read a feature matrix and its labels by the ending of the file's name.

    Args:
        path: `.npz` (dense, or the keys data, indices, indptr and shape of scipy's `save_npz`), `.mat` (up to
            version 7.2), `.svmlight`, `.libsvm` or `.svm`, also packed as `.gz`.
        features: key of the matrix; default the first of x, X, features, fts.
        label: key of the labels; default the first of y, Y, label, labels.
        label_required: False gives `y=None` where the file has no labels.
        n_features: columns of a svmlight file, which names only those that are not 0.
        zero_based: whether the columns of a svmlight file count from 0. As long as all files of a run are read alike,
            0 fits both: files that count from 1 have one column more, which is always 0.
        remarks: what was left out of the file is appended to it, one sentence each.

    Raises:
        DataError: not such a file, a key that is absent, shapes that do not fit, a value that is not finite.
    """
    name = str(path).lower()
    file = checked_file(path)
    try:
        if name.endswith(SVMLIGHT_ENDINGS):
            x, y = read_svmlight(file, str(path), n_features, zero_based, [] if remarks is None else remarks)
        elif name.endswith(NPZ_ENDINGS + MAT_ENDINGS):
            arrays = _read_npz(file, path) if name.endswith(NPZ_ENDINGS) else _read_mat(file, path)
            x = _matrix(arrays, features, path)
            key = _key(arrays, label, LABEL_KEYS, "labels", path, required=label_required)
            y = None if key is None else _array(arrays[key])
        else:
            raise DataError(f"{path}: wants a name that ends in {', '.join(ENDINGS)}")
        x = _checked_matrix(x, path)
        return FeatureFile(x, None if y is None else _checked_label(y, x.shape[0], path))
    except MemoryError:
        raise DataError(f"{path}: does not fit into memory, or says of itself more than it holds") from None


def with_columns(matrix: sp.csr_matrix, columns: int, origin: str) -> sp.csr_matrix:
    """Return a matrix of a svmlight file with as many columns as training had; those it does not name are 0.

    Raises:
        DataError: naming the first row that has a column beyond them.
    """
    if matrix.shape[1] > columns:
        at = int((matrix.indices >= columns).argmax())
        row = int(np.searchsorted(matrix.indptr, at, side="right")) - 1
        raise DataError(
            f"{origin}, row {row}, column {matrix.indices[at]}: training had the columns 0 to {columns - 1} only"
        )
    return sp.csr_matrix((matrix.data, matrix.indices, matrix.indptr), shape=(matrix.shape[0], columns))


def widest(parts: Sequence[tuple[str, np.ndarray | sp.csr_matrix]]) -> int | None:
    """Return the number of columns of the widest of some svmlight files, None where not all are svmlight files.

    Args:
        parts: name and matrix of each file.
    """
    if not all(origin.lower().endswith(SVMLIGHT_ENDINGS) for origin, _ in parts):
        return None
    return max(matrix.shape[1] for _, matrix in parts)


def _read_npz(file: Path, path: str | Path) -> dict[str, np.ndarray]:
    try:
        with open(file, "rb") as stream:
            head = stream.read(4096)
        if not head.startswith(b"PK"):
            kind = kind_of(head) or ("it is empty" if not head else "it is something else")
            advice = "; write it with numpy.savez(path, x=..., y=...)" if head.startswith(b"\x93NUMPY") else ""
            raise DataError(f"{path}: not a npz file ({kind}){advice}")
        with zipfile.ZipFile(file) as members:
            for member in members.infolist():
                refuse_bomb(member.file_size, member.compress_size, f"{path}, array {member.filename!r}")
        with np.load(file, allow_pickle=False) as arrays:
            return {key: arrays[key] for key in arrays.files}
    except (DataError, MemoryError):
        raise
    except Exception as error:  # whatever a library says of hostile bytes
        if "allow_pickle" in str(error):
            raise DataError(f"{path}: holds Python objects, wants arrays of numbers or text") from None
        raise DataError(f"{path}: not a npz file ({first_line(error)})") from None


def _read_mat(file: Path, path: str | Path) -> dict[str, np.ndarray]:
    try:
        return read_mat(file, str(path))
    except (DataError, MemoryError):
        raise
    except Exception as error:  # whatever a library says of hostile bytes
        raise DataError(f"{path}: not a mat file ({first_line(error)})") from None


def _key(arrays, given: str | None, known: tuple[str, ...], what: str, path: str | Path, *, required: bool = True):
    if given is not None and (given in arrays or not required):
        return given if given in arrays else None
    if given is not None:
        raise DataError(f"{path}: there is no array {given!r} of {what}{nearest(given, arrays)}")
    found = next((key for key in known if key in arrays), None)
    if found is None and required:
        raise DataError(f"{path}: no array of {what} ({', '.join(known)}); it holds {_listed(arrays)}")
    return found


def _listed(arrays) -> str:
    names = [name if name.isprintable() else repr(name) for name in sorted(arrays)]
    shown = ", ".join(name[:40] for name in names[:10]) + (", ..." if len(names) > 10 else "")
    return shown or "none"


def _matrix(arrays: dict, given: str | None, path: str | Path) -> np.ndarray | sp.csr_matrix:
    if given is None and {"data", "indices", "indptr", "shape"} <= set(arrays):
        try:
            stored = arrays.get("format", np.asarray("csr")).item()
            if stored not in (b"csr", "csr"):
                raise DataError(f"{path}: the sparse matrix is stored as {stored!r}, wants csr")
            if {arrays[name].dtype.kind for name in ("indices", "indptr", "shape")} - set("iu"):
                raise DataError(f"{path}: not a CSR matrix (indices, indptr and shape are whole numbers)")
            shape = tuple(int(size) for size in arrays["shape"])
            matrix = sp.csr_matrix((arrays["data"], arrays["indices"], arrays["indptr"]), shape=shape)
            matrix.check_format(full_check=True)
            return matrix
        except (DataError, MemoryError):
            raise
        except Exception as error:  # ValueError, TypeError, IndexError, OverflowError, by what is wrong
            raise DataError(f"{path}: not a CSR matrix ({first_line(error)})") from None
    return arrays[_key(arrays, given, FEATURE_KEYS, "features", path)]


def _array(value) -> np.ndarray:
    return value.toarray() if sp.issparse(value) else np.asarray(value)


def _checked_matrix(x, path: str | Path) -> np.ndarray | sp.csr_matrix:
    if isinstance(x, str):  # what a mat file says of it
        raise DataError(f"{path}: the features are {x}, wants numbers")
    if sp.issparse(x):
        x = sp.csr_matrix(x)
        try:
            x.check_format(full_check=True)
        except ValueError as error:
            raise DataError(f"{path}: not a sparse matrix ({first_line(error)})") from None
        x.sum_duplicates()
        values = x.data
    else:
        values = x = np.asarray(x)
    if values.dtype.kind not in "biuf":
        raise DataError(f"{path}: features of type {_type_in_words(values.dtype)}, wants numbers")
    if x.ndim != 2:
        raise DataError(f"{path}: features of shape {x.shape}, wants rows and columns")
    if x.shape[0] == 0 or x.shape[1] == 0:
        raise DataError(f"{path}: features of shape {x.shape}: there is nothing in them")
    if x.shape[1] > MOST_COLUMNS:
        raise DataError(f"{path}: {x.shape[1]} columns; the most is {MOST_COLUMNS} (a wrong index, or hash it)")
    # Written so that nan is caught too.
    if values.dtype.kind == "f" and not (good := np.abs(values) <= LARGEST).all():
        where = np.argwhere(~good)[0]
        if sp.issparse(x):
            row, column = int(np.searchsorted(x.indptr, where[0], side="right")) - 1, int(x.indices[where[0]])
        else:
            row, column = (int(i) for i in where)
        said = "is too large for 32-bit floats" if np.isfinite(x[row, column]) else "is not a finite number"
        raise DataError(f"{path}, row {row}, column {column}: {x[row, column]} {said}")
    return x


def _checked_label(y: np.ndarray, rows: int, path: str | Path) -> np.ndarray:
    if y.ndim == 0 and y.dtype.kind == "U":
        raise DataError(f"{path}: the labels are {y}, wants numbers or text")
    if y.ndim == 2 and 1 in y.shape:
        y = y.ravel()
    if y.shape != (rows,):
        raise DataError(f"{path}: {rows} rows of features but labels of shape {y.shape}")
    if y.dtype.kind not in "biufU":
        raise DataError(f"{path}: labels of type {_type_in_words(y.dtype)}, wants numbers or text")
    return y


def _type_in_words(kind: np.dtype) -> str:
    names = {"c": "complex numbers", "M": "dates", "m": "spans of time", "V": "structs", "S": "bytes", "U": "text"}
    return f"{kind} ({names[kind.kind]})" if kind.kind in names else str(kind)
