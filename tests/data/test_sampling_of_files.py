"""A sample of a large file: uniform by seed, rows keep their numbers, and the rows beside it must agree with it."""

import numpy as np
import pandas as pd
import pytest

from tl_research.config import run_id
from tl_research.config.compose import compose
from tl_research.data.catalog.files import FilesConfig, load
from tl_research.data.readers.sampling import Sampling
from tl_research.errors import ConfigError, DataError

OLD, NEW = 3000, 700


def shop(n, seed, **more):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {"place": np.arange(n) * 1.5, "price": [f"${value:,.2f}" for value in rng.uniform(1, 5000, n)]}
    )
    frame["day"] = np.datetime_as_string(np.datetime64("2024-01-01") + rng.integers(0, 300, n))
    frame["city"] = rng.choice(["Oslo", "Rome"], n)
    return frame.assign(y=rng.choice(["no", "yes"], n), **more)


def write(frame, path):
    frame.to_csv(path, index=False) if path.endswith("csv") else frame.to_parquet(path, row_group_size=500)


@pytest.fixture(params=["csv", "parquet"])
def read(request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(old, new, **more):
        names = [f"{name}.{request.param}" for name in ("old", "new")]
        for frame, name in zip((old, new), names, strict=True):
            write(frame, name)
        return [*load(FilesConfig(sources=names[:1], target=names[1], label="y", **more), names).values()]

    return call


def test_the_rows_are_those_of_the_draw_and_keep_their_numbers(read):
    old, new = read(shop(OLD, 0), shop(NEW, 1), rows=400)
    whole, _ = read(shop(OLD, 0), shop(NEW, 1))
    places = Sampling(400).places(OLD, lambda name: None)
    assert old.row_numbers.tolist() == (places + 1).tolist()
    pd.testing.assert_frame_equal(old.inputs, whole.inputs.iloc[places].reset_index(drop=True))
    assert old.label.tolist() == whole.label[places].tolist()
    assert (old.info["rows"], old.info["rows_in_file"]) == (400, OLD)
    assert any("400 of 3,000 rows are read, drawn at random (data.rows)" in line for line in old.remarks)
    assert any("400 of 700 rows are read" in line for line in new.remarks)
    other, _ = read(shop(OLD, 0), shop(NEW, 1), rows=400, rows_seed=1)
    assert other.row_numbers.tolist() != old.row_numbers.tolist()
    small, _ = read(shop(300, 0), shop(90, 1), rows=400)
    assert len(small) == 300
    assert small.row_numbers is None


def test_the_draw_is_uniform():
    counts = np.zeros(50)
    for seed in range(2000):
        places = Sampling(10, seed).places(50, lambda name: None)
        assert len(set(places)) == 10
        assert (np.diff(places) > 0).all()
        counts[places] += 1
    # 400 expected of each; the variance of a draw of 10 of 50 is 0.2 * 0.8.
    assert np.abs(counts - 400).max() < 4.5 * np.sqrt(2000 * 0.16)


def test_labelled_rows_of_the_target_come_first(read):
    new = shop(NEW, 1)
    new.loc[np.random.default_rng(0).permutation(NEW)[:650], "y"] = None
    _, target = read(shop(OLD, 0), new, rows=200)
    assert len(target) == 200
    assert target.has_label.sum() == 50
    _, target = read(shop(OLD, 0), shop(NEW, 1), rows=200)
    assert target.has_label.sum() == 200  # never more than was asked for


def test_a_value_beside_the_sample_that_contradicts_is_one_error(read):
    places = set(Sampling(400).places(OLD, lambda name: None).tolist())
    row = next(place for place in range(1500, OLD) if place not in places)
    # In a Parquet file text is text unless the user says otherwise.
    schema = {"price": {"kind": "number", "unit": "$"}}
    for column, value, said in (("price", "on request", "is not a number"), ("day", "soon", "is not one date")):
        old = shop(OLD, 0)
        old.loc[row, column] = value
        message = rf"old\.\w+, row {row + 1}, column '{column}': '{value}' {said}.*decided on a sample"
        with pytest.raises(DataError, match=message):
            read(old, shop(NEW, 1), rows=400, schema=schema)
        old.loc[row, column] = None
        assert len(read(old, shop(NEW, 1), rows=400, schema=schema)[0]) == 400


def test_one_file_of_several_domains_is_sampled_by_domain(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frame = pd.concat([shop(OLD, 0, market="DE"), shop(NEW, 1, market="FR"), shop(900, 2, market="IT")])
    frame = frame.sample(frac=1, random_state=0)
    for name in ("all.csv", "all.parquet"):
        write(frame, name)
        config = FilesConfig(sources=["DE"], target="FR", label="y", path=name, domain_column="market", rows=300)
        old, new = load(config, ["DE", "FR"]).values()
        assert (len(old), len(new)) == (300, 300)
        numbers = np.flatnonzero(frame["market"] == "DE") + 1
        assert set(old.row_numbers) <= set(numbers)
        table = frame.reset_index(drop=True).loc[old.row_numbers - 1]
        assert old.inputs["place"].tolist() == table["place"].tolist()
        assert any("900" in line and "IT" in line for line in new.remarks), "all rows are counted"


def test_matrices_are_sampled_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name in ("old.npz", "new.npz"):
        np.savez(name, x=rng.normal(size=(500, 3)), y=rng.integers(0, 2, 500))
    old, new = load(FilesConfig(sources=["old.npz"], target="new.npz", rows=120), ["old.npz", "new.npz"]).values()
    assert (len(old), len(new)) == (120, 120)
    with np.load("old.npz") as file:
        np.testing.assert_array_equal(old.inputs, file["x"][old.row_numbers])


def test_the_keys():
    words = ["data.name=files", "data.sources=[a.csv]", "data.target=b.csv", "data.label=y"]
    assert run_id(compose(None, words)) == run_id(compose(None, [*words, "data.rows=null"]))
    assert run_id(compose(None, words)) != run_id(compose(None, [*words, "data.rows=5000"]))
    with pytest.raises(ConfigError, match=r"data\.rows: got 5, wants 100 or more"):
        compose(None, [*words, "data.rows=5"])
