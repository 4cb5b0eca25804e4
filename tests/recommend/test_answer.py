"""`recommend` and `audit`, from files to sentence, page and model."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tests.recommenders.test_closed_form import METHODS, shops
from tl_research.cli.main import main
from tl_research.interactions.content import Attributes
from tl_research.interactions.log import Log
from tl_research.interactions.task import make_task
from tl_research.recommend.candidates import candidates
from tl_research.recommend.measure import attempts
from tl_research.recommend.model import RecommenderModel
from tl_research.recommend.verdict import paired
from tl_research.recommenders.packing import KINDS


def write_shops(folder, *, tied: bool, seed: int = 0, users: int = 240, twins: int = 0):
    """Two shops of six departments each. A user's department is the same in both (tied), or drawn anew."""
    draw = np.random.default_rng(seed)
    own = draw.integers(6, size=users)
    other = own if tied else draw.integers(6, size=users)
    frames = []
    for name, department, count in (("new", own, 5), ("old", other, 14)):
        rows = []
        for user in range(users):
            inside = (
                draw.permutation(12)[: draw.integers(count - 2, count + 3) if count < 12 else 9] + 12 * department[user]
            )
            rows += [(f"u{user}", f"{name}-{item}", draw.integers(1_600_000_000, 1_700_000_000)) for item in inside]
        frames.append(pd.DataFrame(rows, columns=["user", "item", "ts"]))
    for number in range(twins):
        buyers = draw.permutation(users)[:20]
        for frame, name in zip(range(2), ("new", "old"), strict=True):
            more = pd.DataFrame(
                {"user": [f"u{user}" for user in buyers], "item": f"{name}-twin{number}", "ts": 1_700_000_001}
            )
            frames[frame] = pd.concat([frames[frame], more])
    paths = [str(folder / "old.csv"), str(folder / "new.parquet")]
    frames[1].to_csv(paths[0], index=False)
    frames[0].to_parquet(paths[1], index=False)
    return paths


def said(capsys, *words: str) -> str:
    assert main([*words]) == 0
    return capsys.readouterr().out


def test_an_old_shop_that_tells_the_department_helps(tmp_path, capsys):
    paths = write_shops(tmp_path, tied=True)
    out = tmp_path / "answers"
    text = said(
        capsys, "recommend", *paths, "--user", "user", "--item", "item", "--cold", "users", "--output", str(out)
    )
    assert text.startswith("The old shop helped: NDCG@10")
    (folder,) = out.iterdir()
    assert {path.name for path in folder.iterdir()} == {"answer.md", "answer.csv", "answer.json", "recommender.pt"}
    facts = json.loads((folder / "answer.json").read_text())
    assert facts["gain"]["low"] > 0
    table = pd.read_csv(folder / "answer.csv")
    best = table.iloc[0]
    assert best["old shop"]
    # A list of ten from the right department of twelve items finds most of what the user buys.
    assert best["recall@10"] > 0.6
    assert table.set_index("method").loc["popularity", "recall@10"] < 0.4


def test_an_old_shop_that_tells_nothing_is_not_said_to_help(tmp_path, capsys):
    wrong = 0
    for seed in range(5):
        folder = tmp_path / str(seed)
        folder.mkdir()
        paths = write_shops(folder, tied=False, seed=seed)
        text = said(capsys, "recommend", *paths, "--user", "user", "--item", "item", "--output", str(folder / "out"))
        wrong += text.startswith("The old shop helped")
    assert wrong == 0


def test_lists_for_users(tmp_path, capsys):
    paths = write_shops(tmp_path, tied=True)
    out = tmp_path / "answers"
    said(capsys, "recommend", *paths, "--user", "user", "--item", "item", "--output", str(out))
    (folder,) = out.iterdir()
    model = RecommenderModel.load(folder)
    lists = model.lists(["u3", "u5"], top=4)
    assert list(lists.columns) == ["user", "rank", "item"]
    assert lists["rank"].tolist() == [1, 2, 3, 4] * 2
    bought = pd.read_parquet(paths[1])
    for user, part in lists.groupby("user"):
        assert not set(part["item"]) & set(bought.loc[bought["user"] == user, "item"])
    with pytest.raises(ValueError, match="1 of 2 users are not known"):
        model.lists(["u3", "nobody"], top=4)
    popular = model.lists(["nobody"], top=3, unknown="popularity")["item"].tolist()
    counts = bought["item"].value_counts()
    assert (counts[popular].to_numpy() == np.sort(counts.to_numpy())[::-1][:3]).all()


@pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
def test_a_model_file_scores_as_the_model_did(method, tmp_path):
    training = shops()
    method.fit(training)
    names = [
        np.array([f"{what}{code}" for code in range(count)], dtype=object) for what, count in (("u", 40), ("i", 27))
    ]
    RecommenderModel(method, *names, training.own, training.catalogue).save(tmp_path)
    found = RecommenderModel.load(tmp_path)
    assert (found.recommender.score(np.arange(40)) == method.score(np.arange(40))).all()
    assert (found.seen != training.own).nnz == 0
    assert type(method).__name__ in KINDS


def test_a_file_that_is_no_recommender_is_refused(tmp_path):
    with pytest.raises(ValueError, match="there is no recommender"):
        RecommenderModel.load(tmp_path)
    (tmp_path / "recommender.pt").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"recommender\.pt"):
        RecommenderModel.load(tmp_path)


def test_the_audit_finds_the_twins_and_writes_the_pairs(tmp_path, capsys):
    paths = write_shops(tmp_path, tied=True, twins=12)
    out = tmp_path / "pairs.csv"
    text = said(capsys, "audit", *paths, "--user", "user", "--item", "item", "--time", "ts", "--out", str(out))
    pairs = pd.read_csv(out)
    planted = {(f"new-twin{number}", f"old-twin{number}") for number in range(12)}
    assert planted <= set(zip(pairs["new"], pairs["old"], strict=True))
    assert "with a twin" in text


def test_twins_are_dropped_and_said(tmp_path, capsys):
    paths = write_shops(tmp_path, tied=False, twins=60)
    words = ["--user", "user", "--item", "item", "--time", "ts", "--output", str(tmp_path / "answers")]
    text = said(capsys, "recommend", *paths, *words)
    assert "one product under two ids" in text
    assert not text.startswith("The old shop helped")
    kept = said(capsys, "recommend", *paths, *words, "--twins", "keep")
    assert kept.startswith("The old shop helped")


WRONG = [
    (lambda frame: frame.drop(columns="user"), "has no column 'user'"),
    (lambda frame: frame.assign(user=[None, *frame["user"][1:]]), "row 1, column 'user': no id"),
    (lambda frame: frame.assign(ts=["soon", *frame["ts"][1:].astype(str)]), "row 1, column 'ts'"),
    (lambda frame: frame.iloc[:0], "has no rows"),
    (lambda frame: frame.drop_duplicates("user"), "no user has three interactions"),
]


@pytest.mark.parametrize(("change", "message"), WRONG, ids=[message for _, message in WRONG])
def test_a_wrong_file_is_one_message(tmp_path, capsys, change, message):
    paths = write_shops(tmp_path, tied=True)
    new = str(tmp_path / "new.csv")
    change(pd.read_parquet(paths[1])).to_csv(new, index=False)
    words = ["--user", "user", "--item", "item", "--time", "ts", "--output", str(tmp_path / "answers")]
    assert main(["recommend", paths[0], new, *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "new.csv" in error
    assert "Traceback" not in error


def test_one_file_twice_is_refused(tmp_path, capsys):
    paths = write_shops(tmp_path, tied=True)
    assert main(["recommend", paths[0], paths[0], "--user", "user", "--item", "item"]) == 2
    assert "the same bytes" in capsys.readouterr().err


def test_plain_numbers_are_asked_about(tmp_path, capsys):
    draw = np.random.default_rng(0)
    for name in ("a", "b"):
        frame = pd.DataFrame({"user": draw.integers(50, size=400), "item": draw.integers(80, size=400)})
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    words = [str(tmp_path / "a.csv"), str(tmp_path / "b.csv"), "--user", "user", "--item", "item"]
    words += ["--output", str(tmp_path / "answers")]
    assert main(["recommend", *words]) == 2
    assert "--shared users" in capsys.readouterr().err
    assert main(["recommend", *words, "--shared", "users"]) == 0


def test_the_interval_covers_the_truth():
    draw = np.random.default_rng(0)
    inside = 0
    for _ in range(1000):
        new, old = (draw.random(80) < share for share in (0.3, 0.35))
        gain = paired(old.astype(float), new.astype(float))
        inside += gain.low <= 0.05 <= gain.high
    assert 0.93 <= inside / 1000 <= 0.97


@pytest.mark.parametrize("cold", ["none", "users", "items"])
def test_what_is_held_out_is_in_no_model_that_chooses(cold):
    """Other test rows, the same users and items: what ranks the validation rows is the same to the last bit."""
    draw = np.random.default_rng(0)
    user, item = np.nonzero(draw.random((60, 30)) < 0.3)
    new = Log("new", user, item, 60, 55, time=draw.permutation(len(user)).astype(float))
    buyer, bought = np.nonzero(draw.random((60, 25)) < 0.3)
    # Items that the new shop has not sold are recommended only where an old one has them under the same id.
    old = Log("old", buyer, bought + (5 if cold == "items" else 30), 60, 55)
    table = pd.DataFrame(draw.normal(size=(55, 2)), columns=["length", "width"])
    attributes = Attributes(np.arange(55), table, "items.csv")
    task = replace(make_task(new, (old,), cold=cold, seed=0), attributes=attributes)
    other = replace(task, test=task.test.take(np.arange(len(task.test) // 2)))
    moved = replace(task, test=replace(task.test, item=draw.permutation(task.test.item)))
    tried = candidates(task.to_choose, timed=True)[0]
    found = [attempts(each, tried, seed=0, say=lambda line: None) for each in (task, other, moved)]
    for one, *others in zip(*found, strict=True):
        for another in others:
            assert (one.ranks.rank == another.ranks.rank).all(), one.candidate.name
    # The rows that are held out are nowhere in what the choosing models learn from.
    learnt = set(zip(task.train.user, task.train.item, strict=True))
    for held in (task.val, task.test):
        assert not learnt & set(zip(held.user, held.item, strict=True))
    assert task.to_choose.own.sum() == len(task.train)


def test_predict_writes_lists(tmp_path, capsys):
    paths = write_shops(tmp_path, tied=True)
    out = tmp_path / "answers"
    said(capsys, "recommend", *paths, "--user", "user", "--item", "item", "--output", str(out))
    (folder,) = out.iterdir()
    users = tmp_path / "users.csv"
    users.write_text("user\nu3\nu5\nu3\n", encoding="utf-8")
    lists = tmp_path / "lists.parquet"
    text = said(capsys, "predict", str(folder), "--users", str(users), "--top", "7", "--out", str(lists))
    assert "14 recommendations for 2 users" in text
    assert len(pd.read_parquet(lists)) == 14
    users.write_text("user\nnobody\n", encoding="utf-8")
    assert main(["predict", str(folder), "--users", str(users), "--out", str(lists)]) == 2
    assert "--unknown popularity" in capsys.readouterr().err
    assert main(["predict", str(folder), "--out", str(lists)]) == 2
    assert "--users" in capsys.readouterr().err
