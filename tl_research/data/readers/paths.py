"""Paths that a user gives: one check for every reader, and bytes read (and unpacked) within bounds."""

from __future__ import annotations

import errno
import os
import re
import stat
import zlib
from pathlib import Path

from tl_research.errors import DataError

#: A packed file is refused where it unpacks to more than this and more than `LARGEST_RATIO` times its size.
LARGEST_UNPACKED = 256 * 2**20
LARGEST_RATIO = 200
_CHUNK = 1 << 20
# `https:/x` too: `pathlib` eats a slash.
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/{1,3}(?=[^/]|$)")
_KINDS = (
    (b"PAR1", "a Parquet file"),
    (b"\x1f\x8b", "a gzip file"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ\0", "an xz file"),
    (b"\x28\xb5\x2f\xfd", "a zstandard file"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!", "a rar archive"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook (.xls)"),
    (b"\x93NUMPY", "a single array of numpy.save (.npy)"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"MATLAB 7.3", "a mat file of version 7.3 (HDF5)"),
    (b"MATLAB 5.0 MAT-file", "a mat file"),
    (b"ARROW1", "a Feather file"),
    (b"ORC", "an ORC file"),
    (b"Obj\x01", "an Avro file"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"%PDF", "a PDF"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"\x80\x03", "a pickle"),
    (b"\x80\x04\x95", "a pickle"),
    (b"\x80\x05\x95", "a pickle"),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself: run git lfs pull"),
)


def local_path(name: str | Path) -> Path:
    """Return a name as a path, `~` written out.

    Raises:
        DataError: it is a URL, names an unknown user, or can be no file's name. There need not be a file.
    """
    text = str(name)
    if "\0" in text:
        raise DataError(f"{text!r}: a path cannot hold the character NUL")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise DataError(f"{text!a}: the path is no valid text") from None
    if (url := _URL.match(text)) and not os.path.lexists(url[0].rstrip("/")):
        if url[1].lower() == "file":
            raise DataError(f"{text}: URLs are not read; write the path alone")
        raise DataError(f"{text}: URLs are not read; download the file and give its path")
    # `./~x` begins with no `~`; pathlib would take it for `~x`.
    expanded = os.path.expanduser(text)
    if text.startswith("~") and expanded == text and not os.path.lexists(text):
        raise DataError(f"{text}: there is no user of the name {text.split('/')[0]!r}")
    path = Path(expanded)
    try:
        os.stat(path)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise DataError(f"{text}: {_absent(path, error)}") from None
        if error.errno == errno.ENAMETOOLONG:
            raise DataError(f"{_short(text)}: the path is too long ({len(text)} characters)") from None
    return path


def checked_file(name: str | Path) -> Path:
    """Return the path of a file that can be read; one message says what it is instead.

    Raises:
        DataError: no file, a folder, a pipe or device, a link to nothing, a URL, or no permission.
    """
    path = local_path(name)
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise DataError(f"{name}: {_absent(path, error)}") from None
    if stat.S_ISDIR(mode):
        raise DataError(f"{name}: it is a folder, wants a file")
    if stat.S_ISFIFO(mode):
        raise DataError(f"{name}: it is a pipe; it would be read more than once, so write it to a file first")
    if not stat.S_ISREG(mode):
        kind = "a socket" if stat.S_ISSOCK(mode) else "a device"
        raise DataError(f"{name}: it is {kind}, wants a file")
    if not os.access(path, os.R_OK):
        raise DataError(f"{name}: there is no permission to read it")
    return path


def checked_folder(name: str | Path) -> Path:
    """Return the path of a folder that can be read; `DataError` as of `checked_file`."""
    path = local_path(name)
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise DataError(f"{name}: {_absent(path, error, 'folder')}") from None
    if not stat.S_ISDIR(mode):
        raise DataError(f"{name}: it is a file, wants a folder")
    if not os.access(path, os.R_OK | os.X_OK):
        raise DataError(f"{name}: there is no permission to read it")
    return path


def read_bytes(name: str | Path) -> bytes | bytearray:
    """Read a whole file; one whose name ends in `.gz`, in any case, is unpacked.

    Raises:
        DataError: what `checked_file` refuses, a failing disk, not gzip, truncated, or unpacked beyond the bounds.
    """
    path = checked_file(name)
    try:
        with open(path, "rb") as stream:
            return unpacked(stream, str(name)) if str(name).lower().endswith(".gz") else stream.read()
    except OSError as error:
        raise DataError(f"{name}: cannot be read ({error.strerror or error})") from None
    except MemoryError:
        raise DataError(f"{name}: does not fit into memory") from None


def unpacked(stream, origin: str) -> bytearray:
    """Unpack gzip, of one member or of several.

    Raises:
        DataError: not gzip, truncated, broken, or more than `LARGEST_UNPACKED` bytes of less than 1/`LARGEST_RATIO`.
    """
    out = bytearray()
    taken = 0
    unpack = zlib.decompressobj(wbits=31)
    pending = b""
    try:
        while pending := pending or stream.read(_CHUNK):
            if taken == 0 and pending[:2] != b"\x1f\x8b":
                kind = kind_of(pending) or "it is not packed"
                raise DataError(f"{origin}: not a gzip file ({kind}); give it a name that says so")
            if unpack.eof:
                if not pending.strip(b"\0"):
                    pending = b""  # padding
                    continue
                unpack = zlib.decompressobj(wbits=31)
            given = len(pending)
            out += unpack.decompress(pending, _CHUNK)
            pending = unpack.unused_data if unpack.eof else unpack.unconsumed_tail
            taken += given - len(pending)
            refuse_bomb(len(out), taken, origin)
        while taken and not unpack.eof and (piece := unpack.decompress(b"", _CHUNK)):
            out += piece
            refuse_bomb(len(out), taken, origin)
    except zlib.error as error:
        raise DataError(f"{origin}: a broken gzip file ({error})") from None
    if taken and not unpack.eof:
        raise DataError(f"{origin}: a truncated gzip file; copy it again")
    return out


def refuse_bomb(unpacked_bytes: int, packed_bytes: int, origin: str) -> None:
    """Raise `DataError` for content that is far larger than the file that holds it."""
    if unpacked_bytes > LARGEST_UNPACKED and unpacked_bytes > LARGEST_RATIO * packed_bytes:
        raise DataError(
            f"{origin}: unpacks to more than {LARGEST_UNPACKED // 2**20} MiB and {LARGEST_RATIO} times its size; "
            "where it is meant so, save it unpacked"
        )


def kind_of(data: bytes | bytearray) -> str | None:
    """Say what well-known kind of file some bytes begin; None for others, as text."""
    head = bytes(data[:4096])
    for magic, kind in _KINDS:
        # A table may well begin with the letters ORC.
        if head.startswith(magic) and (not magic.isascii() or len(magic) > 8 or not _is_text(head)):
            return kind
    if head.startswith(b"PK\x03\x04"):
        book = b"xl/" in head or b"[Content_Types].xml" in head
        return "an Excel workbook or another Office file" if book else "a zip archive"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "a WebP image"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "an HTML page, perhaps of a login or an error"
    if text.startswith(b"<?xml"):
        return "XML"
    if re.match(rb'\{\s*"|\[\s*[{\[]', text):
        return "JSON"
    return None


def first_line(error: BaseException) -> str:
    """Return the first line of what an exception says, or its name."""
    said = str(error).strip()
    return said.splitlines()[0][:300] if said else type(error).__name__


def _absent(path: Path, error: OSError, kind: str = "file") -> str:
    if error.errno == errno.ENOENT:
        if path.is_symlink():
            return f"it is a link to {os.readlink(path)}, which is not there (no such {kind})"
        return f"there is no such {kind}"
    if error.errno == errno.ENOTDIR:
        above = next((folder for folder in path.parents if folder.exists() and not folder.is_dir()), path.parent)
        return f"there is no such {kind}: {above} is a file, no folder"
    if error.errno == errno.ELOOP:
        return "it is a link that leads to itself"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "there is no permission to read it"
    return f"cannot be read ({error.strerror or error})"


def _is_text(head: bytes) -> bool:
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        # The last character may be cut.
        return error.start >= len(head) - 3 and b"\0" not in head
    return b"\0" not in head


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:60]}...{text[-15:]}"
