"""Dates and clock times as people write them, as numbers: days since 1970-01-01, or hours.

`moments` says of one text alone what it may mean; whether 01/02/2020 is in January or in February is decided over a
whole column, in `deciding`.
"""

from __future__ import annotations

import datetime
import re
from functools import lru_cache

DATE, CLOCK = "date", "clock time"
#: How a date of three numbers is written where the year does not come first: day first, or month first.
ORDERS = ("dmy", "mdy")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = (
    r"(?P<month>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
)
_WEEKDAY = r"(?:(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?,?\s+)?"
_CLOCK = r"(?P<h>\d{1,2}):(?P<m>\d{2})(?::(?P<s>\d{2})(?:[.,](?P<f>\d{1,9}))?)?(?:\s*(?P<half>[ap])\.?m\.?)?"
_ZONE = r"(?:\s*(?P<zone>z|utc|gmt|[+-]\d{2}(?::?\d{2})?))?"
_TIME = rf"(?:(?:t|,?\s+){_CLOCK}{_ZONE})?"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_FORMS = tuple(
    re.compile(pattern, re.IGNORECASE | re.ASCII)
    for pattern in (
        rf"(?P<a>\d{{4}}|\d{{1,2}})(?P<mark>[-/.])(?P<b>\d{{1,2}})(?P=mark)(?P<c>\d{{4}}|\d{{1,2}})\.?{_TIME}",
        rf"{_WEEKDAY}{_DAY}(?:\s+of)?[-\s.]+{_MONTH}[-\s,]+(?P<year>\d{{4}}|\d{{2}}){_TIME}",
        rf"{_WEEKDAY}{_MONTH}\s+{_DAY},?\s+(?P<year>\d{{4}}){_TIME}",
        rf"(?P<year>\d{{4}})[-/\s]{_MONTH}[-/\s]{_DAY}{_TIME}",
        rf"{_MONTH}[-\s,]+(?P<year>\d{{4}})",
        r"(?P<year>\d{4})-(?P<number>\d{2})",
        r"(?P<year>\d{4})(?P<number>\d{2})(?P<day>\d{2})T(?P<h>\d{2}):?(?P<m>\d{2})(?::?(?P<s>\d{2}))?(?P<zone>Z)?",
    )
)
_COMPACT = re.compile(r"(?P<year>\d{4})(?P<number>\d{2})(?P<day>\d{2})", re.ASCII)
_CLOCK_ALONE = re.compile(
    r"(?P<h>\d{1,3}):(?P<m>\d{2})(?::(?P<s>\d{2})(?:[.,](?P<f>\d{1,9}))?)?(?:\s*(?P<half>[ap])\.?m\.?)?",
    re.I | re.ASCII,
)
_HOUR_ALONE = re.compile(r"(?P<h>\d{1,2})\s*(?P<half>[ap])\.?m\.?", re.IGNORECASE | re.ASCII)
_EPOCH = datetime.date(1970, 1, 1).toordinal()


def moments(text: str) -> tuple[str, dict[str, float]] | None:
    """Return what a text may mean as a date or a clock time; None where it is neither.

    Returns:
        `date` and the days since 1970-01-01 (of UTC where a zone is given) by each of `ORDERS` that it can be read
        with; or `clock time` and the hours.
    """
    if not text or len(text) > 60 or not any(char.isdigit() for char in text):
        return None
    for pattern in _FORMS:
        if found := pattern.fullmatch(text):
            days = _days(found.groupdict())
            return (DATE, days) if days else None
    found = _CLOCK_ALONE.fullmatch(text) or _HOUR_ALONE.fullmatch(text)
    if found is None:
        return None
    hours = _hours(found.groupdict(), limit=1000)
    return None if hours is None else (CLOCK, dict.fromkeys(ORDERS, hours))


def compact_day(text: str) -> float | None:
    """Return the days since 1970-01-01 of 20240131, where the year is in 1900 to 2100; else None."""
    found = _COMPACT.fullmatch(text)
    if found is None or not 1900 <= int(found["year"]) <= 2100:
        return None
    return _day(int(found["year"]), int(found["number"]), int(found["day"]))


def of_value(value: object) -> float:
    """Return a date or timestamp of a typed file as days since 1970-01-01 (UTC), a time or duration as hours."""
    if isinstance(value, datetime.datetime):  # pandas' Timestamp is one
        moment = value if value.tzinfo is None else value.astimezone(datetime.UTC).replace(tzinfo=None)
        return (moment - datetime.datetime(1970, 1, 1)) / datetime.timedelta(days=1)
    if isinstance(value, datetime.date):
        return float(value.toordinal() - _EPOCH)
    if isinstance(value, datetime.time):
        return value.hour + value.minute / 60 + (value.second + value.microsecond / 1e6) / 3600
    return value / datetime.timedelta(hours=1)


@lru_cache(maxsize=100_000)
def _day(year: int, month: int, day: int) -> float | None:
    try:
        return float(datetime.date(year, month, day).toordinal() - _EPOCH)
    except ValueError:
        return None


def _days(part: dict[str, str | None]) -> dict[str, float]:
    """Days by order; empty where it is no date."""
    hours = _hours(part, limit=25) if part.get("h") else 0.0
    if hours is None:
        return {}
    fraction = (hours - _zone_hours(part.get("zone"))) / 24
    if part.get("a") is None:
        year = _year(part["year"])
        if part.get("month"):
            month = _MONTHS.index(part["month"][:3].casefold()) + 1
        else:
            month = int(part["number"])
        if part.get("day") is None and not 1900 <= year <= 2100:
            return {}
        day = _day(year, month, int(part.get("day") or 1))
        return {} if day is None else dict.fromkeys(ORDERS, day + fraction)
    a, b, c = part["a"], part["b"], part["c"]
    if len(a) == 4:
        day = None if len(c) == 4 else _day(int(a), int(b), int(c))
        return {} if day is None else dict.fromkeys(ORDERS, day + fraction)
    padded = len(a) == len(b) == len(c) == 2
    if len(c) < 4 and not (len(c) == 2 and (part["mark"] == "/" or padded)):
        return {}  # 1.2.10 is a version rather than a day
    year = _year(c)
    found = {"dmy": _day(year, int(b), int(a)), "mdy": _day(year, int(a), int(b))}
    return {order: day + fraction for order, day in found.items() if day is not None}


def _year(text: str) -> int:
    # As strptime has it: 69 is 1969, 68 is 2068.
    return int(text) if len(text) == 4 else int(text) + (1900 if int(text) >= 69 else 2000)


def _hours(part: dict[str, str | None], *, limit: int) -> float | None:
    hour, minute, second = int(part["h"]), int(part.get("m") or 0), int(part.get("s") or 0)
    half = part.get("half")
    if half:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half in "pP" else 0)
    if hour >= limit or minute > 59 or second > 60:
        return None
    return hour + minute / 60 + (second + float(f"0.{part.get('f') or 0}")) / 3600


def _zone_hours(zone: str | None) -> float:
    if zone is None or zone[0] not in "+-":
        return 0.0
    digits = zone[1:].replace(":", "")
    hours = int(digits[:2]) + int(digits[2:] or 0) / 60
    return -hours if zone[0] == "-" else hours
