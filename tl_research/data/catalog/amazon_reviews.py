"""Amazon product reviews of four departments: is the review positive?"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from tl_research.config import DataConfig
from tl_research.data.domain import TEST, TRAIN, Domain
from tl_research.data.fetch import RemoteFile, ensure
from tl_research.data.readers.features import read_features
from tl_research.registry import register_dataset

DOMAINS = ("books", "dvd", "electronics", "kitchen")
CLASSES = ("negative", "positive")
FEATURES = 5000


def _file(name: str, size: int, sha256: str) -> RemoteFile:
    return RemoteFile(
        name=f"{name}.svmlight",
        repo="GRAAL-Research/domain_adversarial_neural_network",
        commit="74eec5e0ae06bd6614bce048abba492c16a633e3",
        path=f"data/{name}.svmlight",
        bytes=size,
        sha256=sha256,
        mirror_folder="amazon_dann5000",
    )


FILES = [
    _file("books_train", 1_134_070, "317f9a2ec34b81de770b63a84d8c5cc2dc16bd0be6e079d2ff5b5bad5213ea19"),
    _file("books_test", 2_426_071, "fe4605c7dcf0e0a9410fd2a32f247caaf9abb352cc6e4c3e0f400853163ad9c4"),
    _file("dvd_train", 1_133_356, "95f602aa08bf6b55758f7b0b18df3882fe30acb11987ee60b6b4bb3c44cba733"),
    _file("dvd_test", 2_039_832, "4fe1b1a15010f78d8d0c49fe362d35fd4677463a45f1ac02a9f410ae1e638060"),
    _file("electronics_train", 872_265, "7d0061f03ff3827e4f8036b051b5e5828fddc0cd115aa5b212cd28d624dc14e4"),
    _file("electronics_test", 2_461_224, "641783bc941839c3a111d3488a1b7e3bd820a61ec14a129e7429b47703aa961d"),
    _file("kitchen_train", 771_076, "a70b5ebfe1413e0e16280360905f5c3b64389c435cd20c0165dc9d7f293b31b5"),
    _file("kitchen_test", 2_280_620, "e1502b97a824eb12314be4447394fa736fecb781c0724e6529cd6733ac7ff6d8"),
]


@dataclass
class AmazonReviewsConfig(DataConfig):
    """Group `data` of `amazon_reviews`."""

    name: str = "amazon_reviews"
    scale: str = "log1p"


@register_dataset(
    "amazon_reviews",
    config=AmazonReviewsConfig,
    domains=DOMAINS,
    default=("books", "dvd"),
    metric="accuracy",
    encoder="mlp",
    paper="Blitzer, Dredze, Pereira 2007, ACL; the 5,000 features of Chen et al. 2012 as used by Ganin et al. 2016, "
    "JMLR 17(59), table 1",
    licence="none stated; research use, cite Blitzer et al. 2007",
)
def load(config: AmazonReviewsConfig, names: list[str]) -> dict[str, Domain]:
    """Amazon reviews of books, DVDs, electronics and kitchenware: 5,000 word counts, sentiment.

    Counts of unigrams and bigrams, sparse (CSR, float32). The split is the one of the files: 2,000 training
    rows per domain, 1,000 of each class, and 3,586 to 5,945 test rows.
    """
    folder = ensure("amazon_reviews", FILES, config.root)
    return {name: _domain(name, folder) for name in names}


load.files = FILES


def _domain(name: str, folder: Path) -> Domain:
    parts = [_parse(*_identity(folder / f"{name}_{part}.svmlight")) for part in ("train", "test")]
    (train_x, train_y), (test_x, test_y) = parts
    return Domain(
        name,
        sp.vstack([train_x, test_x], format="csr"),
        np.concatenate([train_y, test_y]),
        CLASSES,
        split=np.repeat([TRAIN, TEST], [len(train_y), len(test_y)]),
        origin=str(folder / f"{name}_*.svmlight"),
        info={"rows": len(train_y) + len(test_y)},
    )


def _identity(path: Path) -> tuple[str, int, int]:
    stat = path.stat()
    return str(path), stat.st_size, stat.st_mtime_ns


@lru_cache(maxsize=8)
def _parse(path: str, size: int, modified: int) -> tuple[sp.csr_matrix, np.ndarray]:
    x, y = read_features(path, n_features=FEATURES, zero_based=True)
    return x, (y > 0).astype(np.int64)
