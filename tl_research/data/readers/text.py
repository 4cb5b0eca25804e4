"""Free text: columns of a table as one text per row, and files of labelled lines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from tl_research.data.readers.columns import as_text
from tl_research.data.readers.paths import read_bytes
from tl_research.data.readers.tabular import require_column
from tl_research.errors import DataError


def join_text(
    frame: pd.DataFrame,
    columns: Sequence[str],
    origin: str,
    key: str = "data.text_columns",
    missing: Sequence[str] = (),
) -> np.ndarray:
    """Join text columns, a line break between them; None where a row has no text in any of them.

    Args:
        frame: the rows.
        columns: their order is that of the result.
        origin: file, for messages.
        key: of the configuration that names the columns.
        missing: words that mean "no text" beside the empty cell.
    """
    for column in columns:
        require_column(frame, column, key, origin)
    parts = [as_text(frame[column], missing) for column in columns]
    joined = np.empty(len(frame), dtype=object)
    for row, texts in enumerate(zip(*parts, strict=True)):
        present = [text for text in texts if text]
        joined[row] = "\n".join(present) if present else None
    return joined


def read_labelled_lines(path: Path, *, encoding: str, labels: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Read lines `label<TAB>text`.

    Args:
        path: the file.
        encoding: of its bytes.
        labels: the labels there are; their places are the classes.

    Returns:
        texts (n,) object, and classes (n,) int64.

    Raises:
        DataError: naming the row of a line without a tab, without text, or with another label.
    """
    rows = _lines(path, encoding)
    texts, classes = np.empty(len(rows), dtype=object), np.empty(len(rows), dtype=np.int64)
    for row, line in enumerate(rows):
        label, tab, text = line.partition("\t")
        if not tab or not text.strip():
            raise DataError(f"{path}, row {row + 1}: wants label<TAB>text, got {line[:40]!r}")
        if label not in labels:
            raise DataError(f"{path}, row {row + 1}: the label {label!r} is none of {', '.join(labels)}")
        texts[row], classes[row] = text.strip(), labels.index(label)
    return texts, classes


def read_lines(path: Path, *, encoding: str) -> np.ndarray:
    """Read one text per line; (n,) object."""
    rows = [line.strip() for line in _lines(path, encoding)]
    texts = np.empty(len(rows), dtype=object)
    texts[:] = rows
    return texts


def _lines(path: Path, encoding: str) -> list[str]:
    data = read_bytes(path)
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}: byte {error.start} (line {line}) is not {encoding} text") from None
    # Not splitlines(): it also breaks at characters (form feeds, U+0085) that occur inside a text.
    return [line.rstrip("\r") for line in text.split("\n") if line.strip()]
