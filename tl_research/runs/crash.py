"""What is said of an error that nobody expected: one line, and where its traceback lies."""

from __future__ import annotations

import platform
import sys
import tempfile
import traceback
from pathlib import Path

from tl_research import __version__

#: In the folder of the run that it ended.
ERROR_FILE = "error.txt"


def belongs_to(error: BaseException, folder: str | Path) -> None:
    """Note in an error the folder of the run that it ended, for `report`; the innermost run keeps it."""
    if folder_of(error) is None:
        error.run_folder = Path(folder)


def folder_of(error: BaseException) -> Path | None:
    """The folder of the run that an error ended; None outside a run."""
    return getattr(error, "run_folder", None)


def report(error: BaseException) -> str:
    """Write the traceback to a file and return the one line that names the error, the file and what to do.

    The file is `error.txt` in the folder of the run that the error ended; outside a run, or where that cannot be
    written, one in the temporary folder.
    """
    first = (str(error).strip() or "no message").split("\n")[0]
    shown = first if len(first) <= 300 else f"{first[:300]}..."
    where = f"the traceback is in {path}" if (path := _write(error)) else "its traceback could be written nowhere"
    return (
        f"{type(error).__name__}: {shown} (a fault of tl-research, or of a plugin; {where}, "
        "which a report of the fault should hold; TL_RESEARCH_DEBUG=1 shows it here)"
    )


def _write(error: BaseException) -> Path | None:
    lines = traceback.format_exception(error)
    versions = f"tl_research {__version__}, Python {platform.python_version()}, {platform.platform()}\n"
    text = f"{versions}{' '.join(sys.argv)}\n\n{''.join(lines)}"
    folder = folder_of(error)
    if folder is not None and folder.is_dir():
        try:
            (folder / ERROR_FILE).write_text(text, encoding="utf-8", errors="backslashreplace")
            return folder / ERROR_FILE
        except OSError:
            pass  # full, or read-only: then beside it
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="tl-research-error-", suffix=".txt", delete=False, encoding="utf-8", errors="backslashreplace"
        ) as file:
            file.write(text)
            return Path(file.name)
    except OSError:
        return None
