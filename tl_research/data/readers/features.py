"""Feature matrices: npz, mat and svmlight files, dense as numpy and sparse as CSR.

Rows and columns in messages count from 0, as in numpy.
"""

from __future__ import annotations

import gzip
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.io
import scipy.sparse as sp
from sklearn.datasets import load_svmlight_file

from tl_research.data.readers.rules import LARGEST
from tl_research.errors import DataError, nearest

FEATURE_KEYS = ("x", "X", "features", "fts")
LABEL_KEYS = ("y", "Y", "label", "labels")
NPZ_ENDINGS = (".npz",)
MAT_ENDINGS = (".mat",)
SVMLIGHT_ENDINGS = tuple(f"{end}{pack}" for end in (".svmlight", ".libsvm") for pack in ("", ".gz"))
ENDINGS = NPZ_ENDINGS + MAT_ENDINGS + SVMLIGHT_ENDINGS


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
    zero_based: bool | str = "auto",
) -> FeatureFile:
    """Read a feature matrix and its labels by the ending of the file's name.

    Args:
        path: `.npz` (dense, or the keys data, indices, indptr and shape of scipy's `save_npz`), `.mat` (up to
            version 7.2), `.svmlight` or `.libsvm`, also packed as `.gz`.
        features: key of the matrix; default the first of x, X, features, fts.
        label: key of the labels; default the first of y, Y, label, labels.
        label_required: False gives `y=None` where the file has no labels.
        n_features: columns of a svmlight file, which names only those that are not 0.
        zero_based: whether the columns of a svmlight file count from 0.

    Raises:
        DataError: not such a file, a key that is absent, shapes that do not fit, a value that is not finite.
    """
    path, name = Path(path), str(path).lower()
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    if name.endswith(SVMLIGHT_ENDINGS):
        x, y = _read_svmlight(path, n_features, zero_based)
    elif name.endswith(NPZ_ENDINGS + MAT_ENDINGS):
        arrays = _read_npz(path) if name.endswith(NPZ_ENDINGS) else _read_mat(path)
        x = _matrix(arrays, features, path)
        key = _key(arrays, label, LABEL_KEYS, "labels", path, required=label_required)
        y = None if key is None else np.asarray(arrays[key])
    else:
        raise DataError(f"{path}: wants a name that ends in {', '.join(ENDINGS)}")
    x = _checked_matrix(x, path)
    return FeatureFile(x, None if y is None else _checked_label(y, x.shape[0], path))


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, AttributeError) as error:
        if "allow_pickle" in str(error):
            raise DataError(f"{path}: holds Python objects, wants arrays of numbers or text") from None
        raise DataError(f"{path}: not a npz file ({str(error).splitlines()[0]})") from None


def _read_mat(path: Path) -> dict[str, np.ndarray]:
    try:
        return {key: value for key, value in scipy.io.loadmat(path).items() if not key.startswith("__")}
    except NotImplementedError:
        raise DataError(f"{path}: a mat file of version 7.3 (HDF5); save it as npz or as version 7") from None
    except (ValueError, TypeError, OSError, EOFError, zlib.error, scipy.io.matlab.MatReadError) as error:
        raise DataError(f"{path}: not a mat file ({str(error).splitlines()[0]})") from None


def _read_svmlight(path: Path, n_features: int | None, zero_based: bool | str):
    try:
        return load_svmlight_file(str(path), n_features=n_features, dtype=np.float32, zero_based=zero_based)
    except (ValueError, OSError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: not a svmlight file ({str(error).splitlines()[0]})") from None


def _key(arrays, given: str | None, known: tuple[str, ...], what: str, path: Path, *, required: bool = True):
    if given is not None and (given in arrays or not required):
        return given if given in arrays else None
    if given is not None:
        raise DataError(f"{path}: there is no array {given!r} of {what}{nearest(given, arrays)}")
    found = next((key for key in known if key in arrays), None)
    if found is None and required:
        raise DataError(f"{path}: no array of {what} ({', '.join(known)}); it holds {', '.join(sorted(arrays))}")
    return found


def _matrix(arrays: dict, given: str | None, path: Path) -> np.ndarray | sp.csr_matrix:
    if given is None and {"data", "indices", "indptr", "shape"} <= set(arrays):
        try:
            parts = (arrays["data"], arrays["indices"], arrays["indptr"])
            matrix = sp.csr_matrix(parts, shape=tuple(int(size) for size in arrays["shape"]))
            matrix.check_format(full_check=True)
        except (ValueError, TypeError) as error:
            raise DataError(f"{path}: not a CSR matrix ({error})") from None
        stored = arrays.get("format")
        if stored is not None and stored.item() not in (b"csr", "csr"):
            raise DataError(f"{path}: the sparse matrix is stored as {stored.item()!r}, wants csr")
        return matrix
    return arrays[_key(arrays, given, FEATURE_KEYS, "features", path)]


def _checked_matrix(x, path: Path) -> np.ndarray | sp.csr_matrix:
    if sp.issparse(x):
        x = sp.csr_matrix(x)
        x.sum_duplicates()
        values = x.data
    else:
        values = x = np.asarray(x)
    if x.ndim != 2:
        raise DataError(f"{path}: features of shape {x.shape}, wants rows and columns")
    if x.shape[0] == 0 or x.shape[1] == 0:
        raise DataError(f"{path}: features of shape {x.shape}: there is nothing in them")
    if values.dtype.kind not in "biuf":
        raise DataError(f"{path}: features of type {values.dtype}, wants numbers")
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


def _checked_label(y: np.ndarray, rows: int, path: Path) -> np.ndarray:
    y = np.asarray(y)
    if y.ndim == 2 and 1 in y.shape:
        y = y.ravel()
    if y.shape != (rows,):
        raise DataError(f"{path}: {rows} rows of features but labels of shape {y.shape}")
    if y.dtype.kind not in "biufU":
        raise DataError(f"{path}: labels of type {y.dtype}, wants numbers or text")
    return y
