"""Images from folders, or from a column of bytes or paths, as one uint8 array; a broken one is named.

A picture is read as a viewer shows it: turned by its orientation tag, what is transparent on white, greys of 16 bits by
their full range, an animation by its first frame. Rows in messages count from 1.
"""

from __future__ import annotations

import io
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from tl_research.data.readers.paths import checked_file, checked_folder, first_line, kind_of
from tl_research.errors import DataError

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp")
#: A larger one would take more than half a GB while it is decoded.
MOST_PIXELS = 50_000_000
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TURNED = "were turned as their orientation tag says"
_ON_WHITE = "are transparent in part and were put on white"
_DEEP = "have more than 8 bits per channel and were scaled to 8"
_FIRST_FRAME = "have several frames, of which the first was read"


def read_image(source: str | Path | bytes, size: int, where: str, *, seen: Counter[str] | None = None) -> np.ndarray:
    """Decode one image to (size, size, 3) uint8 RGB, resized by bilinear interpolation.

    Args:
        source: path, or the bytes of an encoded image.
        size: pixels per side.
        where: what to call it in messages.
        seen: counts by what was done to the image beside resizing; `remarks_of` makes sentences of it.

    Raises:
        DataError: it is absent, no file, truncated, too large or no image.
    """
    try:
        if isinstance(source, bytes):
            return _decode(io.BytesIO(source), size, where, Counter() if seen is None else seen)
        with open(_file(source, where), "rb") as stream:
            return _decode(stream, size, where, Counter() if seen is None else seen)
    except DataError:
        raise
    except Image.DecompressionBombError:
        raise DataError(f"{where}: more pixels than {MOST_PIXELS // 10**6} million; make the image smaller") from None
    except UnidentifiedImageError:
        raise DataError(f"{where}: {_what_it_is(source)}") from None
    except MemoryError:
        raise DataError(f"{where}: the image does not fit into memory") from None
    except Exception as error:  # whatever a decoder says of hostile bytes
        raise DataError(f"{where}: a broken image ({first_line(error)})") from None


def remarks_of(seen: Counter[str], images: int, origin: str) -> list[str]:
    """Say of how many images something was done, see `read_image`."""
    return [f"{origin}: {count} of {images} images {said}" for said, count in sorted(seen.items()) if count]


def read_image_folder(
    folder: str | Path, *, size: int, remarks: list[str] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Read `<folder>/<class>/<image>`, in the order of the names.

    Args:
        folder: of one domain, with one folder per class.
        size: pixels per side.
        remarks: sentences on files that are left out, and on what was done to images, are appended to it.

    Returns:
        images (n, size, size, 3) uint8, and the class of each (object array of text).

    Raises:
        DataError: no such folder, no image in it, or an image that cannot be read.
    """
    origin, folder = str(folder), checked_folder(folder)
    found = sorted(path for path in folder.glob("*/*") if path.suffix.lower() in ENDINGS and not path.is_dir())
    if not found:
        raise DataError(f"{origin}: holds no <class>/<image> ({', '.join(ENDINGS)})")
    images = _room_for(len(found), size, origin)
    seen: Counter[str] = Counter()
    for row, path in enumerate(found):
        images[row] = read_image(path, size, str(path), seen=seen)
    if remarks is not None:
        remarks += [*_left_out(folder, set(found), origin), *remarks_of(seen, len(found), origin)]
    return images, np.array([path.parent.name for path in found], dtype=object)


def read_image_column(
    values: Sequence,
    *,
    size: int,
    origin: str,
    column: str,
    base: Path | None = None,
    remarks: list[str] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Decode a column of image bytes, of paths, or of Hugging Face's `{bytes, path}`.

    Args:
        values: n values; None, nan or "" where a row has no image.
        size: pixels per side.
        origin, column: for messages.
        base: folder that paths are relative to.
        remarks: sentences on what was done to images are appended to it.

    Returns:
        images (n, size, size, 3) uint8, and which rows have one (n,) bool; the others are 0.

    Raises:
        DataError: naming file, row and column of an image that cannot be read.
    """
    images = _room_for(len(values), size, origin)
    present = np.zeros(len(values), dtype=bool)
    seen: Counter[str] = Counter()
    for row, value in enumerate(values):
        where = f"{origin}, row {row + 1}, column {column!r}"
        if isinstance(value, dict):
            if not {"bytes", "path"} & set(value):
                raise DataError(f"{where}: a struct of the fields {', '.join(map(str, value))}, wants bytes or path")
            value = value.get("bytes") or value.get("path")
        if value is None or (isinstance(value, float) and np.isnan(value)):
            continue
        if not isinstance(value, (bytes, str)):
            raise DataError(f"{where}: wants the bytes or the path of an image, got a {type(value).__name__}")
        if not value.strip():
            continue
        # A URL stays as it is, for its message.
        source = value if isinstance(value, bytes) or "://" in value else (base or Path()) / value.strip()
        images[row], present[row] = read_image(source, size, where, seen=seen), True
    if remarks is not None:
        remarks += remarks_of(seen, int(present.sum()), f"{origin}, column {column!r}")
    return images, present


def _decode(stream, size: int, where: str, seen: Counter[str]) -> np.ndarray:
    with warnings.catch_warnings():
        # Of a large image (the limit is below), and of a broken tag.
        warnings.simplefilter("ignore")
        with Image.open(stream) as image:
            pixels = image.width * image.height
            if pixels > MOST_PIXELS:
                raise DataError(
                    f"{where}: an image of {image.width} x {image.height} pixels; the most is "
                    f"{MOST_PIXELS // 10**6} million, make it smaller"
                )
            # Pillow turns a TIFF by itself while it loads it.
            turned = image.format == "TIFF" and _orientation(image) in _TURNS
            image.load()
            turn = _TURNS.get(_orientation(image))
            shown = _as_rgb(image, where, seen)
            shown = shown if turn is None else shown.transpose(turn)
            seen[_TURNED] += turned or turn is not None
            seen[_FIRST_FRAME] += _has_frames(image)
            return np.asarray(shown if shown.size == (size, size) else shown.resize((size, size), Image.BILINEAR))


def _as_rgb(image: Image.Image, where: str, seen: Counter[str]) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        seen[_DEEP] += 1
        image = _grey_of_8_bits(image, where)
    elif _may_be_transparent(image):
        layers = image.convert("RGBA")
        if layers.getextrema()[3][0] < 255:
            seen[_ON_WHITE] += 1
            white = Image.new("RGBA", layers.size, "white")
            white.alpha_composite(layers)
            return white.convert("RGB")
    return image.convert("RGB")


def _grey_of_8_bits(image: Image.Image, where: str) -> Image.Image:
    """Scale greys by the range of their type: 16 bits from 0 to 65535, and numbers with a fraction from 0 to 1."""
    values = np.asarray(image)
    if values.dtype.kind == "f":
        if not ((values >= 0) & (values <= 255)).all():
            raise DataError(f"{where}: pixels beyond 0 to 1 (or 255); save the image with 8 or 16 bits")
        factor = 255.0 if values.max() <= 1 else 1.0
    else:
        if values.min() < 0 or values.max() > 65535:
            raise DataError(f"{where}: pixels beyond 0 to 65535; save the image with 8 or 16 bits")
        factor = 1 / 257
    return Image.fromarray(np.rint(values * np.float32(factor)).astype(np.uint8))


def _may_be_transparent(image: Image.Image) -> bool:
    alpha = image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info
    return alpha or (image.mode == "P" and image.palette is not None and image.palette.mode.endswith("A"))


def _has_frames(image: Image.Image) -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # a broken second frame; the first is whole
        return False


def _orientation(image: Image.Image) -> int | None:
    try:
        return image.getexif().get(_ORIENTATION)
    except Exception:  # a broken tag says nothing; viewers show the picture
        return None


def _left_out(folder: Path, found: set[Path], origin: str) -> list[str]:
    """Name files of a folder of images that are not read, and classes without images."""
    others = sorted(
        path.relative_to(folder)
        for path in folder.rglob("*")
        if path not in found and not path.name.startswith(".") and path.name != "Thumbs.db" and not path.is_dir()
    )
    remarks = []
    if others:
        shown = ", ".join(str(path) for path in others[:3]) + (", ..." if len(others) > 3 else "")
        remarks.append(f"{origin}: {len(others)} files that are no <class>/<image> are left out ({shown})")
    used = {path.parent for path in found}
    empty = sorted(path.name for path in folder.iterdir() if path.is_dir() and path not in used)
    if empty := [name for name in empty if not name.startswith(".")]:
        remarks.append(f"{origin}: {len(empty)} folders hold no image and are no classes ({', '.join(empty[:5])})")
    return remarks


def _room_for(images: int, size: int, origin: str) -> np.ndarray:
    try:
        return np.zeros((images, size, size, 3), dtype=np.uint8)
    except MemoryError:
        bytes_wanted = images * size * size * 3
        raise DataError(
            f"{origin}: {images} images of {size} x {size} pixels take {bytes_wanted / 2**30:.0f} GiB of memory; "
            "choose a smaller data.image_size"
        ) from None


def _file(source: str | Path, where: str) -> Path:
    try:
        return checked_file(source)
    except DataError as error:
        # In a folder the image's path is its place.
        raise error if str(source) == where else DataError(f"{where}: {error}") from None


def _what_it_is(source: str | Path | bytes) -> str:
    if isinstance(source, bytes):
        head = source[:4096]
    else:
        with open(source, "rb") as stream:
            head = stream.read(4096)
    kind = kind_of(head) or (None if head.strip() else "it is empty")
    if kind is None:
        return "not an image"
    return f"a broken image ({kind} by its first bytes)" if kind.endswith(" image") else f"not an image ({kind})"
