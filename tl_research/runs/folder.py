"""The folder of one run: made, and what is said where it cannot be written."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path

from tl_research.errors import OutputError

#: In the folder of a finished run whose weights are being made again: what lies there as `model.ckpt` may be half done.
AGAIN_FILE = "model.again"


def make_folder(folder: Path, output: str) -> None:
    """Make the folder of a run.

    Raises:
        OutputError: it cannot be made; names the folder of the runs.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        in_place = next((part for part in (folder, *folder.parents) if part.is_file()), None)
        reason = f"{in_place} is a file" if in_place is not None else error.strerror
        raise OutputError(output, reason) from None


def is_of_writing(error: OSError, output: str) -> bool:
    """Whether an error of the file system is of the run's own folder, or of a disk that is full or read-only."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        return True
    names = [os.path.abspath(os.fsdecode(name)) for name in (error.filename, error.filename2) if isinstance(name, str)]
    return any(name.startswith(os.path.abspath(output)) for name in names)


def output_error(output: str, error: OSError) -> OutputError:
    """The one message of a run that cannot write, whatever temporary name the library that failed has used."""
    reason = error.strerror or str(error)
    temporary = tempfile.gettempdir()
    if error.errno == errno.ENOSPC and shutil.disk_usage(temporary).free < shutil.disk_usage(output).free:
        # Checkpoints pass through it.
        reason += f"; the temporary folder {temporary} has the least room"
    return OutputError(output, reason)
