"""Files that a reader sees whole or not at all, and that survive a power cut."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def is_file(path: str | Path) -> bool:
    """Whether there is such a file; no path is so long or so odd that it would be an error."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: str | Path) -> bool:
    """Whether there is such a folder; as `is_file`."""
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):
        return False


def write_atomically(path: str | Path, content: str | bytes) -> None:
    """Write a file so that a reader sees the old content or the new one, never a part; survives a power cut.

    Args:
        path: file to write; its folder is made where there is none.
        content: text, written as UTF-8, or bytes.

    Raises:
        OSError: it cannot be written; the old file is untouched, and nothing is left beside it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        os.chmod(temporary, 0o644)
        move_into_place(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def move_into_place(temporary: str | Path, path: str | Path) -> None:
    """Give a finished file its name, in place of what had it; both are in one folder."""
    _sync(temporary)
    os.replace(temporary, path)
    # Without this a power cut may undo the renaming.
    _sync(Path(path).parent)


def version(path: str | Path) -> tuple[int, int] | None:
    """What changes whenever `write_atomically` writes a file; None where there is none."""
    try:
        stat = Path(path).stat()
    except FileNotFoundError:
        return None
    return stat.st_ino, stat.st_mtime_ns


def remove_leftovers(folder: str | Path) -> None:
    """Remove what `write_atomically` has left in `folder` where it was killed; for who holds the folder's lock."""
    for path in Path(folder).glob(".*.*"):
        # `.result.json.k3j9x0ab`: a dot, the file's name, and eight characters of `mkstemp`.
        if len(path.suffix) == 9 and "." in path.stem[1:]:
            path.unlink(missing_ok=True)


def _sync(path: str | Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
