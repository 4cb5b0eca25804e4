"""`recommend --items`: planted attributes win for new items, noise does not, and mistakes in the file are named."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from tests.recommend.test_answer import said
from tests.recommend.test_hostile import WORDS, refused
from tl_research.recommend.model import RecommenderModel

COLD = [*WORDS, "--time", "ts", "--cold", "items", "--items", "items.csv", "--output", "answers"]
NEVER_SOLD = 20


def write_described_shops(folder, *, planted: bool, seed: int = 0, users: int = 200, items: int = 120) -> list[str]:
    """Two shops with the same users, who want what is near a taste of theirs; items come one after another.

    The file of items has their places, or (not planted) numbers that say nothing; 20 of the new shop's or more nobody
    has bought.
    """
    draw = np.random.default_rng(seed)
    taste, tables, paths = draw.normal(size=(users, 3)), [], []
    for shop, mean in (("old", 12), ("new", 8)):
        place = draw.normal(size=(items + NEVER_SOLD, 3))
        score = 2 * taste @ place[:items].T + draw.gumbel(size=(users, items))
        bought = np.argsort(-score, axis=1)[:, :mean]
        rows = [
            (f"u{user}", f"{shop}-{item}", 1_600_000_000 + item) for user, line in enumerate(bought) for item in line
        ]
        paths.append(str(folder / f"{shop}.csv"))
        pd.DataFrame(rows, columns=["user", "item", "ts"]).to_csv(paths[-1], index=False)
        known = place if planted else draw.normal(size=place.shape)
        table = pd.DataFrame({"item": [f"{shop}-{item}" for item in range(len(place))]})
        table[["length", "width", "weight"]] = known
        table["kind"] = np.where(known[:, 0] > 0, "long", "short")
        tables.append(table[table["item"].isin({row[1] for row in rows}) | (shop == "new")])
    pd.concat(tables).to_csv(folder / "items.csv", index=False)
    return paths


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def facts_of(folder) -> dict:
    return json.loads((folder / "answer.json").read_text())


def test_planted_attributes_win_for_new_items_and_the_model_recommends_what_nobody_has_bought(here, capsys):
    paths = write_described_shops(here, planted=True)
    text = said(capsys, "recommend", *paths, *COLD)
    assert "\nThe items' attributes helped: NDCG@10" in text
    assert re.search(r"items\.csv: \d\d items have no interaction in any shop; the model can recommend them", text)
    (folder,) = (here / "answers").iterdir()
    facts = facts_of(folder)
    assert facts["attributes"]["gain"]["low"] > 0
    assert facts["use"].startswith("content")
    table = pd.read_csv(folder / "answer.csv").set_index("method")
    assert table["ndcg@10"].idxmax().startswith("content")
    assert {"new items", "content_ridge", "content_ridge on all", "content_knn", "content_knn on all"} <= set(
        table.index
    )
    # Places say which of the 20 new items each user wants.
    (here / "items.csv").unlink()
    lists = RecommenderModel.load(folder).lists([f"u{user}" for user in range(200)], top=10)
    never = {f"new-{item}" for item in range(120, 140)}
    assert len(never & set(lists["item"])) > NEVER_SOLD / 2
    assert len({tuple(part["item"]) for _, part in lists.groupby("user")}) > 150


@pytest.mark.parametrize("seed", range(3))
def test_attributes_that_say_nothing_are_not_chosen(here, capsys, seed):
    paths = write_described_shops(here, planted=False, seed=seed)
    text = said(capsys, "recommend", *paths, *COLD)
    assert "attributes helped" not in text
    assert "(`new items`)" in text
    (folder,) = (here / "answers").iterdir()
    assert not facts_of(folder)["use"].startswith("content")


def test_without_new_items_they_are_one_candidate_among_others(here, capsys):
    paths = write_described_shops(here, planted=True)
    text = said(capsys, "recommend", *paths, *WORDS, "--items", "items.csv", "--output", "answers")
    assert "`content" in text
    assert re.search(r"items\.csv: \d\d items have no interaction and are left out", text)
    assert "new items" not in text
    # Without the file nothing of it is tried, and the answer stands in a folder of its own.
    text = said(capsys, "recommend", *paths, *WORDS, "--output", "answers")
    assert "attributes" not in text
    assert len(list((here / "answers").iterdir())) == 2


def test_what_the_file_repeats_or_lacks_is_counted(here, capsys):
    paths = write_described_shops(here, planted=True)
    table = pd.read_csv("items.csv")
    table = pd.concat([table[table["item"] != "new-3"], table.iloc[:2]])
    table.to_csv("items.csv", index=False)
    text = said(capsys, "recommend", *paths, *COLD)
    assert "items.csv: 2 rows repeat an item; the first row of each is kept" in text
    assert "items that train have no row; they count as" in text


WRONG = [
    (lambda table: table.drop(columns="item"), "items.csv: has no column 'item'"),
    (lambda table: table.assign(item=[None, *table["item"][1:]]), "items.csv, row 1, column 'item': no id"),
    (lambda table: table.assign(item="z" + table["item"]), "items.csv, column 'item': none of its "),
    (lambda table: table[["item"]], "items.csv: no column is left"),
    (
        lambda table: table[table["item"].isin([f"new-{item}" for item in range(84, 120)])],
        "items.csv: no item with a training interaction has a row",
    ),
]


@pytest.mark.parametrize(("change", "message"), WRONG, ids=[message for _, message in WRONG])
def test_a_wrong_file_of_items_is_one_message(here, capsys, change, message):
    paths = write_described_shops(here, planted=True)
    change(pd.read_csv("items.csv")).to_csv("items.csv", index=False)
    assert message in refused(capsys, "recommend", *paths, *COLD)


def test_no_such_file_is_said_before_anything_is_fitted(here, capsys):
    paths = write_described_shops(here, planted=True)
    error = refused(capsys, "recommend", *paths, *COLD[:-4], "--items", "none.csv")
    assert "none.csv: there is no such file" in error
    assert "validation users" not in error


def test_an_id_of_several_items_is_refused(here, capsys):
    paths = write_described_shops(here, planted=True)
    for path in paths:
        table = pd.read_csv(path)
        table.assign(item=table["item"].str.split("-").str[1].map("p{}".format)).to_csv(path, index=False)
    table = pd.read_csv("items.csv").head(140)
    table.assign(item=table["item"].str.split("-").str[1].map("p{}".format)).to_csv("items.csv", index=False)
    error = refused(capsys, "recommend", *paths, *COLD, "--shared", "users")
    assert "stands for another item in each shop" in error
    assert "--shared items" in error
