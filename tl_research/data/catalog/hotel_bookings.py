"""Hotel bookings: will the booking be cancelled?"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from functools import lru_cache

import pandas as pd

from tl_research.config import DataConfig
from tl_research.data.catalog._common import copy_of, refuse_mixed_partitions, tabular_domain
from tl_research.data.domain import Domain
from tl_research.data.fetch import RemoteFile, ensure
from tl_research.data.readers.tabular import read_csv
from tl_research.registry import register_dataset

CLASSES = ("kept", "cancelled")
#: domain -> the column it is chosen by, and that column's value.
CHOICES = {
    "city": ("hotel", "City Hotel"),
    "resort": ("hotel", "Resort Hotel"),
    "y2015": ("arrival_date_year", "2015"),
    "y2016": ("arrival_date_year", "2016"),
    "y2017": ("arrival_date_year", "2017"),
    "direct": ("market_segment", "Direct"),
    "online_ta": ("market_segment", "Online TA"),
}
#: Known only once the outcome is (status, room given), or names of one hotel's own partners and guests.
LEAKS = ("reservation_status", "reservation_status_date", "assigned_room_type", "agent", "company", "country")
FILES = [
    RemoteFile(
        name="hotel_bookings.csv.zip",
        repo="huahanqi/562_Final_Project",
        commit="b132cf757bf9600e2ddb49527e612bfecccb9e00",
        path="hotel_bookings.csv.zip",
        bytes=1_270_336,
        sha256="9d168302aabf8f38ea3a834a385463a88a1b74a95547ff53b21a0415b3224cc0",
        mirror_folder="hotel_bookings",
    )
]


@dataclass
class HotelBookingsConfig(DataConfig):
    """Group `data` of `hotel_bookings`."""

    name: str = "hotel_bookings"

    def __post_init__(self):
        super().__post_init__()
        refuse_mixed_partitions(self, {name: column for name, (column, _) in CHOICES.items()})


@register_dataset(
    "hotel_bookings",
    config=HotelBookingsConfig,
    domains=tuple(CHOICES),
    default=("city", "resort"),
    metric="auroc",
    encoder="tabular",
    paper="Antonio, Almeida, Nunes 2019, Data in Brief 22:41-49",
    licence="CC BY 4.0",
)
def load(config: HotelBookingsConfig, names: list[str]) -> dict[str, Domain]:
    """Bookings of a city and a resort hotel, 2015 to 2017: is the booking cancelled?

    Domains by hotel (city, resort), by year of arrival (y2015, y2016, y2017) or by sales channel (direct,
    online_ta); a task takes its domains from one of the three, because they share rows. The column that chooses
    the domain, and the columns that leak the outcome or name one hotel's own partners, are dropped.

    Of the 119,390 rows of the file 31,994 are exact copies (all 32 columns) of an earlier one. A copy may fall
    into train and its twin into test, so copies are dropped inside a domain and counted in `info`. Numbers
    published on the whole file, copies and all, are not comparable.
    """
    refuse_mixed_partitions(config, {name: column for name, (column, _) in CHOICES.items()})
    path = str(ensure("hotel_bookings", FILES, config.root) / FILES[0].name)
    return {name: copy_of(_domain(name, path)) for name in names}


load.files = FILES


@lru_cache(maxsize=1)
def read_bookings(path: str) -> pd.DataFrame:
    """Read all rows, every column as text."""
    with zipfile.ZipFile(path) as archive, archive.open("hotel_bookings.csv") as file:
        return read_csv(file, f"{path}/hotel_bookings.csv")


@lru_cache(maxsize=8)
def _domain(name: str, path: str) -> Domain:
    bookings = read_bookings(path)
    column, value = CHOICES[name]
    return tabular_domain(
        name,
        bookings[bookings[column] == value],
        label="is_canceled",
        values=("0", "1"),
        classes=CLASSES,
        drop=(*LEAKS, column),
        origin=path,
    )
