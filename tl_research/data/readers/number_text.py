"""Numbers as people write them: thousands, decimal commas, currencies, percent, units, accounting signs.

What a text may mean is a function of its shape alone (its digits do not matter, but for a leading zero), so a column
is understood by its few shapes. Which of the meanings holds is decided over a whole column, in `deciding`.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import product

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

#: A number as programs write it.
PLAIN = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
INFINITE = r"[+-]?(?i:inf|infinity)"
#: Whole numbers beyond this are not all of them float64 numbers.
LARGEST_EXACT = 2**53
#: (decimal mark, thousands mark), the plainest first.
MARKS = (*product(".", ("", ",", " ", "'", "_")), *product(",", ("", ".", " ", "'", "_")))
_CURRENCIES = {
    "eur": "€",
    "euro": "€",
    "usd": "$",
    "us$": "$",
    "gbp": "£",
    "jpy": "¥",
    "cny": "¥",
    "inr": "₹",
    "rs": "₹",
}
_CODES = (
    *("chf", "sek", "nok", "dkk", "pln", "czk", "huf", "ron", "try", "rub", "brl", "mxn", "cad", "aud", "nzd", "sgd"),
    *("hkd", "twd", "krw", "thb", "zar", "ils", "aed", "sar", "idr", "myr", "php", "vnd", "clp", "cop", "ars"),
    *("r$", "a$", "c$", "ca$", "au$", "nz$", "hk$", "nt$", "s$", "mx$", "kr", "zł", "fr", "kč", "ft", "lei"),
)
_UNITS = frozenset(
    (
        *(
            "%",
            "‰",
            "°",
            "°c",
            "°f",
            "k",
            "K",
            "m",
            "M",
            "B",
            "bn",
            "mn",
            "mio",
            "mrd",
            "million",
            "billion",
            "mg",
            "g",
        ),
        *("gram", "kg", "t", "lb", "oz", "mm", "cm", "km", "in", "inch", "ft", "yd", "mi", "mile", "ml", "cl", "dl"),
        *("l", "L", "litre", "liter", "gal", "m2", "m²", "m3", "m³", "sqm", "sqft", "qm", "ha", "s", "sec", "second"),
        *("ms", "min", "minute", "h", "hr", "hour", "d", "day", "week", "month", "year", "yr", "w", "W", "kw", "kwh"),
        *("v", "V", "mah", "hz", "khz", "mhz", "ghz", "kb", "mb", "gb", "tb", "px", "mp", "dpi", "km/h", "mph", "mpg"),
        *("hp", "ps", "cc", "pt", "pc", "pcs", "piece", "kcal", "cal", "kj", "stk"),
    )
)
_ALIASES = {**_CURRENCIES, "percent": "%", "pct": "%", "gramme": "g", "stück": "stk", "foot": "ft", "feet": "ft"}
_SPACES = dict.fromkeys("\u00a0\u202f\u2009\u2007", " ") | {"\u2212": "-", "\u2019": "'", "\uff0e": ".", "\uff0c": ","}
_LONGEST = 40  # characters of a number with its unit
_DIGITS = str.maketrans("0123456789", "9999999999")
_CURRENCY = (
    r"(?:US|R|A|C|CA|AU|NZ|HK|NT|S|MX)?[$]|[£€¥₹₩₽₺₫₴₪₦₱฿¢]|(?:EUR|USD|GBP|JPY|CNY|INR|Rs\.?|kr|Fr\.?|"
    + "|".join(code.upper() for code in _CODES if code.isascii() and code.isalpha() and len(code) == 3)
    + r")(?![^\W\d_])"
)
_FORM = re.compile(
    rf"(?P<sign>[+-])?\s*(?P<prefix>{_CURRENCY})?\s*(?P<sign2>[+-])?\s*"
    r"(?P<body>(?:[0-9][0-9.,'_ ]*|[.,][0-9]+)(?:[eE][+-]?[0-9]+)?)"
    r"\s*(?P<suffix>[%‰°$£€¥₹₩₽₺₫₴₪₦₱฿¢\"]|°[CF]|(?:R|US)\$|[^\W\d_][^\s0-9(),;:_+\-]{0,11}[23]?)?(?P<sign3>-)?"
)


@dataclass(frozen=True)
class Form:
    """What texts of one shape may be.

    Fields:
        start, end: where the digits begin and end in the text.
        negative: whether the sign is a minus, or the number stands in brackets.
        unit: what stands beside the digits, by its one name: `%`, `$`, `kg`; empty where nothing does.
        marks: of `MARKS`, those that the digits can be read with.
    """

    start: int
    end: int
    negative: bool
    unit: str
    marks: tuple[tuple[str, str], ...]

    def number(self, text: str, decimal: str, thousands: str) -> float:
        """Return what the text is with these marks, which must be of `marks`."""
        body = fold(text)[self.start : self.end]
        if thousands:
            body = body.replace(thousands, "")
        value = float(body.replace(decimal, ".") if decimal != "." else body)
        return -value if self.negative else value


def fold(text: str) -> str:
    """Return the text of the same length with ASCII digits, blanks, minus and apostrophe."""
    if text.isascii():
        return text
    return "".join(
        _SPACES.get(char) or (str(unicodedata.decimal(char)) if char.isdecimal() and not char.isascii() else char)
        for char in text
    )


def form(text: str) -> Form | None:
    """Return how the text can be read as a number; None where it is none."""
    if len(text) > _LONGEST:
        return None
    folded = fold(text)
    shape = folded.translate(_DIGITS)
    at = shape.find("9")
    return None if at < 0 else _form(shape, folded[at] == "0")


def is_known_unit(unit: str) -> bool:
    """Whether a unit is a currency, a percent sign or a unit of measure rather than letters of a code."""
    return (
        unit in _UNITS
        or unit in _CODES
        or unit in _CURRENCIES.values()
        or any(unicodedata.category(char) == "Sc" for char in unit)
    )


def is_currency(unit: str) -> bool:
    """Whether a unit is a currency."""
    return unit in _CODES or any(unicodedata.category(char) == "Sc" for char in unit)


def forms(values: list[str]) -> list[Form | None]:
    """Return the `form` of each text; of many texts that mostly are no numbers, only of the first thousand."""
    first = [form(value) for value in values[:1000]]
    if len(values) > 1000 and sum(found is not None for found in first) < 500:
        return first + [None] * (len(values) - 1000)
    return first + [form(value) for value in values[1000:]]


@lru_cache(maxsize=100_000)
def _form(shape: str, leading_zero: bool) -> Form | None:
    text, offset, negative = shape, 0, False
    if text.startswith(("(", "-(")) and text.endswith(")"):
        offset = text.index("(") + 1
        text, negative = text[offset:-1], True
    found = _FORM.fullmatch(text)
    if found is None:
        return None
    signs = [found[name] for name in ("sign", "sign2", "sign3") if found[name]]
    if len(signs) > 1 or (signs and negative):
        return None
    prefix, suffix = found["prefix"] or "", found["suffix"] or ""
    body = found["body"].rstrip()
    digits = body.replace("9", "0", 1) if leading_zero else body
    marks = tuple(marks for marks in MARKS if _pattern(*marks).fullmatch(digits))
    if not marks:
        return None
    start = offset + found.start("body")
    return Form(start, start + len(body), negative or "-" in signs, _unit(prefix, suffix), marks)


@cache
def _pattern(decimal: str, thousands: str) -> re.Pattern:
    point, mark = re.escape(decimal), re.escape(thousands)
    whole = r"[0-9]+"
    if thousands:
        grouped = rf"[1-9][0-9]{{0,2}}(?:{mark}[0-9]{{3}})+"
        # Lakhs and crores: 12,34,567.
        indian = rf"|[1-9][0-9]?(?:{mark}[0-9]{{2}})+{mark}[0-9]{{3}}" if thousands == "," else ""
        whole = rf"(?:{grouped}{indian}|[0-9]+)"
    least = "*" if decimal == "." else "+"
    return re.compile(rf"(?:{whole}(?:{point}[0-9]{least})?|{point}[0-9]+)(?:[eE][+-]?[0-9]+)?")


def _unit(prefix: str, suffix: str) -> str:
    names = [_one_name(part) for part in (prefix, suffix) if part]
    return names[0] if len(set(names)) == 1 else "".join(names)


def unit_name(text: str) -> str:
    """Return the one name of a unit: `EUR` and `€` are one, so are `day` and `days`."""
    return _one_name(text.strip()) if text.strip() else ""


def _one_name(unit: str) -> str:
    name = unit.rstrip(".") or unit
    low = name.casefold()
    if low in _ALIASES:
        return _ALIASES[low]
    if len(low) > 3 and low.endswith("s"):
        low = low[:-1]
    return _ALIASES.get(low, low) if len(name) > 1 else name


def plain_mask(values: list[str]) -> np.ndarray:
    """Return (k,) bool: which texts are numbers as programs write them."""
    return matching(values, PLAIN)


def infinite_mask(values: list[str]) -> np.ndarray:
    """Return (k,) bool: which texts are infinity."""
    return matching(values, INFINITE)


def whole_mask(values: list[str]) -> np.ndarray:
    """Return (k,) bool: which texts are digits alone, with or without a sign."""
    return matching(values, r"[+-]?[0-9]+")


def leading_zero_mask(values: list[str]) -> np.ndarray:
    """Return (k,) bool: which texts are whole numbers that begin with a needless zero."""
    return matching(values, r"[+-]?0[0-9]+")


def matching(values: list[str], pattern: str) -> np.ndarray:
    """Return (k,) bool: which texts are of a pattern (RE2) as a whole."""
    if not values:
        return np.zeros(0, dtype=bool)
    texts = pa.array(values, pa.large_string())
    return pc.match_substring_regex(texts, f"^(?:{pattern})$").to_numpy(zero_copy_only=False)


def as_floats(values: list[str]) -> np.ndarray:
    """Return plain numbers (k,) float64."""
    return np.fromiter(map(float, values), dtype=np.float64, count=len(values))
