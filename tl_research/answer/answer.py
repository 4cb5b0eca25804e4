"""`Answer`: what is in an answer's folder."""

from __future__ import annotations

import json
import math
import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from tl_research.answer.table import as_frame
from tl_research.errors import DataError
from tl_research.storage.files import is_file, write_atomically
from tl_research.storage.names import ANSWER_FILE, MODEL_FILE

if TYPE_CHECKING:
    from tl_research.runs.predictor import Predictor

PAGE_FILE, TABLE_FILE, PLOT_FILE, CURVE_FILE = "answer.md", "answer.csv", "answer.png", "curve.png"


@dataclass(frozen=True)
class Answer:
    """A finished answer.

    Fields:
        folder: that holds it.
        facts: what `answer.json` holds; docs/compare.md lists its keys.
    """

    folder: Path
    facts: dict[str, Any]

    @classmethod
    def load(cls, folder: str | Path) -> Answer:
        """Read a finished answer.

        Raises:
            DataError: the folder has none, or its file is altered.
        """
        path = Path(folder) / ANSWER_FILE
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise DataError(f"{path}: there is no such file; is {folder} the folder of an answer?") from None
        except ValueError as error:
            raise DataError(f"{path}: cannot be read ({error}); with the file removed it is made again") from None
        if not isinstance(facts, dict) or "verdict" not in facts:
            raise DataError(f"{path}: is no answer; with the file removed it is made again")
        return cls(Path(folder), facts)

    @classmethod
    def of(cls, folder: Path, facts: dict[str, Any]) -> Answer:
        """Make an answer whose facts are what its file will hold: lists for tuples, None for what is not finite."""
        return cls(folder, _plain(facts))

    def save(self) -> None:
        """Write `answer.json`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.facts, indent=1, ensure_ascii=False, allow_nan=False)
        write_atomically(self.folder / ANSWER_FILE, text + "\n")

    @property
    def verdict(self) -> str:
        """Did the old data help, by how much, and what to use: one sentence."""
        return self.facts["verdict"]["said"]

    @property
    def metric(self) -> str:
        """Metric that was compared."""
        return self.facts["metrics"][0]

    @property
    def table(self) -> pd.DataFrame:
        """The rows of `answer.csv`: the answers, the parts in their order, and what sees no label of the new file."""
        return as_frame(self.facts["table"], self.facts["unlabelled"])

    @cached_property
    def model(self) -> Predictor:
        """The model that was refitted to all rows; `model.predict(frame)` applies it."""
        from tl_research.runs.predictor import Predictor  # here, as it imports what measures runs

        return Predictor.load(self.folder)

    @property
    def command(self) -> str:
        """The command that applies the model."""
        return f"tl-research predict {shlex.quote(str(self.folder))} --data FILE --out scores.parquet"


def is_finished(folder: str | Path) -> bool:
    """Return whether a folder has an answer and its model."""
    return all(is_file(Path(folder) / name) for name in (ANSWER_FILE, MODEL_FILE))


def _plain(value: Any) -> Any:
    """Return what JSON can hold: numbers that are not finite are null."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
