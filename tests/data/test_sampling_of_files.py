"""A sample of a large file: uniform by seed, rows keep their numbers, and the rows beside it must agree with it."""

import re

import numpy as np
import pandas as pd
import pytest

from tl_research.config import run_id
from tl_research.config.compose import compose
from tl_research.data.catalog.files import FilesConfig, load
from tl_research.data.readers import csv_text, large_csv
from tl_research.data.readers.large_csv import row_end
from tl_research.data.readers.sampling import Sampling
from tl_research.data.readers.tabular import read_table
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


@pytest.mark.parametrize("piece", [3_000, 20_000])
def test_a_csv_file_beyond_one_parse_is_read_in_pieces_to_the_same_sample(tmp_path, monkeypatch, piece):
    """The bound of 2 GiB is lowered; what is read, and what is said, are those of the file read at once."""
    monkeypatch.chdir(tmp_path)
    old, new = shop(OLD, 0), shop(NEW, 1)
    old["note"] = ['5" screen', 'two\nlines, "quoted"', "plain", "", "a;b"] * (OLD // 5)
    new["note"] = "plain"
    config = FilesConfig(sources=["old.csv"], target="new.csv", label="y", rows=400, drop=["note"])
    for frame, name in ((old, "old.csv"), (new, "new.csv")):
        write(frame, name)
    whole, whole_new = load(config, ["old.csv", "new.csv"]).values()
    monkeypatch.setattr(csv_text, "LARGEST_CSV", 30_000)
    monkeypatch.setattr(large_csv, "PIECE", piece)
    part, part_new = load(config, ["old.csv", "new.csv"]).values()
    pd.testing.assert_frame_equal(part.inputs, whole.inputs)
    assert part.label.tolist() == whole.label.tolist()
    assert part.row_numbers.tolist() == whole.row_numbers.tolist()
    assert part.info["rows_in_file"] == OLD
    assert any("old.csv: more than 2 GiB, read in pieces" in line for line in part.remarks)
    assert any("400 of 3,000 rows are read" in line for line in part.remarks)
    pd.testing.assert_frame_equal(part_new.inputs, whole_new.inputs)
    # A value beside the sample that contradicts it, far into the file, is found by its row.
    taken = set(Sampling(400).places(OLD, lambda name: None).tolist())
    row = next(place for place in range(2500, OLD) if place not in taken)
    old.loc[row, "day"] = "soon"
    write(old, "old.csv")
    with pytest.raises(DataError, match=rf"old\.csv, row {row + 1}, column 'day': 'soon'.*decided on a sample"):
        load(config, ["old.csv", "new.csv"])
    with pytest.raises(DataError, match=r"more than 2 GiB, of which a sample can be read \(data\.rows\); save it"):
        load(FilesConfig(sources=["old.csv"], target="new.csv", label="y"), ["old.csv", "new.csv"])


def test_a_ragged_row_of_a_later_piece_says_from_where_it_is_counted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = ["a,b,y", *(f"{at},{at % 7},{at % 2}" for at in range(2000))]
    lines[1500] = "1,2,3,4"
    (tmp_path / "old.csv").write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(csv_text, "LARGEST_CSV", 5_000)
    monkeypatch.setattr(large_csv, "PIECE", 2_000)
    with pytest.raises(DataError, match=r"row (\d+): 4 values, the header has 3 .* counted from line (\d+)") as error:
        read_table("old.csv", Sampling(100).places)
    row, line = map(int, re.search(r"row (\d+): .*from line (\d+)", str(error.value)).groups())
    assert row + line == 1500 + 1  # the header is line 1 of the count


def test_pieces_end_where_rows_do():
    text = b'a,b\n1,"x\ny"\n2,5" wide\n3,"say ""no"""\n4,"cut\nhere'
    sure = row_end(text, ",")
    assert text[:sure] == b'a,b\n1,"x\ny"\n'
    rest = text[sure:]
    assert rest[: row_end(rest, ",")] == b'2,5" wide\n3,"say ""no"""\n', "the inch is no edge of a cell"
    assert row_end(b'"never\nclosed', ",") == 0
    assert row_end(b"1\r2\r3", ",") == 4


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
