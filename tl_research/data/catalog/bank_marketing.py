"""Telephone marketing of a bank: will the customer subscribe?"""

from __future__ import annotations

import io
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

CLASSES = ("no", "yes")
PARTITIONS = {"first_half": "time", "second_half": "time", "telephone": "contact", "cellular": "contact"}
FILES = [
    RemoteFile(
        name="bank+marketing.zip",
        repo="Eshani-haldorai/bank-marketing-classifier",
        commit="eb5cc1ace7babca900ef7484106d073ff70164c7",
        path="bank+marketing.zip",
        bytes=1_023_915,
        sha256="78ec0430a915e99836a533b79bdf635ee27e86fbd348bcdb4080f572b1a24aee",
        mirror_folder="bank_marketing",
    )
]


@dataclass
class BankMarketingConfig(DataConfig):
    """Group `data` of `bank_marketing`."""

    name: str = "bank_marketing"

    def __post_init__(self):
        super().__post_init__()
        refuse_mixed_partitions(self, PARTITIONS)


@register_dataset(
    "bank_marketing",
    config=BankMarketingConfig,
    domains=tuple(PARTITIONS),
    default=("first_half", "second_half"),
    metric="auroc",
    encoder="tabular",
    paper="Moro, Cortez, Rita 2014, Decision Support Systems 62:22-31",
    licence="CC BY 4.0",
)
def load(config: BankMarketingConfig, names: list[str]) -> dict[str, Domain]:
    """Calls of a bank's campaigns, 2008 to 2010: does the customer subscribe to a deposit?

    Domains by time (first_half, second_half: the file is ordered by date, May 2008 to November 2010) or by
    kind of line (telephone, cellular); a task takes its domains from one of the two, because they share rows.
    `duration` is dropped: the length of a call is known when its outcome is. So are `contact` where it chooses
    the domain, and exact copies of a row (12 in the file) inside a domain, counted in `info`.
    """
    refuse_mixed_partitions(config, PARTITIONS)
    path = str(ensure("bank_marketing", FILES, config.root) / FILES[0].name)
    return {name: copy_of(_domain(name, path)) for name in names}


load.files = FILES


@lru_cache(maxsize=1)
def read_calls(path: str) -> pd.DataFrame:
    """Read the 41,188 calls of bank-additional-full.csv in order of date, every column as text."""
    inner, member = "bank-additional.zip", "bank-additional/bank-additional-full.csv"
    with zipfile.ZipFile(path) as outer:
        packed = io.BytesIO(outer.read(inner))
    with zipfile.ZipFile(packed) as archive, archive.open(member) as file:
        return read_csv(file, f"{path}/{inner}/{member}")


@lru_cache(maxsize=4)
def _domain(name: str, path: str) -> Domain:
    calls = read_calls(path)
    half = len(calls) // 2
    rows = {
        "first_half": calls.iloc[:half],
        "second_half": calls.iloc[half:],
        "telephone": calls[calls["contact"] == "telephone"],
        "cellular": calls[calls["contact"] == "cellular"],
    }[name]
    drop = ("duration", "contact") if PARTITIONS[name] == "contact" else ("duration",)
    return tabular_domain(name, rows, label="y", values=CLASSES, classes=CLASSES, drop=drop, origin=path)
