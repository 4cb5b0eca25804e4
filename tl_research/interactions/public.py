"""Public sets of interactions, by name: the logs of a pair of domains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from tl_research.data.fetch import ensure
from tl_research.errors import ConfigError, DataError, nearest
from tl_research.interactions.files import Columns, read_log
from tl_research.interactions.log import Log
from tl_research.interactions.negatives_file import parsed_negatives
from tl_research.interactions.public_files import FILES
from tl_research.interactions.ratings import read_ratings
from tl_research.interactions.sampled import Negatives
from tl_research.interactions.together import Shops, together

#: Target -> sources, as DisenCDR pairs the departments.
AMAZON_PAIRS = (
    ("phone", "electronic"), ("electronic", "phone"), ("sport", "phone"), ("phone", "sport"),
    ("sport", "cloth"), ("cloth", "sport"), ("cloth", "electronic"), ("electronic", "cloth"),
)  # fmt: skip
#: (target, source) -> BiTGCF's name of the folder with negatives for the target's test rows.
NEGATIVES = {("phone", "electronic"): "cell_electronic", ("electronic", "phone"): "electronic_cell"}
DOUBAN_DOMAINS = ("book", "music")
#: Ends of Douban's scale, in stars.
STARS = (1.0, 5.0)
MARKETS = ("ca", "uk", "fr", "de", "mx", "jp", "in")


@dataclass(frozen=True)
class Pair:
    """Two domains with the split that their files come with.

    Fields:
        train, test: of the target; `test` is each user's one held-out interaction.
        source: training interactions of the other domain.
        source_test: its held-out interactions; None where they were not asked for.
    """

    train: Log
    test: Log
    source: Log
    source_test: Log | None = None


def amazon_pair(target: str, source: str, *, both: bool = False, root: str | None = None) -> Pair:
    """Return two departments of `amazon_cdr` with their shared users.

    The test rows are all that were held out (`test_original`), those of items without a training interaction too.

    Args:
        target, source: names of the departments.
        both: whether the source's held-out rows are read too.
        root: folder of the files; None: the usual one.

    Raises:
        ConfigError: there is no such pair.
        DataError: the files are not there.
    """
    if (target, source) not in AMAZON_PAIRS:
        known = [f"{one}<-{other}" for one, other in AMAZON_PAIRS]
        raise ConfigError(f"amazon_cdr: no pair {target}<-{source}{nearest(f'{target}<-{source}', known)}")
    folder = ensure("amazon_cdr", FILES["amazon_cdr"], root)
    own, other = f"{target}_{source}", f"{source}_{target}"
    train, test = (_codes(folder / f"{own}__{part}.txt") for part in ("train", "test_original"))
    theirs = _codes(folder / f"{other}__train.txt")
    # Without them the codes are those of a run of the target alone.
    held_out = _codes(folder / f"{other}__test_original.txt") if both else theirs[:0]
    of_source = np.concatenate([theirs, held_out])
    users = 1 + max(part[:, 0].max() for part in (train, test, of_source))
    items = 1 + max(part[:, 1].max() for part in (train, test))
    total = int(items + 1 + of_source[:, 1].max())

    def log(name: str, rows: np.ndarray, first: int) -> Log:
        rows = np.unique(rows, axis=0)
        return Log(name, rows[:, 0], rows[:, 1] + first, int(users), total)

    source_test = log(source, held_out, int(items)) if both else None
    return Pair(log(target, train, 0), log(target, test, 0), log(source, theirs, int(items)), source_test)


def _codes(path) -> np.ndarray:
    return pd.read_csv(path, sep="\t", header=None).to_numpy(dtype=np.int64)[:, :2]


def amazon_negatives(target: str, source: str, *, root: str | None = None) -> Negatives:
    """Return BiTGCF's 99 negatives of each test row of a pair, in the codes of `amazon_pair`.

    The ids of these files are those of `amazon_pair` as they stand: users and the target's items are numbered alike, as
    the files' own rows show (`tests/interactions/test_sampled.py`).

    Raises:
        ConfigError: there are no negatives for this pair.
        DataError: the files are not there, or their rows are not the pair's test rows.
    """
    if (target, source) not in NEGATIVES:
        known = ", ".join("<-".join(pair) for pair in NEGATIVES)
        raise ConfigError(f"amazon_cdr: no frozen negatives for {target}<-{source}; there are those of {known}")
    path = (
        ensure("amazon_cdr_negatives", FILES["amazon_cdr_negatives"], root)
        / f"{NEGATIVES[target, source]}__test_neg.txt"
    )
    pair = amazon_pair(target, source, root=root)
    users, items = ({str(code): code for code in range(count)} for count in (pair.test.users, pair.test.items))
    # A line is "(user, item)", a tab, and the negatives.
    lines = [
        line.replace("(", "").replace(")", "").replace(", ", "\t").split("\t") for line in path.read_text().splitlines()
    ]
    found = parsed_negatives(str(path), lines, users, items).sorted()
    test = pair.test.take(np.lexsort((pair.test.item, pair.test.user)))
    if not (np.array_equal(found.user, test.user) and np.array_equal(found.item, test.item)):
        raise DataError(f"{path}: its rows are not the test rows of {target}<-{source}")
    return found


def douban(target: str, source: str, *, root: str | None = None) -> tuple[Log, Log]:
    """Return the ratings of two domains of `douban`, 1 to 5 stars: the target's log, and the other's.

    Users are shared by their ids, which are the codes; items are of one domain. The files have no times.

    Raises:
        ConfigError: there is no such domain, or both are one.
        DataError: the files are not there.
    """
    for name in (target, source):
        if name not in DOUBAN_DOMAINS:
            raise ConfigError(f"douban: no domain {name!r}{nearest(name, DOUBAN_DOMAINS)}")
    if target == source:
        raise ConfigError(f"douban: target and source are both {target!r}; there are {', '.join(DOUBAN_DOMAINS)}")
    folder = ensure("douban", FILES["douban"], root)
    least, most = STARS
    own, other = (
        read_ratings(folder / f"douban_{name}_ratings.dat", least=least, most=most) for name in (target, source)
    )
    users = int(1 + max(own[0].max(), other[0].max()))
    first = int(1 + own[1].max())
    items = int(first + 1 + other[1].max())
    return (
        Log(target, own[0], own[1], users, items, rating=own[2]),
        Log(source, other[0], other[1] + first, users, items, rating=other[2]),
    )


def markets(target: str, sources: tuple[str, ...], *, root: str | None = None) -> Shops:
    """Return countries of `xmarket`: items are shared by their ids, users belong to one country.

    Raises:
        ConfigError: there is no such country.
        DataError: the files are not there.
    """
    for name in (*sources, target):
        if name not in MARKETS:
            raise ConfigError(f"xmarket: no market {name!r}{nearest(name, MARKETS)}")
    folder = ensure("xmarket", FILES["xmarket"], root)
    columns = Columns("userId", "itemId", "date")
    return together(
        [read_log(str(folder / f"{name}_5core.txt"), columns) for name in (*sources, target)], shared="items"
    )
