"""The tasks of `tabular_transfer.py`: which old rows, which new ones; read by the project's readers as matrices."""

from __future__ import annotations

import gzip
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from omegaconf import OmegaConf

from tl_research.config import compose
from tl_research.data.matrix import as_matrix
from tl_research.data.paired import PairedDataModule

ADULT = (
    "age,workclass,fnlwgt,education,education_num,marital_status,occupation,relationship,race,sex,capital_gain,"
    "capital_loss,hours,country,income"
)


@dataclass
class Task:
    """Old domains, a new one, and what `data` needs beside them.

    Fields:
        file: of the mirror's folder, for `data.name=files`; None: `data` names a data set of the catalogue.
    """

    name: str
    sources: list[str]
    target: str
    data: dict[str, Any]
    file: str | None = None
    kind: str = field(default="class")


def _catalogue(name: str, source: str, target: str, kind: str = "class", **data: Any) -> Task:
    short = name.split("_")[0]
    return Task(f"{short} {source}->{target}", [source], target, {"name": name, **data}, kind=kind)


def _file(
    file: str,
    column: str,
    sources: str | list[str],
    target: str,
    label: str,
    drop: Sequence[str] = (),
    texts: Sequence[str] = (),
) -> Task:
    sources = [sources] if isinstance(sources, str) else sources
    short = {"bank_churn": "churn", "vehicle_fraud": "fraud", "online_shoppers": "shoppers", "adult_uci": "adult"}
    folder = file.split("/")[0]
    data = {"name": "files", "domain_column": column, "label": label, "drop": list(drop), "categorical": list(texts)}
    return Task(f"{short.get(folder, folder)} {'+'.join(sources)}->{target}", sources, target, data, file=file)


CHURN, CHURN_DROP = "bank_churn/bank_churn.csv.gz", ("RowNumber",)
FRAUD, FRAUD_DROP = "vehicle_fraud/fraud_oracle.csv.gz", ("PolicyNumber",)
FRAUD_TEXTS = ("PastNumberOfClaims",)
LINES_DROP = ("PolicyNumber", "PolicyType", "VehicleCategory", "BasePolicy", "Year")
SHOPPERS = "online_shoppers/online_shoppers_intention.csv.gz"
EMAIL, EMAIL_DROP = "hillstrom/hillstrom.csv.gz", ("conversion", "spend")
ADULT_FILE = "adult_uci/adult.data.gz"
WORDS = {"form": "tfidf", "vocabulary": 2000}
TASKS = [
    _file(CHURN, "Geography", "France", "Germany", "Exited", CHURN_DROP),
    _file(CHURN, "Geography", "France", "Spain", "Exited", CHURN_DROP),
    _file(CHURN, "Geography", "Germany", "France", "Exited", CHURN_DROP),
    _file(SHOPPERS, "VisitorType", "Returning_Visitor", "New_Visitor", "Revenue"),
    _file(SHOPPERS, "Month", ["Mar", "May"], "Nov", "Revenue"),
    _file(EMAIL, "segment", "Mens E-Mail", "Womens E-Mail", "visit", EMAIL_DROP),
    _file(EMAIL, "channel", "Phone", "Web", "visit", EMAIL_DROP),
    _catalogue("used_cars", "bmw", "audi", kind="regression"),
    _catalogue("used_cars", "ford", "vauxhall", kind="regression"),
    _catalogue("used_cars", "toyota", "merc", kind="regression"),
    _catalogue("bank_marketing", "first_half", "second_half"),
    _catalogue("bank_marketing", "telephone", "cellular"),
    _catalogue("bank_marketing", "cellular", "telephone"),
    _file(FRAUD, "Year", "1994", "1996", "FraudFound_P", FRAUD_DROP, FRAUD_TEXTS),
    _file(FRAUD, "VehicleCategory", "Sedan", "Sport", "FraudFound_P", LINES_DROP, FRAUD_TEXTS),
    _file(FRAUD, "BasePolicy", "Collision", "All Perils", "FraudFound_P", LINES_DROP, FRAUD_TEXTS),
    _file(FRAUD, "AccidentArea", "Urban", "Rural", "FraudFound_P", FRAUD_DROP, FRAUD_TEXTS),
    _file(ADULT_FILE, "sex", "Male", "Female", "income"),
    _file(ADULT_FILE, "workclass", "Private", "Local-gov", "income"),
    _catalogue("hotel_bookings", "city", "resort"),
    _catalogue("hotel_bookings", "resort", "city"),
    _catalogue("hotel_bookings", "y2015", "y2017"),
    _catalogue("hotel_bookings", "direct", "online_ta"),
    _catalogue("womens_clothing", "tops", "dresses", text=WORDS),
    _catalogue("fdu_reviews", "books", "kitchen", text=WORDS),
    _catalogue("amazon_reviews", "books", "kitchen"),
]


class Matrices(NamedTuple):
    """Old rows (x, y), new ones that may be labelled (u, v), and new test rows (w, z)."""

    x: np.ndarray
    y: np.ndarray
    u: np.ndarray
    v: np.ndarray
    w: np.ndarray
    z: np.ndarray


def matrices(task: Task, seed: int, root: str, *, test_rows: int) -> Matrices:
    """Read a task; the seed splits off the test rows, which are the same for every number of labels.

    Args:
        task: of `TASKS`.
        seed: of the split, and of the draw of test rows where there are too many.
        root: folder of the files (`TL_RESEARCH_MIRROR`).
        test_rows: most test rows.
    """
    data = dict(task.data, sources=task.sources, target=task.target, setting="supervised", val_fraction=0.01)
    if task.file:
        data["path"] = _path(task.file, root)
    config = compose({"data": data, "method": {"name": "portfolio"}, "encoder": {"name": "identity"}, "seed": seed})
    module = PairedDataModule(OmegaConf.to_object(config.data), seed=seed)
    module.setup()
    parts = []
    test = module.release_evaluation()["target_test"]
    # Numbers that train are scaled, those of evaluation are as the file has them.
    test = test._replace(label=module.outcome.scaled(test.label))
    for rows in (module.sides["source"], module.sides["target_labeled"], test):
        parts += [as_matrix(rows.inputs, module.spec).numpy(), rows.label.numpy()]
    if len(parts[4]) > test_rows:
        kept = np.sort(np.random.default_rng(seed).permutation(len(parts[4]))[:test_rows])
        parts[4:] = parts[4][kept], parts[5][kept]
    return Matrices(*parts)


def shots(label: np.ndarray, count: int, seed: int, *, classes: bool) -> np.ndarray | None:
    """Return places of `count` labels in all, drawn at random as a shop labels; a smaller draw is part of a larger.

    Of classes the draw is made anew until its first 20 rows hold two of every class; where 200 draws do not, the two
    are put in front. None: there are not so many.
    """
    if count >= len(label):
        return None
    random = np.random.default_rng([seed, 1])
    for _ in range(200):
        order = random.permutation(len(label))
        if not classes or all((label[order[:20]] == value).sum() >= 2 for value in np.unique(label)):
            return order[:count]
    rare = np.concatenate([order[label[order] == value][:2] for value in np.unique(label)])
    return np.concatenate([rare, order[~np.isin(order, rare)]])[:count]


def as_rows(x: np.ndarray, y: np.ndarray, kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return rows and labels as the portfolio takes them."""
    return torch.from_numpy(x).float(), torch.from_numpy(y.astype(np.int64 if kind == "class" else np.float32))


@lru_cache(maxsize=4)
def _path(file: str, root: str) -> str:
    """Return a file's path; the one of `adult`, which has no header, is copied with one."""
    path = Path(root) / file
    if file != ADULT_FILE:
        return str(path)
    copy = Path(tempfile.gettempdir()) / f"tl_research_adult_{os.getuid()}.csv"
    with gzip.open(path, "rt") as given:
        lines = [",".join(cell.strip() for cell in line.split(",")) for line in given if line.strip()]
    copy.write_text("\n".join([ADULT, *lines]) + "\n")
    return str(copy)
