"""Used cars: what does the car cost?"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tl_research.config import DataConfig, check_choice
from tl_research.data.catalog._common import copy_of
from tl_research.data.domain import Domain
from tl_research.data.fetch import RemoteFile, ensure
from tl_research.data.readers.columns import MISSING, as_number, infer_types
from tl_research.data.readers.tabular import read_table
from tl_research.errors import ConfigError, DataError
from tl_research.registry import register_dataset

#: domain, bytes and sha256 of its file. `hyundi` is the origin's spelling.
SIZES = (
    ("audi", 523_402, "c955f195667809a17be42d3ff6ec46a6c578d2fb2c7ae277daed313c2c9b766c"),
    ("bmw", 581_940, "b4128777173e36e21ffe796e06a31872158ccdcf58042f93fcffe6a98ea98601"),
    ("ford", 892_925, "958af7b4c20dd0721ce49d806b872b12b5acc30afcfdeb66cf81d079df1a5819"),
    ("vw", 772_974, "00d83a0769397913c354b90a983dd7c829d427af1147475405d3eb1990db0ed1"),
    ("merc", 728_047, "3e9bbc5325022810edb597bc7247a875f79bd8a2db94b6ad763f17c449cab9b4"),
    ("vauxhall", 701_763, "fcd32a0ec0cc68a19b7c700731bc0e266c88baacf80389b52e78323ea7f0bf7c"),
    ("toyota", 341_124, "e67dc3a57f57c71b1b16c6f098690d0f566fc93d53902b5ab1a2b11c3f68e785"),
    ("skoda", 328_871, "85f1626d1303417011477f489e4763abcb764eb1a0bcb0debf37b98ec221283a"),
    ("hyundi", 243_386, "30fa0ff8ccb66d1f601be2c98c12349c0fa775c49588d432cb63b81af0d84faf"),
    ("focus", 228_673, "d911c7d6759ddc114b9a523325e16e94e51b1bc09c4eeeb5e08debf8150a38a8"),
)
FILES = [
    RemoteFile(
        name=f"{name}.csv",
        repo="quyentq1/Car_Price_Prediction",
        # The head of that repository has altered prices.
        commit="098396ab280f77e03ad49c6b9c5bab2984f0c878",
        path=f"data/{name}.csv",
        bytes=size,
        sha256=sha256,
        mirror_folder="used_cars_uk",
    )
    for name, size, sha256 in SIZES
]
#: A name of one brand's own, that no other brand has.
OWN = "model"
#: Columns that the file of focus lacks.
NOT_OF_FOCUS = ("tax", "mpg")
LABEL_SCALES = ("log", "price")


@dataclass
class UsedCarsConfig(DataConfig):
    """Group `data` of `used_cars`."""

    name: str = "used_cars"
    label_scale: str = "log"  # ln of the price in pounds; price: pounds

    def __post_init__(self):
        super().__post_init__()
        check_choice("data.label_scale", self.label_scale, LABEL_SCALES)
        if {"ford", "focus"} <= {*self.sources, self.target}:
            raise ConfigError("data.target: 'focus' shares rows with 'ford'; take one of the two")


@register_dataset(
    "used_cars",
    config=UsedCarsConfig,
    domains=tuple(name for name, *_ in SIZES),
    default=("bmw", "audi"),
    metric="r2",
    encoder="tabular",
    paper="Kaggle, adityadesai13: 100,000 UK used car data set",
    licence="CC0 (as stated at Kaggle)",
    task="regression",
)
def load(config: UsedCarsConfig, names: list[str]) -> dict[str, Domain]:
    """Asking prices of used cars in Britain, one domain per brand: year, mileage, tax, mpg, engine, gearbox and fuel.

    The label is the natural logarithm of the price, or the price (`data.label_scale`). Exact copies of a row are
    dropped inside a brand and counted in `info`; so is the column `model`, whose names are one brand's own. A task
    with focus, whose file lacks `tax` and `mpg`, does without these columns in every domain. Rows with odd values
    (an engine of 0 litres, a year of 2060) are as in the files.
    """
    folder = ensure("used_cars", FILES, config.root)
    domains = {name: copy_of(_domain(str(folder / f"{name}.csv"), name)) for name in names}
    for domain in domains.values():
        if config.label_scale == "log":
            domain.label = np.log(domain.label)
        lacking = [column for column in NOT_OF_FOCUS if "focus" in names and column in domain.inputs]
        domain.inputs = domain.inputs.drop(columns=lacking)
        domain.info["columns_dropped"] = sorted([OWN, *lacking])
    return domains


load.files = FILES


@lru_cache(maxsize=16)
def _domain(path: str, name: str) -> Domain:
    """One brand, its label in pounds."""
    rows = read_table(path).rename(columns={"tax(£)": "tax"})
    kept = rows[~rows.duplicated()].reset_index(drop=True)
    price = as_number(kept["price"], path)
    if not (price > 0).all():
        raise DataError(f"{path}: {int((~(price > 0)).sum())} rows have no price above 0")
    features = infer_types(kept.drop(columns=["price", OWN]), path, missing=MISSING)
    info = {"rows": len(kept), "duplicates_dropped": len(rows) - len(kept)}
    return Domain(name, features, price, (), origin=path, info=info)
