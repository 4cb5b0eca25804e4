"""Columns that name a row instead of describing it: row numbers, identifiers, addresses.

What such a column says of one row says nothing of the next, so it is left out by default. A column that merely happens
to be distinct in each row (an amount, a price with cents, a time) is none: whole numbers count by themselves only where
so many draws out of so few numbers would have repeated some.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from tl_research.data.readers.number_text import matching

#: Rows with a value from which on distinct values are no chance.
FEWEST_ROWS = 20
#: Repeats that chance would give, from which on their absence is no chance (it has a probability of e^-10).
EXPECTED_REPEATS = 10
#: Share of the values that must be distinct under the name of an identifier.
DISTINCT = 0.5
#: A name such as `invoice_no` may also be a count (`visits_number`): there every row must differ, in this many rows.
ROWS_OF_A_NUMBER = 100
#: Share of the distinct texts that must be addresses.
ADDRESSES = 0.9
FEWEST_ADDRESSES = 5

#: The index of a table that was written with it.
INDEX_NAME = re.compile(r"Unnamed: ?\d+|index|level_\d+|__index_level_\d+__|row_?(?:names?|num(?:ber)?|id|nr)", re.I)
_ID = re.compile(r"(?:^|[\W_])(?:id|ids|uid|guid|uuid|pk|key)$", re.I)
_ID_CAMEL = re.compile(r"[a-z](?:Id|ID|Key|Uid|Uuid|Guid)$")
_NUMBER = re.compile(r"(?:^|[\W_])(?:nr|no|num|number)$", re.I)
_PHONE = re.compile(r"(?:^|[\W_])(?:tele?phone|phone|tel|mobile|cell|fax)(?:[\W_]?(?:nr|no|num|number))?$", re.I)

EMAIL, LINK, UUID, PHONE = "e-mail addresses", "web addresses", "UUIDs", "phone numbers"
_PATTERNS = {
    EMAIL: r"[^@\s,;]+@[^@\s,;]+\.[A-Za-z]{2,}",
    LINK: r"(?i:https?://|ftp://|www\.)\S+",
    UUID: r"\{?[0-9A-Fa-f]{8}-?(?:[0-9A-Fa-f]{4}-?){3}[0-9A-Fa-f]{12}\}?",
    PHONE: r"\+[0-9][0-9 ()./-]{6,18}[0-9]|\([0-9]{3}\) ?[0-9]{3}-[0-9]{4}|[0-9]{3}-[0-9]{3}-[0-9]{4}",
}
_PHONE_UNDER_ITS_NAME = r"[+(]?[0-9][0-9 ()./-]{5,20}[0-9]"


def is_called_identifier(name: str) -> bool:
    """Whether a column is called as identifiers are: `customer_id`, `orderId`, `uuid`, `Unnamed: 0`."""
    return bool(INDEX_NAME.fullmatch(name) or _ID.search(name) or _ID_CAMEL.search(name))


def identifier_reason(name: str, columns: Sequence[pd.Series], row_numbers: Sequence[np.ndarray]) -> str:
    """Say why a column names the rows; empty where it does not.

    Args:
        name: of the column.
        columns: typed, of each domain: float64 with nan where missing, or objects with None.
        row_numbers: of each domain, (n,) int64: the number of each row in its file.
    """
    present = [column.notna().to_numpy() for column in columns]
    values = [column.to_numpy()[mask] for column, mask in zip(columns, present, strict=True)]
    rows = [numbers[mask] for numbers, mask in zip(row_numbers, present, strict=True)]
    total = sum(map(len, values))
    if total < FEWEST_ROWS:
        return ""
    distinct = pd.unique(np.concatenate(values))
    number = [_whole(part) for part in values]
    if all(part is not None for part in number) and (why := _counts(number, rows)):
        return why
    if values[0].dtype == object and (why := _addresses(name, list(distinct), total)):
        return why
    if values[0].dtype != object and any(part is None for part in number):
        return ""  # fractions
    said = f"is called an identifier and has {len(distinct):,} distinct values in {total:,} rows"
    if is_called_identifier(name) and len(distinct) >= DISTINCT * total:
        return said
    if _PHONE.search(name) and len(distinct) >= DISTINCT * total and all(part is not None for part in number):
        digits = np.floor(np.log10(np.maximum(np.concatenate(number), 1))) + 1
        if ((digits >= 7) & (digits <= 15)).all():
            return f"holds {PHONE}"
    return said if _NUMBER.search(name) and len(distinct) == total >= ROWS_OF_A_NUMBER else ""


def _counts(values: Sequence[np.ndarray], rows: Sequence[np.ndarray]) -> str:
    """Say that whole numbers count the rows, in every domain of enough rows."""
    said = ""
    for number, row in zip(values, rows, strict=True):
        if len(pd.unique(number)) < len(number):
            return ""
        if len(number) < FEWEST_ROWS:
            continue
        if len(np.unique(number - row)) == 1 or len(np.unique(number + row)) == 1:
            said = said or "numbers the rows"
            continue
        span = number.max() - number.min() + 1
        if len(number) ** 2 / (2 * span) < EXPECTED_REPEATS:
            return ""
        said = "has another whole number in each row, as numbers of rows have"
    return said


def _whole(values: np.ndarray) -> np.ndarray | None:
    """Values as whole numbers (n,) float64; None where some are none, or have more digits than float64 holds."""
    if values.dtype == object:
        texts = list(pd.unique(values))
        if not texts or not matching(texts, "[0-9]{1,15}").all():
            return None
        values = values.astype(np.float64)
    return values if (values == np.round(values)).all() else None


def _addresses(name: str, texts: list[str], total: int) -> str:
    if len(texts) < FEWEST_ADDRESSES:
        return ""
    patterns = _PATTERNS | ({PHONE: _PHONE_UNDER_ITS_NAME} if _PHONE.search(name) else {})
    for what, pattern in patterns.items():
        # A link or a code that many rows share (a referrer, a shop) is a category; a person's address is personal.
        if what != EMAIL and len(texts) < DISTINCT * total:
            continue
        if matching(texts, pattern).mean() >= ADDRESSES:
            return f"holds {what}"
    return ""
