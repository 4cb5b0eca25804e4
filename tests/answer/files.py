"""Small files of two shops whose law is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

#: For the time that tests take; a learner of each kind is left.
FAST = {"method": {"trees": 5, "repeats": 1}}


def shop(rows: int, seed: int, *, turned: float = 1.0, noise: int = 6) -> pd.DataFrame:
    """Return visits whose purchase follows two of the columns; `turned=-1` in a shop where they mean the opposite."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(random.normal(size=(rows, 2 + noise)).round(4), columns=[f"x{i}" for i in range(2 + noise)])
    frame["channel"] = random.choice(["web", "app", "shop"], rows)
    score = 2.0 * turned * (frame["x0"] - frame["x1"]) + (frame["channel"] == "app")
    frame["bought"] = np.where(random.random(rows) < 1 / (1 + np.exp(-score)), "yes", "no")
    return frame


def amounts(rows: int, seed: int) -> pd.DataFrame:
    """Return the same visits with an amount of money in place of the purchase."""
    frame = shop(rows, seed)
    score = 20 * (frame["x0"] - frame["x1"]) + 100 + np.random.default_rng(seed + 1).normal(size=rows)
    return frame.drop(columns="bought").assign(amount=score.round(2))


def written(folder: Path, **frames: pd.DataFrame) -> None:
    """Write each frame as `<name>.csv`."""
    for name, frame in frames.items():
        frame.to_csv(folder / f"{name}.csv", index=False)
