"""Files of public data sets: fetched from their public origin or a mirror, verified, never left half-written.

The origin of a file is a public repository at a fixed commit. A mirror is a folder or an http(s) address with
the layout `<mirror>/<mirror folder of the set>/<NAME or NAME.gz>`. If a mirror is given, no other place is asked.

Why not pooch (tried: 1.9.0, against the tests of this file)? A download that was cut begins again at byte 0. A mirror
cannot be a folder, and a missing NAME does not lead to NAME.gz. Wrong bytes, 403 and 404 are asked for again like a cut
connection. A server that sends a byte now and then holds the program for ever, and nothing stops at the known size.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import os
import tempfile
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from tl_research.errors import DataError

ORIGIN = "https://raw.githubusercontent.com/{repo}/{commit}/{path}"
MIRROR_VARIABLE = "TL_RESEARCH_MIRROR"
ROOT_VARIABLE = "TL_RESEARCH_DATA"
ATTEMPTS = 4
TIMEOUT = 30.0  # seconds without one byte
SLOWEST = 10_000  # bytes/s below which an attempt is given up
PAUSE = 0.5  # seconds before the second attempt, doubled for each one after it
_CHUNK = 1 << 16


@dataclass(frozen=True)
class RemoteFile:
    """One file of a data set, and what its bytes must be.

    Fields:
        name: file name, in the local folder and in a mirror.
        repo, commit, path: the public repository it comes from.
        bytes, sha256: of the uncompressed file.
        mirror_folder: folder of a mirror that holds it.
        made_from: what a file without a public origin was made from; empty for all others.
    """

    name: str
    repo: str
    commit: str
    path: str
    bytes: int
    sha256: str
    mirror_folder: str = ""
    made_from: str = ""

    @property
    def url(self) -> str:
        """Address of the public origin."""
        return ORIGIN.format(repo=self.repo, commit=self.commit, path=quote(self.path))


def data_root(root: str | Path | None = None) -> Path:
    """Return `root`, or the folder named by `TL_RESEARCH_DATA`, or `~/.cache/tl_research`."""
    return Path(root or os.environ.get(ROOT_VARIABLE) or "~/.cache/tl_research").expanduser()


def fetch(
    dataset: str,
    files: Sequence[RemoteFile],
    *,
    root: str | Path | None = None,
    mirror: str | Path | None = None,
    timeout: float = TIMEOUT,
    attempts: int = ATTEMPTS,
) -> Path:
    """Bring the files of a data set into `<root>/<dataset>`. Files that are already there and right stay untouched.

    Args:
        dataset: name of the set, and of its folder.
        files: what it consists of.
        root: folder above it; see `data_root`.
        mirror: folder or http(s) address to take the files from; default `TL_RESEARCH_MIRROR`, else the origin.
        timeout: seconds without a byte before an attempt counts as failed.
        attempts: number of tries per file. After a cut, the next try resumes if the server allows it.

    Returns:
        The folder that holds the files.

    Raises:
        DataError: a file could not be had, or its bytes are not the expected ones. Nothing of it is left behind.
    """
    mirror = str(mirror or os.environ.get(MIRROR_VARIABLE) or "")
    folder = data_root(root) / dataset
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder}: cannot make this folder ({error.strerror}); set data.root") from None
    for file in files:
        if not is_right(folder / file.name, file):
            _bring(file, folder, mirror, timeout, attempts)
    return folder


def ensure(dataset: str, files: Sequence[RemoteFile], root: str | Path | None = None) -> Path:
    """Return the folder of a data set. Nothing is downloaded unless a mirror is set.

    Raises:
        DataError: a file is absent or wrong and no mirror is set; the message names the command to run.
    """
    if os.environ.get(MIRROR_VARIABLE):
        return fetch(dataset, files, root=root)
    folder = data_root(root) / dataset
    for file in files:
        path = folder / file.name
        if not is_right(path, file):
            state = "is not the expected file" if path.exists() else "is not there"
            where = f" (with data.root={root})" if root else ""
            raise DataError(f"{path} {state}; run: tl-research data fetch {dataset}{where}")
    return folder


def is_right(path: Path, file: RemoteFile) -> bool:
    """Whether `path` holds exactly the bytes of `file`."""
    try:
        return path.stat().st_size == file.bytes and _sha256(path) == file.sha256
    except (FileNotFoundError, NotADirectoryError):
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _bring(file: RemoteFile, folder: Path, mirror: str, timeout: float, attempts: int) -> None:
    # Each fetch works in its own temporary folder, so that two processes that fetch one file do not collide.
    with tempfile.TemporaryDirectory(dir=folder, prefix=f".{file.name}.") as work:
        part = Path(work) / "part"
        if mirror.startswith(("http://", "https://")):
            base = f"{mirror.rstrip('/')}/{quote(file.mirror_folder)}/{quote(file.name)}"
            source = _download_either(file, base, part, timeout, attempts)
        elif mirror:
            source = _copy(file, Path(mirror).expanduser() / file.mirror_folder / file.name, part)
        elif file.made_from:
            raise DataError(
                f"{file.name}: has no public origin, it was made from {file.made_from}; give a copy with --mirror "
                f"DIR|URL or {MIRROR_VARIABLE}"
            )
        else:
            source = file.url
            if not _download(file, source, part, file.bytes, timeout, attempts):
                raise DataError(f"{file.name}: {source} answers 404 (not found); give a mirror with --mirror DIR|URL")
        _verify(file, part, source)
        os.chmod(part, 0o644)
        os.replace(part, folder / file.name)


def _verify(file: RemoteFile, part: Path, source: str) -> None:
    size, got = part.stat().st_size, _sha256(part)
    if size != file.bytes or got != file.sha256:
        more = "more than " if size > file.bytes else ""
        raise DataError(
            f"{file.name}: {source} gave wrong bytes: expected {file.bytes} bytes with sha256 {file.sha256}, "
            f"got {more}{size} bytes with sha256 {got}; nothing was kept"
        )


def _copy(file: RemoteFile, path: Path, part: Path) -> str:
    packed = path.with_name(f"{path.name}.gz")
    if path.is_file():
        with path.open("rb") as stream:
            _write(stream, part, file.bytes)
        return str(path)
    if packed.is_file():
        _unpack(file, packed, part, str(packed))
        return str(packed)
    raise DataError(f"{file.name}: the mirror holds neither {path} nor {packed}")


def _download_either(file: RemoteFile, base: str, part: Path, timeout: float, attempts: int) -> str:
    if _download(file, base, part, file.bytes, timeout, attempts):
        return base
    packed = part.with_name("packed")
    if not _download(file, f"{base}.gz", packed, None, timeout, attempts):
        raise DataError(f"{file.name}: the mirror holds neither {base} nor {base}.gz")
    _unpack(file, packed, part, f"{base}.gz")
    return f"{base}.gz"


def _unpack(file: RemoteFile, packed: Path, part: Path, source: str) -> None:
    try:
        with gzip.open(packed, "rb") as stream:
            _write(stream, part, file.bytes)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(
            f"{file.name}: {source} is not a whole gzip file ({error}): expected sha256 {file.sha256}, "
            f"got sha256 {_sha256(packed)} for the packed file; nothing was kept"
        ) from None


def _write(stream: BinaryIO, part: Path, limit: int) -> None:
    with part.open("wb") as out:
        # One byte over the limit is enough to know that the file is wrong.
        left = limit + 1
        while left and (chunk := stream.read(min(_CHUNK, left))):
            out.write(chunk)
            left -= len(chunk)


class _Cut(Exception):
    """The connection ended early; the text says how."""


def _download(file: RemoteFile, url: str, part: Path, limit: int | None, timeout: float, attempts: int) -> bool:
    """Download to `part`, resuming after a cut; False where the server says 404."""
    why = ""
    for attempt in range(attempts):
        if attempt:
            time.sleep(PAUSE * 2 ** (attempt - 1))
        try:
            _attempt(url, part, limit, timeout)
            return True
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return False
            if error.code == 416:  # range not satisfiable: the part here is no beginning of the file there
                part.unlink(missing_ok=True)
            why = f"HTTP {error.code} {error.reason}"
            if error.code < 500 and error.code not in (408, 416, 429):
                break
        except (_Cut, OSError, http.client.HTTPException) as error:
            why = str(getattr(error, "reason", None) or error) or type(error).__name__
    have = part.stat().st_size if part.exists() else 0
    raise DataError(
        f"{file.name}: could not be downloaded from {url} ({why}; {have} of {file.bytes} bytes came, nothing was "
        f"kept). Run the command again, or give another place with --mirror DIR|URL or {MIRROR_VARIABLE}"
    )


def _attempt(url: str, part: Path, limit: int | None, timeout: float) -> None:
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "tl_research"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        resumed = answer.status == 206 and (answer.headers.get("Content-Range") or "").startswith(f"bytes {have}-")
        start = have if resumed else 0
        length = answer.headers.get("Content-Length")
        whole = start + int(length) if length and length.isdigit() else limit
        # Without a deadline, a server that sends a byte now and then would hold the program for ever.
        deadline = time.monotonic() + timeout + (whole or 0) / SLOWEST
        size = start
        with part.open("r+b" if resumed else "wb") as out:
            out.seek(start)
            while chunk := answer.read1(_CHUNK):
                out.write(chunk)
                size += len(chunk)
                if limit is not None and size > limit:
                    return
                if time.monotonic() > deadline:
                    raise _Cut(f"slower than {SLOWEST} bytes/s")
    if whole is not None and size < whole:
        raise _Cut("the connection was cut")
