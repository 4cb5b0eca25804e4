"""Several files of interactions as one task: who and what is the same in all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tl_research.errors import DataError
from tl_research.interactions.files import RawLog
from tl_research.interactions.log import Log

SHARED = ("users", "items", "both", "none")
#: Ids that are whole numbers below so many times their count number the rows of each file by themselves.
PLAIN_NUMBERS = 20


@dataclass(frozen=True)
class Shops:
    """The logs of a task and the ids behind their codes.

    Fields:
        logs: one per file; the last is the target.
        users, items: ids by code; of what is not shared an id stands once per file.
        remarks: what was left out, and what was taken to be the same.
    """

    logs: tuple[Log, ...]
    users: np.ndarray
    items: np.ndarray
    remarks: tuple[str, ...]


def together(raws: Sequence[RawLog], *, shared: str | None = None, are_described: bool = False) -> Shops:
    """Give users and items codes that all files share.

    Args:
        raws: the files; the target last.
        shared: what the same id in two files means: `users`: the same user; `items`: the same item; `both`; `none`.
            None: the same, where ids of the two files coincide and are no plain numbers.
        are_described: whether attributes of the items are known.

    Raises:
        DataError: `shared` is left out, and ids of two files coincide that are plain numbers, which may number each
            file by itself.
    """
    linked = False
    codes, names, remarks = {}, {}, [line for raw in raws for line in raw.remarks]
    for what in ("user", "item"):
        ids = [getattr(raw, f"{what}s") for raw in raws]
        same = shared in (f"{what}s", "both") if shared is not None else _are_shared(ids, what, raws)
        codes[what], names[what] = _codes(ids, same)
        common = len(ids) > 1 and same and _in_common(ids)
        if common:
            many = f"{what}s of {raws[-1].origin} are" if common > 1 else f"{what} of {raws[-1].origin} is"
            remarks.append(f"{common:,} {many} in another file too: the same id, the same {what}")
            linked = True
    if len(raws) > 1 and not linked:
        reach = "reaches it by the attributes of items alone" if are_described else "cannot reach it"
        remarks.append(
            f"{raws[-1].origin} shares neither a user nor an item with another file: what is learnt there {reach}"
        )
    logs = tuple(
        Log(
            raw.origin,
            codes["user"][place][raw.user],
            codes["item"][place][raw.item],
            len(names["user"]),
            len(names["item"]),
            raw.rating if all(each.rating is not None for each in raws) else None,
            raw.time,
        )
        for place, raw in enumerate(raws)
    )
    return Shops(logs, names["user"], names["item"], tuple(remarks))


def _codes(ids: Sequence[np.ndarray], same: bool) -> tuple[list[np.ndarray], np.ndarray]:
    if same:
        code, names = pd.factorize(np.concatenate(ids))
        cuts = np.cumsum([len(part) for part in ids])[:-1]
        return np.split(code.astype(np.int64), cuts), np.asarray(names, dtype=object)
    starts = np.concatenate([[0], np.cumsum([len(part) for part in ids])])
    return [start + np.arange(len(part)) for start, part in zip(starts, ids, strict=False)], np.concatenate(ids)


def _in_common(ids: Sequence[np.ndarray]) -> int:
    return len(np.intersect1d(ids[-1].astype(str), np.concatenate(ids[:-1]).astype(str)))


def _are_shared(ids: Sequence[np.ndarray], what: str, raws: Sequence[RawLog]) -> bool:
    if len(ids) < 2 or not _in_common(ids):
        return False
    if all(_are_plain_numbers(part) for part in ids):
        raise DataError(
            f"{raws[0].origin}, {raws[-1].origin}: the {what} ids of both are plain numbers, such as {ids[-1][0]!r}, "
            f"and coincide; is {ids[-1][0]} the same {what} in both? say what the files share: --shared users, items, "
            "both or none"
        )
    return True


def _are_plain_numbers(ids: np.ndarray) -> bool:
    texts = pd.Series(ids.astype(str))
    if not texts.str.fullmatch(r"\d{1,12}").all():
        return False
    return int(texts.astype(np.int64).max()) < PLAIN_NUMBERS * len(ids)
