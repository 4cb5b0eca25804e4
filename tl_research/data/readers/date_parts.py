"""What a date is beside a day on a line: a place in the year, in the week and in the day.

A place on a circle is a pair of numbers, so that December is next to January for a linear model and for a tree alike:
with the share p of the turn, cos(2 pi p) and sin(2 pi p). The cosine is highest at the turn of the year, in the middle
of the weekend (Saturday and Sunday are above every other day) and at midnight.
"""

from __future__ import annotations

import numpy as np

MONTH, WEEKDAY, HOUR = "month", "weekday", "hour"
PARTS = (MONTH, WEEKDAY, HOUR)
WAVES = {"cos": np.cos, "sin": np.sin}


def turns(days: np.ndarray, part: str) -> np.ndarray:
    """Return the share of the turn (n,) in [0, 1) of days since 1970-01-01 (n,); nan where missing."""
    whole = np.floor(days)
    if part == HOUR:
        return days - whole
    share = np.full(len(days), np.nan)
    known = np.isfinite(whole)
    if part == WEEKDAY:  # 1970-01-01 is a Thursday, two days and a half before the middle of a weekend
        share[known] = ((whole[known] - 2.5) % 7) / 7
        return share
    months = whole[known].astype(np.int64).astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    share[known] = (months % 12 + 0.5) / 12
    return share


def parts_that_vary(days: np.ndarray, *, clock: bool = False) -> tuple[str, ...]:
    """Return the parts of `PARTS` that tell some of these days (n,) from others.

    Args:
        days: since 1970-01-01, or hours where `clock`.
        clock: clock times have no month and no weekday; those of 24 hours and more are spans and have no part.
    """
    days = days[np.isfinite(days)]
    if clock:
        return (HOUR,) if len(days) and 0 <= days.min() < days.max() < 24 else ()
    found = [part for part in PARTS if len(np.unique(turns(days, part))) > 1]
    if WEEKDAY in found and _begin_months(days):
        found.remove(WEEKDAY)  # 2020-01 is no Wednesday
    return tuple(found)


def part_names(name: str, parts: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of the columns that `part_columns` gives."""
    return tuple(f"{name} ({part} {wave})" for part in parts for wave in WAVES)


def part_columns(name: str, days: np.ndarray, parts: tuple[str, ...], *, clock: bool = False) -> dict[str, np.ndarray]:
    """Return the columns (n,) float64 of the parts: on the unit circle, and 0, its centre, where there is no date."""
    columns = {}
    for part in parts:
        share = turns(days / 24 if clock else days, part)
        for wave, function in WAVES.items():
            columns[f"{name} ({part} {wave})"] = np.nan_to_num(function(2 * np.pi * share))
    return columns


def _begin_months(days: np.ndarray) -> bool:
    whole = np.floor(days).astype(np.int64).astype("datetime64[D]")
    return bool((whole == whole.astype("datetime64[M]").astype("datetime64[D]")).all())
