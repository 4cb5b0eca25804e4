"""mat files up to version 7.2: numbers, sparse numbers and text.

scipy reads version 5 in C and ends the whole process at some broken files; here every length is held against what there
is. The values have the types that they are stored with, as scipy gives them.

Reference: MathWorks, MAT-File Format (2019), chapter 1, Level 5 MAT-files.
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import scipy.io
import scipy.sparse as sp

from tl_research.data.readers.paths import kind_of, refuse_bomb
from tl_research.errors import DataError

_HEADER = 128
_MATRIX, _COMPRESSED, _UTF8, _UTF16, _UTF32 = 14, 15, 16, 17, 18
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_TEXT = {_UTF8: "utf-8", _UTF16: "utf-16", _UTF32: "utf-32"}
_OTHER_CLASSES = {1: "a cell array", 2: "a struct", 3: "an object", 16: "a function", 17: "an object"}
_CHAR, _SPARSE = 4, 5
_COMPLEX = 0x08
_CHUNK = 1 << 20


def read_mat(file: Path, origin: str) -> dict[str, np.ndarray | sp.csc_matrix | str]:
    """Read the arrays of a mat file.

    Returns:
        By name, an array, a sparse matrix, or where it is neither numbers nor text, what it is (`a struct`).

    Raises:
        DataError: version 7.3, or packed arrays beyond the bounds of `paths.refuse_bomb`.
        Exception: of many kinds, for a file that is broken.
        ValueError: the header is that of no mat file.
    """
    data = file.read_bytes()
    if not data:
        raise DataError(f"{origin}: the file is empty")
    if 0 in data[:4]:
        # Version 4 has no header: scipy reads it in Python.
        return {name: value for name, value in scipy.io.loadmat(io.BytesIO(data)).items() if name[:2] != "__"}
    order = {b"IM": "<", b"MI": ">"}.get(data[126:_HEADER])
    if order is None:
        raise ValueError(kind_of(data) or "its header says nothing about the order of bytes")
    if struct.unpack(f"{order}H", data[124:126])[0] == 0x0200:
        raise DataError(f"{origin}: a mat file of version 7.3 (HDF5); save it as npz or as version 7")
    arrays = {}
    for kind, content in _elements(data[_HEADER:], order):
        if kind == _COMPRESSED:
            (kind, content), *_ = _elements(_unpacked(content, origin), order)
        if kind == _MATRIX and content:
            name, value = _array(content, order)
            arrays[name] = value
    return {name: value for name, value in arrays.items() if name[:2] not in ("", "__")}


def _elements(data: bytes, order: str):
    """Yield type and content of each element; those of at most 4 bytes have both in 8."""
    at = 0
    while at + 8 <= len(data):
        kind, size = struct.unpack_from(f"{order}II", data, at)
        if kind >> 16:
            small = kind >> 16
            if small > 4:
                raise ValueError(f"an element of {small} bytes in 4")
            yield kind & 0xFFFF, data[at + 4 : at + 4 + small]
            at += 8
            continue
        if at + 8 + size > len(data):
            raise ValueError(f"an element of {size} bytes where {len(data) - at - 8} are left")
        yield kind, data[at + 8 : at + 8 + size]
        # Packed ones follow each other directly, others begin at every eighth byte.
        at += 8 + size + (0 if kind == _COMPRESSED else -size % 8)


def _unpacked(content: bytes, origin: str) -> bytes:
    unpack, out, packed = zlib.decompressobj(), bytearray(), content
    while packed and not unpack.eof:
        out += unpack.decompress(packed, _CHUNK)
        packed = unpack.unconsumed_tail
        refuse_bomb(len(out), len(content) - len(packed), origin)
    while piece := unpack.decompress(b"", _CHUNK):
        out += piece
        refuse_bomb(len(out), len(content), origin)
    return bytes(out)


def _array(content: bytes, order: str) -> tuple[str, np.ndarray | sp.csc_matrix | str]:
    parts = list(_elements(content, order)) if content[:1] else []
    (_, flags), (_, shape), (_, name), *rest = parts
    flags = struct.unpack_from(f"{order}I", flags)[0]
    kind, is_complex = flags & 0xFF, bool(flags >> 8 & _COMPLEX)
    name = name.decode("latin-1")
    if kind in _OTHER_CLASSES:
        return name, _OTHER_CLASSES[kind]
    shape = tuple(int(size) for size in np.frombuffer(shape, f"{order}i4"))
    if len(shape) < 2 or min(shape) < 0:
        raise ValueError(f"an array of shape {shape}")
    if kind == _SPARSE:
        rows, starts, *values = (_numbers(*part, order) for part in rest)
        used = int(starts[-1])
        values = _joined(values, is_complex)
        if len(shape) != 2 or len(starts) != shape[1] + 1 or not 0 <= used <= min(len(rows), len(values)):
            raise ValueError("a sparse array whose parts do not fit")
        matrix = sp.csc_matrix((values[:used], rows[:used], starts), shape=shape)
        matrix.check_format(full_check=True)
        return name, matrix
    if kind == _CHAR:
        return name, _text(*rest[0], shape, order)
    values = _joined([_numbers(*part, order) for part in rest], is_complex)
    if len(values) != math.prod(shape):
        raise ValueError(f"{len(values)} values for an array of shape {shape}")
    return name, values.reshape(shape, order="F")


def _numbers(kind: int, content: bytes, order: str) -> np.ndarray:
    if kind not in _NUMBERS:
        raise ValueError(f"numbers of the unknown type {kind}")
    return np.frombuffer(content, order + _NUMBERS[kind]).astype(_NUMBERS[kind])


def _joined(parts: list[np.ndarray], is_complex: bool) -> np.ndarray:
    return parts[0] + 1j * parts[1] if is_complex else parts[0]


def _text(kind: int, content: bytes, shape: tuple[int, ...], order: str) -> np.ndarray:
    """Rows of characters as one text each, blanks at the end taken off."""
    if kind in _TEXT:
        ends = "" if kind == _UTF8 else {"<": "-le", ">": "-be"}[order]
        letters = list(content.decode(_TEXT[kind] + ends))
    else:
        letters = [chr(code) for code in _numbers(kind, content, order)]
    if len(letters) != math.prod(shape) or len(shape) != 2:
        raise ValueError(f"{len(letters)} characters for an array of shape {shape}")
    table = np.array(letters, dtype="U1").reshape(shape, order="F")
    return np.array(["".join(row).rstrip() for row in table], dtype=np.str_)
