"""Reviews of a women's clothing shop: is the article recommended, or how many stars has it?"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass, field
from functools import lru_cache

import pandas as pd

from tl_research.config import DataConfig, check, check_choice
from tl_research.data.domain import Domain
from tl_research.data.fetch import RemoteFile, ensure
from tl_research.data.modalities import Modalities, TextConfig
from tl_research.data.readers.columns import MISSING, infer_types
from tl_research.data.readers.tabular import read_csv
from tl_research.data.readers.text import join_text
from tl_research.registry import register_dataset

DOMAINS = {
    "tops": "Tops",
    "dresses": "Dresses",
    "bottoms": "Bottoms",
    "intimate": "Intimate",
    "jackets": "Jackets",
    "trend": "Trend",
}
#: label -> its column, its values there, and what to call them.
LABELS = {
    "recommended": ("Recommended IND", ("0", "1"), ("not recommended", "recommended")),
    "rating": ("Rating", ("1", "2", "3", "4", "5"), ("1", "2", "3", "4", "5")),
}
TEXT, TABLE = ("Title", "Review Text"), ("Age", "Positive Feedback Count", "Division Name")
FILES = [
    RemoteFile(
        name="womens_clothing_reviews.csv.zip",
        repo="irmakozveren01/Womens-clothing-text-analysis",
        commit="18e084eca89ca3f0fe66ee29933876c2e8b909af",
        path="Womens Clothing E-Commerce Reviews.csv.zip",
        bytes=2_855_147,
        sha256="a4f0ce0ea78c9ffbda816f6cab9b2b193c2854db0d84a4f0d4126b245359d5d0",
        mirror_folder="womens_clothing",
    )
]


@dataclass
class WomensClothingConfig(DataConfig):
    """Group `data` of `womens_clothing`."""

    name: str = "womens_clothing"
    label: str | None = "recommended"  # or rating, its five values as classes
    modalities: list[str] = field(default_factory=lambda: ["text"])  # of text, table
    text: TextConfig = field(default_factory=TextConfig)

    def __post_init__(self):
        super().__post_init__()
        check_choice("data.label", str(self.label), LABELS)
        check(len(self.modalities) > 0, "data.modalities", list(self.modalities), "some of text, table")
        for name in self.modalities:
            check_choice("data.modalities", name, ("text", "table"))


@register_dataset(
    "womens_clothing",
    config=WomensClothingConfig,
    domains=tuple(DOMAINS),
    default=("tops", "dresses"),
    metric="auroc",
    encoder="text_ngrams",
    paper="Agarap 2018, arXiv:1805.03687 (Women's E-Commerce Clothing Reviews)",
    licence="CC0",
)
def load(config: WomensClothingConfig, names: list[str]) -> dict[str, Domain]:
    """Reviews of a women's clothing shop by department: recommended or not, or one to five stars.

    Modalities: title and review as one text, and age, positive feedback and division as table fields. Of the two labels
    the other one is left out, because it states this one: 99 % of the articles of 4 or 5 stars are recommended, and 5 %
    of those of 1 or 2. So are the row number, the article's number, and its class, a part of the department. Exact
    copies of a review are left out, and, where the text is the only modality, reviews without one; `info` counts them.
    """
    path = str(ensure("womens_clothing", FILES, config.root) / FILES[0].name)
    return {name: _domain(name, config, path) for name in names}


load.files = FILES


@lru_cache(maxsize=1)
def read_reviews(path: str) -> pd.DataFrame:
    """Read the 23,486 reviews, every column as text."""
    member = "Womens Clothing E-Commerce Reviews.csv"
    with zipfile.ZipFile(path) as archive, archive.open(member) as file:
        data = file.read()
    # The first column, a row number, has no name.
    return read_csv(io.BytesIO(b"row" + data), f"{path}/{member}")


def _domain(name: str, config: WomensClothingConfig, path: str) -> Domain:
    reviews = read_reviews(path)
    own = reviews[reviews["Department Name"] == DOMAINS[name]]
    kept = own[~own.drop(columns="row").duplicated()]
    origin = f"{path} (Department Name={DOMAINS[name]})"
    info = {"rows": len(kept), "duplicates_dropped": len(own) - len(kept)}
    text = join_text(kept, TEXT, origin, missing=MISSING)
    if list(config.modalities) == ["text"]:
        written = text != None  # noqa: E711
        info |= {"rows": int(written.sum()), "rows_without_text_dropped": int((~written).sum())}
        kept, text = kept[written], text[written]
    column, values, classes = LABELS[config.label]
    used = [*TEXT, *(TABLE if "table" in config.modalities else ()), column]
    info["columns_dropped"] = sorted(set(reviews.columns) - set(used) - {"row"})
    inputs: Modalities | pd.DataFrame = Modalities(
        text=text, table=infer_types(kept[list(TABLE)], origin, missing=MISSING), text_config=config.text, origin=origin
    ).select(config.modalities)
    if list(config.modalities) == ["table"]:
        inputs = inputs.table
    label = kept[column].map({value: code for code, value in enumerate(values)}).to_numpy(dtype="int64")
    return Domain(name, inputs, label, classes, origin=origin, info=info)
