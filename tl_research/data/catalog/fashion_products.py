"""Fashion products of a shop: what kind of article is it, by its photograph, its name and its attributes?"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from tl_research.config import DataConfig, check, check_choice
from tl_research.data.catalog._common import refuse_mixed_partitions
from tl_research.data.domain import Domain
from tl_research.data.fetch import RemoteFile, ensure
from tl_research.data.modalities import MODALITIES, Modalities, TextConfig
from tl_research.data.readers.images import read_image
from tl_research.data.readers.tabular import read_csv
from tl_research.errors import DataError
from tl_research.registry import register_dataset

#: domain -> the column of styles.csv that it is chosen by, and its value there.
PARTITIONS = {
    "men": ("gender", "Men"),
    "women": ("gender", "Women"),
    "casual": ("usage", "Casual"),
    "sports": ("usage", "Sports"),
    "fall": ("season", "Fall"),
    "summer": ("season", "Summer"),
}
#: Kinds of article of which both domains have some: 30 by gender and by season, 20 by usage.
CLASSES = {
    "gender": (
        "Belts", "Casual Shoes", "Flip Flops", "Jeans", "Shirts", "Sports Shoes", "Sunglasses", "Sweaters",
        "Sweatshirts", "Tshirts", "Wallets", "Watches",
    ),
    "usage": ("Caps", "Jackets", "Shorts", "Socks", "Sweatshirts", "Track Pants", "Tshirts"),
    "season": (
        "Belts", "Casual Shoes", "Flip Flops", "Formal Shoes", "Kurtas", "Sandals", "Shirts", "Socks", "Ties", "Tops",
        "Tshirts", "Wallets",
    ),
}  # fmt: skip
#: They state the class: every kind of article has one of each.
LEAKS = ("masterCategory", "subCategory")
TABLE = ("gender", "baseColour", "season", "year", "usage")
SIZE = 32


def _styles(name: str, size: int, sha256: str) -> RemoteFile:
    return RemoteFile(
        name=name,
        repo="animmala3942/FashionProductRecommendationSystem",
        commit="91e8036739fe4f903aaa4a95009a13d4bc7cb542",
        path=name,
        bytes=size,
        sha256=sha256,
        mirror_folder="fashion_products_small",
    )


STYLES = [
    _styles("styles.csv", 2_790_724, "b5451284ea74ad2b93cc7bbfbfa8334457661a3cb898fc590a1de80f0a1a18de"),
    _styles("styles_text.csv", 1_629_403, "4245371ef7cdf8b79a2ed0fffccf77654eb27af70d625403e23fb6ef57e90840"),
]
IMAGES = RemoteFile(
    name="fashion_rgb32.npz",
    repo="",
    commit="",
    path="",
    bytes=12_278_268,
    sha256="c0af1fe842598be2caed66409147de6291c6cd71d99c0c0db2eba4e00408da21",
    mirror_folder="fashion_products_small",
    made_from="images/*.jpg of GaneshNeupane01/Fashion-Recommendation-System at "
    "7cf263426a1a818fbcab19006b87c924b4dd0fa1, made smaller to 32 x 32; data.images=FOLDER reads such files themselves",
)
FILES = [*STYLES, IMAGES]


@dataclass
class FashionProductsConfig(DataConfig):
    """Group `data` of `fashion_products`."""

    name: str = "fashion_products"
    modalities: list[str] = field(default_factory=lambda: ["image"])  # of image, text, table
    images: str | None = None  # folder of <id>.jpg in place of the file of 32 x 32 pixels
    image_size: int = SIZE  # side in pixels, with data.images
    text: TextConfig = field(default_factory=TextConfig)

    def __post_init__(self):
        super().__post_init__()
        refuse_mixed_partitions(self, {name: column for name, (column, _) in PARTITIONS.items()})
        check(len(self.modalities) > 0, "data.modalities", list(self.modalities), f"some of {', '.join(MODALITIES)}")
        for name in self.modalities:
            check_choice("data.modalities", name, MODALITIES)
        free = self.images is not None or self.image_size == SIZE
        check(free, "data.image_size", self.image_size, f"{SIZE} without data.images, the folder of the originals")
        check(1 <= self.image_size <= 1024, "data.image_size", self.image_size, "1 to 1024 pixels")


@register_dataset(
    "fashion_products",
    config=FashionProductsConfig,
    domains=tuple(PARTITIONS),
    default=("men", "women"),
    metric="accuracy",
    encoder="vision",
    paper="Aggarwal 2019, Fashion Product Images (Kaggle); photographs of myntra.com",
    licence="MIT (Kaggle); the photographs are Myntra's: research use, do not redistribute",
)
def load(config: FashionProductsConfig, names: list[str]) -> dict[str, Domain]:
    """Fashion products of a shop, 9,583 photographs with names and attributes: which kind of article?

    Domains by gender (men, women: 12 classes), usage (casual, sports: 7) or season (fall, summer: 12); a task takes its
    domains from one of the three, because they share rows. Modalities: the photograph, the product's name (in which
    words of the class are natural), and gender, colour, season, year and usage as table fields, less the one that
    chooses the domain. masterCategory and subCategory state the class and are left out.
    """
    if config.images is None:
        folder = ensure("fashion_products", FILES, config.root)
        ids, images = _read_archive(str(folder / IMAGES.name))
    else:
        folder = ensure("fashion_products", STYLES, config.root)
        ids, images = _read_folder(config.images, config.image_size)
    products = read_products(str(folder / STYLES[0].name), str(folder / STYLES[1].name))
    return {name: _domain(name, config, ids, images, products) for name in names}


load.files = FILES


@lru_cache(maxsize=1)
def read_products(styles: str, names: str) -> pd.DataFrame:
    """Read the 44,446 products, every column as text, by id; `name` is the product's name."""
    products = read_csv(Path(styles), styles)
    products["name"] = read_csv(Path(names), names).iloc[:, 0].to_numpy()
    products.index = products["id"].astype(int)
    return products


@lru_cache(maxsize=1)
def _read_archive(path: str) -> tuple[np.ndarray, np.ndarray]:
    with np.load(path) as file:
        return file["id"], file["X"]


@lru_cache(maxsize=1)
def _read_folder(folder: str, size: int) -> tuple[np.ndarray, np.ndarray]:
    paths = sorted((path for path in Path(folder).expanduser().glob("*.jpg")), key=lambda path: path.stem.zfill(12))
    if not paths or not all(path.stem.isdigit() for path in paths):
        raise DataError(f"{folder}: wants files <id>.jpg of the products (data.images)")
    return np.array([int(path.stem) for path in paths]), np.stack([read_image(path, size, str(path)) for path in paths])


def _domain(name: str, config, ids: np.ndarray, images: np.ndarray, products: pd.DataFrame) -> Domain:
    column, value = PARTITIONS[name]
    classes = CLASSES[column]
    shown = products.reindex(ids)
    own = (shown[column] == value).to_numpy()
    kept = own & shown["articleType"].isin(classes).to_numpy()
    rows = shown[kept].reset_index(drop=True)
    table = rows[[field for field in TABLE if field != column]].copy()
    inputs: Modalities | np.ndarray = Modalities(
        image=images[kept],
        text=rows["name"].where(rows["name"].notna() & (rows["name"] != ""), None).to_numpy(dtype=object),
        table=table.replace("", None).astype(object),
        text_config=config.text,
        origin=f"fashion_products/{name}",
    ).select(config.modalities)
    info = {
        "rows": int(kept.sum()),
        "rows_of_other_articles": int((own & ~kept).sum()),
        "columns_dropped": sorted([*LEAKS, column]),
    }
    if list(config.modalities) == ["image"]:
        inputs = inputs.image
    label = rows["articleType"].map({article: code for code, article in enumerate(classes)}).to_numpy(dtype="int64")
    return Domain(name, inputs, label, classes, origin=f"fashion_products/{name}", info=info)
