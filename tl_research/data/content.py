"""Digests of the user's own files. A split is drawn by them, and two copies of one file are recognised by them."""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from pathlib import Path

#: The rule by which rows of the user's own files are split. It enters their fingerprint: another rule makes new runs.
SPLIT_RULE = b"by content"


def content_digest(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, or of the names and bytes of a folder's images (`<class>/<image>`).

    It does not depend on where the file lies or on how its path is spelled.
    """
    path = Path(os.path.expanduser(path))
    if not path.is_dir():
        return file_digest(path).hex()
    digest = hashlib.sha256()
    for file in sorted(file for file in path.glob("*/*") if file.is_file()):
        digest.update(file.relative_to(path).as_posix().encode() + b"\0" + file_digest(file))
    return digest.hexdigest()


def file_digest(path: Path) -> bytes:
    """Return the SHA-256 of a file's bytes. The file is read again only if its size or its time has changed."""
    stat = path.stat()
    return _sha256(str(path.resolve()), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=4096)
def _sha256(path: str, size: int, modified: int) -> bytes:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def is_same_file(one: str | Path, other: str | Path) -> bool:
    """Whether two paths lead to the same file or folder, however they are spelled or linked."""
    one, other = Path(os.path.expanduser(one)), Path(os.path.expanduser(other))
    return one.exists() and other.exists() and one.samefile(other)
