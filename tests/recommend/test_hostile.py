"""Files and options that a hurried or hostile user gives `recommend`: one message, or a figure that is right."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tests.recommend.test_answer import said, write_shops
from tl_research.cli.main import main
from tl_research.errors import DataError
from tl_research.interactions.files import Columns, read_log
from tl_research.interactions.log import Log
from tl_research.interactions.task import make_task
from tl_research.interactions.training import Training
from tl_research.interactions.twins import Twins
from tl_research.recommend import answer as module
from tl_research.recommend.answer import Options, recommend
from tl_research.recommend.verdict import paired
from tl_research.recommenders.graph_filter import GraphFilter

WORDS = ["--user", "user", "--item", "item"]


def refused(capsys, *words: str) -> str:
    assert main([*words]) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error


@pytest.fixture
def shops(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write_shops(tmp_path, tied=True, users=60)


def numbered(folder, seed: int) -> list[str]:
    """Two files whose users and items are plain numbers that coincide."""
    draw, paths = np.random.default_rng(seed), []
    for name in ("old", "new"):
        frame = pd.DataFrame({"user": draw.integers(40, size=400), "item": draw.integers(30, size=400)})
        paths.append(str(folder / f"{name}.parquet"))
        frame.to_parquet(paths[-1], index=False)
    return paths


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--user", "user", "--item", "user"], "--user, --item: both name the column 'user'"),
        ([*WORDS, "--time", "item"], "--item, --time: both name the column 'item'"),
    ],
)
def test_one_column_for_two_things_is_refused(shops, capsys, options, message):
    assert message in refused(capsys, "recommend", *shops, *options)


def test_a_column_that_is_not_there_is_said_once(shops, capsys):
    error = refused(capsys, "recommend", *shops, "--user", "nope", "--item", "item")
    assert error.count("user, ") + error.count(", user") <= 2
    assert "has no column 'nope'" in error
    assert "; it has" not in error


def test_an_empty_time_is_no_none(shops, capsys):
    frame = pd.read_csv(shops[0]).astype({"ts": object})
    frame.loc[3, "ts"] = None
    frame.to_csv("old.csv", index=False)
    error = refused(capsys, "recommend", *shops, *WORDS, "--time", "ts")
    assert "old.csv, row 4, column 'ts': got no value, wants" in error


def test_which_files_are_equal_is_said(shops, capsys):
    copy = "copy.csv"
    pd.read_csv(shops[0]).to_csv(copy, index=False)
    error = refused(capsys, "recommend", *shops, copy, *WORDS)
    assert f"{copy}: holds the same bytes as {shops[0]}" in error


def test_a_folder_that_cannot_be_made_is_said_before_anything_is_fitted(shops, capsys):
    assert main(["recommend", *shops, *WORDS, "--output", shops[0]]) == 2
    error = capsys.readouterr().err
    assert "is a file" in error
    assert "validation users" not in error


def test_one_test_user_gives_no_interval(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = write_shops(tmp_path, tied=True, users=60)
    frame = pd.read_parquet(paths[1])
    frame.assign(user="u1").drop_duplicates("item").to_parquet("one.parquet", index=False)
    text = said(capsys, "recommend", paths[0], "one.parquet", *WORDS, "--output", "a b")
    assert "unknown" not in text.split("|")[0]
    assert ", of one test user; use `" in text
    assert "over 1 test user and" in text
    (folder,) = (tmp_path / "a b").iterdir()
    assert f"predict 'a b/{folder.name}' --users" in text

    def never(name):
        raise AssertionError(f"{name} is no JSON")

    facts = json.loads((folder / "answer.json").read_text(), parse_constant=never)
    assert facts["gain"]["low"] is None


def test_shops_without_anything_in_common_are_told_so(tmp_path, capsys):
    paths = numbered(tmp_path, 0)
    text = said(capsys, "recommend", *paths, *WORDS, "--shared", "none", "--output", str(tmp_path / "answers"))
    assert "new.parquet shares neither a user nor an item with another file" in text
    text = said(capsys, "recommend", *paths, *WORDS, "--shared", "users", "--output", str(tmp_path / "answers"))
    assert "shares neither" not in text


@pytest.mark.parametrize("shared", ["none", "items"])
def test_a_list_is_for_the_new_shops_user_of_an_id(tmp_path, capsys, shared):
    paths = numbered(tmp_path, 1)
    own = pd.read_parquet(paths[1])
    pd.concat([pd.read_parquet(paths[0]), pd.DataFrame({"user": [77], "item": [3]})]).to_parquet(paths[0], index=False)
    out = tmp_path / "answers"
    said(capsys, "recommend", *paths, *WORDS, "--shared", shared, "--output", str(out))
    (folder,) = out.iterdir()
    users, lists = tmp_path / "users.csv", tmp_path / "lists.csv"
    own[["user"]].drop_duplicates().to_csv(users, index=False)
    said(capsys, "predict", str(folder), "--users", str(users), "--top", "30", "--out", str(lists))
    found = pd.read_csv(lists)
    for user, bought in own.groupby("user")["item"]:
        assert set(found.loc[found["user"] == user, "item"]) == set(own["item"]) - set(bought)
    # Number 77 is a user of the old shop, who is somebody else.
    users.write_text("user\n77\n")
    assert "'77'" in refused(capsys, "predict", str(folder), "--users", str(users), "--out", str(lists))


def cold_logs(shared: bool) -> tuple[Log, Log]:
    """Items 0 to 29 in order of their first sale; the old shop knows all of them, or none."""
    draw = np.random.default_rng(0)
    user, item = np.divmod(draw.permutation(40 * 30)[:600], 30)
    new = Log("new", user, item, 40, 60, time=item.astype(float))
    return new, Log("old", user, item + (0 if shared else 30), 40, 60, time=item.astype(float))


def test_a_new_item_that_an_old_shop_has_sold_can_be_recommended():
    new, old = cold_logs(shared=True)
    task = make_task(new, (old,), cold="items", seed=0)
    held_out = set(task.test.item) | set(task.val.item)
    assert set(task.unsold) == held_out
    assert not held_out & set(task.train.item)
    assert held_out <= set(task.to_test.catalogue)
    # In the other settings the catalogue is what the new shop has sold.
    task = make_task(new, (old,), cold="none", seed=0)
    assert task.unsold == ()
    assert set(task.to_test.catalogue) == set(task.to_test.target.item)


def test_new_items_that_no_old_shop_knows_are_refused():
    new, old = cold_logs(shared=False)
    with pytest.raises(ValueError, match="no old file has one of them"):
        make_task(new, (old,), cold="items", seed=0)


def test_cold_items_are_found_by_the_old_shops_sales(tmp_path, capsys):
    new, old = cold_logs(shared=True)
    paths = []
    for log in (old, new):
        paths.append(str(tmp_path / f"{log.name}.csv"))
        frame = pd.DataFrame({"user": log.user, "item": log.item, "ts": log.time}).sort_values(
            "user", ascending=log.name == "old", kind="stable"
        )
        frame.assign(user="u" + frame["user"].astype(str), item="i" + frame["item"].astype(str)).to_csv(
            paths[-1], index=False
        )
    words = ["--time", "ts", "--cold", "items", "--output", str(tmp_path / "answers")]
    text = said(capsys, "recommend", *paths, *WORDS, *words)
    assert text.startswith("The old shop helped: NDCG@10 ")


def test_vectors_of_a_singular_value_of_zero_are_left_out():
    # Twenty users of two kinds: the matrix has rank 2, whatever rank is asked for.
    user = np.repeat(np.arange(20), 5)
    item = np.tile(np.arange(5), 20) + 5 * (user % 2)
    training = Training(Log("new", user, item, 20, 10))
    first, again = (GraphFilter(rank=8).fit(training, seed=0).vectors for _ in range(2))
    assert first.shape == (2, 10)
    # Within equal singular values the vectors may turn; what they span, which alone is scored by, may not.
    np.testing.assert_allclose(first.T @ first, again.T @ again, atol=1e-6)


def test_an_end_that_is_not_finite_is_none():
    assert paired(np.ones(1), np.zeros(1)).as_dict() == {"new": 0.0, "old": 1.0, "low": None, "high": None, "users": 1}


@pytest.mark.parametrize("twins", ["drop", "keep"])
def test_test_rows_that_all_have_twins(shops, monkeypatch, twins, tmp_path):
    def leaked(*args, **options):
        task = make_task(*args, **options)
        found = Twins(*(np.array([value]) for value in (0, 1, 5, 0.9)))
        return replace(task, twins=found, test_leaked=np.ones(len(task.test), bool))

    monkeypatch.setattr(module, "make_task", leaked)
    options = Options("user", "item", twins=twins)
    if twins == "drop":
        with pytest.raises(DataError, match=r"test rows has a twin .*--twins keep"):
            recommend(shops, options, say=lambda line: None)
    else:
        found = recommend(shops, options, say=lambda line: None)
        assert "Without them: no test row is left" in (found.folder / "answer.md").read_text()


def logs_of(folder, name: str, frame: pd.DataFrame):
    path = str(folder / name)
    if name.endswith("parquet"):
        frame.to_parquet(path, index=False)
    else:
        frame.to_csv(path, index=False)
    return read_log(path, Columns("user", "item", "ts" if "ts" in frame else None))


def test_times_say_the_same_in_every_form(tmp_path):
    moments = pd.to_datetime(["2024-01-31 12:00:05", "2024-01-01 00:00:00", "2023-12-31 23:59:59"])
    seconds = moments.astype("datetime64[s]").astype(np.int64).to_numpy()
    frame = pd.DataFrame({"user": list("aab"), "item": list("xyx")})
    forms = {
        "seconds.csv": seconds,
        "milliseconds.csv": seconds * 1000,
        "plain.csv": moments.strftime("%Y-%m-%d %H:%M:%S"),
        "zone.csv": moments.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "offset.csv": (moments + pd.Timedelta(hours=2)).strftime("%Y-%m-%d %H:%M:%S+02:00"),
        "naive.parquet": moments,
        "zone.parquet": moments.tz_localize("UTC"),
    }
    for name, form in forms.items():
        np.testing.assert_array_equal(logs_of(tmp_path, name, frame.assign(ts=form)).time, seconds, err_msg=name)


def test_seconds_among_which_one_is_milliseconds(tmp_path):
    times = [1_600_000_000, 1_600_000_100_000, 1_600_000_200]
    frame = pd.DataFrame({"user": list("aab"), "item": list("xyx"), "ts": times})
    with pytest.raises(DataError, match="row 2, column 'ts': 1600000100000 can only be milliseconds"):
        logs_of(tmp_path, "new.csv", frame)


def test_ids_that_are_lists_and_files_that_are_empty(tmp_path):
    with pytest.raises(DataError, match="column 'user': holds list"):
        logs_of(tmp_path, "new.parquet", pd.DataFrame({"user": [["a"]], "item": ["x"]}))
    (tmp_path / "empty.csv").touch()
    with pytest.raises(DataError, match=r"empty\.csv: the file is empty"):
        read_log(str(tmp_path / "empty.csv"), Columns("user", "item"))


def test_a_seed_below_zero_is_named(shops, capsys):
    assert "--seed: got -1, wants 0 or more" in refused(capsys, "recommend", *shops, *WORDS, "--seed", "-1")


def test_an_audit_without_twins_says_so(tmp_path, capsys):
    text = said(capsys, "audit", *numbered(tmp_path, 0), *WORDS, "--shared", "none")
    assert "there are no twins" in text
    assert "stands out" not in text
