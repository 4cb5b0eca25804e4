"""Reviews of eight kinds of product as raw text: is the review positive?"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from tl_research.config import DataConfig
from tl_research.data.domain import TEST, TRAIN, Domain
from tl_research.data.fetch import RemoteFile, ensure
from tl_research.data.modalities import Modalities, TextConfig
from tl_research.data.readers.text import read_labelled_lines, read_lines
from tl_research.registry import register_dataset

#: domain -> the beginning of its files' names.
DOMAINS = {
    "apparel": "apparel",
    "baby": "baby",
    "books": "books",
    "dvd": "dvd",
    "electronics": "electronics",
    "imdb": "imdb",
    "kitchen": "kitchen_housewares",
    "movies": "MR",
}
CLASSES = ("negative", "positive")
ENCODING = "iso-8859-2"


def _file(name: str, size: int, sha256: str) -> RemoteFile:
    return RemoteFile(
        name=name,
        repo="m1ci/of-demo",
        commit="4561cdc2124d6c4a3379bc77c568a1289ed1f502",
        path=f"data/mtl-dataset/{name}",
        bytes=size,
        sha256=sha256,
        mirror_folder="fdu_mtl16",
    )


FILES = [
    _file("MR.task.test", 47_573, "82ec2a6d570978d173240dfd655c25e151761d7d0ace365725745a361e6fabea"),
    _file("MR.task.train", 191_447, "a6f222085a50061dd560c3beafc968679abae74683e3d18a66b619c5e2d178dc"),
    _file("MR.task.unlabel", 229_919, "fa9dee0e94afe5a6d58f1670ac7db53c450e0f806f158dea78fb766f1ee053bb"),
    _file("apparel.task.test", 127_187, "8e591ec14fa0e3d26837b9a40c99d3a93b49f47e7a3fbe4d0afe1b4e1dd45439"),
    _file("apparel.task.train", 519_173, "589702d71eded8ca23907acf6e434f203c8c6feb09737106f77f03707641ffc3"),
    _file("apparel.task.unlabel", 572_626, "7dc0cf126e07552b41d2574627a3a6d0d9c3f958a368fe5e41d8cd353b0f4a3f"),
    _file("baby.task.test", 220_031, "8763bb4b8bbf83b93b6aab03706719fc742fb7d89830a6bd95ea1c2490ea58f7"),
    _file("baby.task.train", 849_433, "0d884186f3aef0e12dafac0a875887fe631de0df992b15158ab177763882bf57"),
    _file("baby.task.unlabel", 1_054_703, "f4f2be61dddc8165ba40d9fc90d51a21c0c9d1f4b6eaa20c93fd3f9d9a8c95e2"),
    _file("books.task.test", 351_857, "b451ac03e48b599bf35dd1a450158389e1ac9018950e95c631053ac14a5b10ad"),
    _file("books.task.train", 1_517_583, "40c4c5971165b9e0a509a60472c3bf06c8e1430d4944833141eb3c34d986b65e"),
    _file("books.task.unlabel", 1_816_355, "5121a335a736523b5bd0dc47e05da2b085bf6f42aec2ca20ba7142d620241563"),
    _file("dvd.task.test", 402_497, "762e6e030892375eda4f211be58624a3bb6a07c966901c79b803837d21fca4b5"),
    _file("dvd.task.train", 1_581_172, "47334240d9cef76ac5f15a10f9082c3d2c6e7f9a9bb0478a3800ede2a0300771"),
    _file("dvd.task.unlabel", 1_957_469, "5673c05efcefbf5d38a1ca7e1110cbf58a95e1b02a7a0c729c46f2ba21f223bf"),
    _file("electronics.task.test", 222_978, "a4d2e7d2a5b8b501a6611e45e1b241aa0d601388b79265cfc94c203cb52f8b8c"),
    _file("electronics.task.train", 918_340, "bb2f28c4a20e3d075dd71ff049970bd445f4d47bcc8404a68eb03850413a8da7"),
    _file("electronics.task.unlabel", 1_063_574, "da24efbec0053b8b8383e530dab3e4a358e75ae2e65d09624c6843bad30f69a8"),
    _file("imdb.task.test", 486_414, "dc708b7338157a6be56a1ded26abd97f82284d0e736876a6b833ad59e8a2cd53"),
    _file("imdb.task.train", 2_254_776, "16dd91ee7aebde130cfeb4d1c58bfe221ad87f1862fdb8ae694693eec3432caa"),
    _file("imdb.task.unlabel", 2_860_588, "ea4e02252cf95661af402ef7b7b6b9addc0a0666a03d8d7b81eefb08af0b413d"),
    _file("kitchen_housewares.task.test", 193_578, "86bcc015f7cfa773880951830ac6161dc2b8717e8a69773ca11a5bd6529b2020"),
    _file("kitchen_housewares.task.train", 762_961, "df5c9e8473b084a6b252dfbb5e074adcaacb9638a882fee3f20d62d747f45d6f"),
    _file(
        "kitchen_housewares.task.unlabel", 961_543, "6255b3597385952d45920ce4451291a246ecd997ef75d964ff56fff9e31ad9e7"
    ),
]


@dataclass
class FduReviewsConfig(DataConfig):
    """Group `data` of `fdu_reviews`."""

    name: str = "fdu_reviews"
    unlabeled: bool = False  # the target's 2,000 reviews without a label train too, unlabelled
    text: TextConfig = field(default_factory=TextConfig)


@register_dataset(
    "fdu_reviews",
    config=FduReviewsConfig,
    domains=tuple(DOMAINS),
    default=("books", "electronics"),
    metric="accuracy",
    encoder="text_ngrams",
    paper="Liu, Qiu, Huang 2017, ACL (FDU-MTL); reviews of Blitzer et al. 2007, Maas et al. 2011, Pang & Lee 2005",
    licence="none stated; research use",
)
def load(config: FduReviewsConfig, names: list[str]) -> dict[str, Domain]:
    """Reviews of eight kinds of product and film as raw text: sentiment.

    About 1,600 training and 400 test reviews per domain, by the split of the files. Training reviews of any domain of
    the task that are a test review of its target, letter for letter but for case, marks and blanks, are left out, and
    so are those that are a test review of their own domain; `info` counts them.
    """
    beginnings = [f"{DOMAINS[name]}.task." for name in names]
    files = [file for file in FILES if file.name.startswith(tuple(beginnings))]
    folder = ensure("fdu_reviews", files, config.root)
    parts = {name: _read(str(folder), DOMAINS[name]) for name in names}
    tested = {name: {_letters(text) for text in test} for name, (_, _, test, _, _) in parts.items()}
    return {
        name: _domain(name, config, folder, parts[name], tested[name] | tested.get(config.target, set()))
        for name in names
    }


load.files = FILES


def _domain(name: str, config: FduReviewsConfig, folder: Path, parts, tested: set[str]) -> Domain:
    train, train_label, test, test_label, unlabeled = parts
    fresh = np.array([_letters(text) not in tested for text in train])
    texts, labels = [train[fresh], test], [train_label[fresh], test_label]
    split = [np.full(int(fresh.sum()), TRAIN), np.full(len(test), TEST)]
    info = {"train_rows_that_are_test_rows_dropped": int((~fresh).sum())}
    if config.unlabeled and name == config.target:
        fresh = np.array([_letters(text) not in tested for text in unlabeled])
        info["unlabeled_rows_that_are_test_rows_dropped"] = int((~fresh).sum())
        texts.append(unlabeled[fresh])
        labels.append(np.full(int(fresh.sum()), -1))
        split.append(np.full(int(fresh.sum()), TRAIN))
    label = np.concatenate(labels).astype(np.int64)
    origin = f"{folder}/{DOMAINS[name]}.task.*"
    inputs = Modalities(text=np.concatenate(texts), text_config=config.text, origin=origin)
    info = {"rows": len(label)} | info
    return Domain(name, inputs, label, CLASSES, split=np.concatenate(split), origin=origin, info=info)


@lru_cache(maxsize=8)
def _read(folder: str, beginning: str):
    train, test = (
        read_labelled_lines(Path(folder) / f"{beginning}.task.{part}", encoding=ENCODING, labels=("0", "1"))
        for part in ("train", "test")
    )
    return *train, *test, read_lines(Path(folder) / f"{beginning}.task.unlabel", encoding=ENCODING)


def _letters(text: str) -> str:
    return re.sub(r"\W+", "", text.lower())
