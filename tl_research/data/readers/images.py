"""Images from folders, or from a column of bytes or paths, as one uint8 array; a broken one is named.

Rows in messages count from 1.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from tl_research.errors import DataError

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp")


def read_image(source: str | Path | bytes, size: int, where: str) -> np.ndarray:
    """Decode one image to (size, size, 3) uint8 RGB, resized by bilinear interpolation.

    Args:
        source: path, or the bytes of an encoded image.
        size: pixels a side.
        where: what to call it in messages.

    Raises:
        DataError: it is absent, truncated or no image.
    """
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            image = image.convert("RGB")
            return np.asarray(image if image.size == (size, size) else image.resize((size, size), Image.BILINEAR))
    except FileNotFoundError:
        raise DataError(f"{where}: there is no such file {source}") from None
    except UnidentifiedImageError:
        raise DataError(f"{where}: not an image") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{where}: a broken image ({str(error).splitlines()[0]})") from None


def read_image_folder(folder: str | Path, *, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Read `<folder>/<class>/<image>`, in the order of the names.

    Args:
        folder: of one domain, with a folder a class.
        size: pixels a side.

    Returns:
        images (n, size, size, 3) uint8, and the class of each (object array of text).

    Raises:
        DataError: no such folder, no image in it, or an image that cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder")
    found = sorted(path for path in folder.glob("*/*") if path.suffix.lower() in ENDINGS)
    if not found:
        raise DataError(f"{folder}: holds no <class>/<image> ({', '.join(ENDINGS)})")
    images = np.empty((len(found), size, size, 3), dtype=np.uint8)
    for row, path in enumerate(found):
        images[row] = read_image(path, size, str(path))
    return images, np.array([path.parent.name for path in found], dtype=object)


def read_image_column(
    values: Sequence, *, size: int, origin: str, column: str, base: Path | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Decode a column of image bytes, of paths, or of Hugging Face's `{bytes, path}`.

    Args:
        values: n values; None, nan or "" where a row has no image.
        size: pixels a side.
        origin, column: for messages.
        base: folder that paths are relative to.

    Returns:
        images (n, size, size, 3) uint8, and which rows have one (n,) bool; the others are 0.

    Raises:
        DataError: naming file, row and column of an image that cannot be read.
    """
    images = np.zeros((len(values), size, size, 3), dtype=np.uint8)
    present = np.zeros(len(values), dtype=bool)
    for row, value in enumerate(values):
        where = f"{origin}, row {row + 1}, column {column!r}"
        if isinstance(value, dict):
            value = value.get("bytes") or value.get("path")
        if value is None or (isinstance(value, float) and np.isnan(value)) or value in ("", b""):
            continue
        if not isinstance(value, (bytes, str)):
            raise DataError(f"{where}: wants the bytes or the path of an image, got a {type(value).__name__}")
        source = (base or Path()) / value if isinstance(value, str) else value
        images[row], present[row] = read_image(source, size, where), True
    return images, present
