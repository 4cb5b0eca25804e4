import datetime
import gzip
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from tl_research.data.readers.columns import as_number, as_text, infer_types
from tl_research.data.readers.domain_file import class_names, read_domain_file, read_rows
from tl_research.data.readers.tabular import read_table
from tl_research.errors import DataError

CSV = "price,colour,member,bought\n9.5,red,true,yes\n,blue,False,no\n7, red ,TRUE,yes\n1e3,NA,,no\n"


def write(tmp_path, text, name="a.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def typed(tmp_path, text, **options):
    path = write(tmp_path, text)
    return infer_types(read_table(path), str(path), **options)


def test_csv_types_missing_values_and_blanks(tmp_path):
    frame = typed(tmp_path, CSV)
    np.testing.assert_array_equal(frame["price"], [9.5, np.nan, 7, 1000])
    assert frame["colour"].tolist() == ["red", "blue", "red", "NA"], "a word of a text column is a value"
    assert typed(tmp_path, CSV, missing=["NA"])["colour"].tolist() == ["red", "blue", "red", None]
    assert frame["member"].tolist() == ["true", "false", "true", None]
    assert [frame[name].dtype.kind for name in frame] == ["f", "O", "O", "O"]


def test_parquet_and_csv_of_the_same_rows_read_the_same(tmp_path):
    frame = pd.DataFrame(
        {
            "price": [9.5, None, 7.0],
            "count": pd.array([1, None, 3], dtype="Int64"),
            "colour": pd.Categorical(["red", "blue", None]),
            "member": pd.array([True, None, False], dtype="boolean"),
            "cost": [Decimal("1.25"), Decimal("2.50"), None],
            "text_number": ["1", "2", "3"],
        },
        index=pd.Index([7, 8, 9], name="user"),
    )
    frame.to_parquet(tmp_path / "a.parquet")
    frame.to_csv(tmp_path / "a.csv", index=False)
    one, two = (infer_types(read_table(tmp_path / name), name) for name in ("a.parquet", "a.csv"))
    pd.testing.assert_frame_equal(one, two)
    assert one["cost"].tolist()[:2] == [1.25, 2.5]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a;b\n1;x\n2;y\n", [1.0, 2.0]),
        ("a\tb\n1\tx\n2\ty\n", [1.0, 2.0]),
        ("\ufeffa,b\n1,x\n2,y\n", [1.0, 2.0]),
        ("a,b\r\n1,x\r\n\r\n2,y\r\n", [1.0, 2.0]),
        ('a,b\n1,"x, and\nmore"\n2,y', [1.0, 2.0]),
        (" a , b \n1,x\n2,y\n", [1.0, 2.0]),
    ],
    ids=["semicolon", "tab", "byte order mark", "windows", "quoted", "blanks"],
)
def test_ways_to_write_a_csv_file(tmp_path, text, expected):
    assert typed(tmp_path, text)["a"].tolist() == expected


def test_packed_csv(tmp_path):
    path = write(tmp_path, gzip.compress(CSV.encode(), mtime=0), "a.csv.gz")
    assert len(read_table(path)) == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("\n \n", "the file is empty"),
        ("a,b\n", "a header but no rows"),
        ("a,b\n1,2\n3,4,5\n", "row 2: 3 values, the header has 2"),
        ("a,b\n1,2\n\n3,4\n5\n", "row 3: 1 values, the header has 2"),
        ("a,a\n1,2\n", "two columns are called 'a'"),
        (",a\n0,1\n", "column 1 has no name"),
        (b"a,b\n1,caf\xe9\n", "line 2 is not UTF-8"),
        (b"caf\xe9,b\n1,2\n", "line 1 is not UTF-8"),
        (b"PAR1\x00\x00", "binary"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "binary"),
    ],
)
def test_what_is_wrong_with_a_csv_is_said(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(DataError, match=rf"a\.csv: .*{message}|a\.csv, {message}"):
        read_table(path)


def test_a_ragged_row_far_down_is_named(tmp_path):
    rows = ["a,b"] + ["1,2"] * 100_000 + ["1,2,3"] + ["1,2"] * 10
    with pytest.raises(DataError, match="row 100001: 3 values"):
        read_table(write(tmp_path, "\n".join(rows)))


def test_not_a_parquet_file_and_no_file_and_unknown_ending(tmp_path):
    with pytest.raises(DataError, match="not a Parquet file"):
        read_table(write(tmp_path, "a,b\n1,2\n", "a.parquet"))
    with pytest.raises(DataError, match="no such file"):
        read_table(tmp_path / "b.csv")
    with pytest.raises(DataError, match=r"wants a name that ends in \.csv"):
        read_table(write(tmp_path, "a,b\n1,2\n", "a.xlsx"))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (
            ["1", "2", "abc", "4"],
            r"row 3, column 'a': 'abc' is text, but row 1 holds the number 1 \(3 numbers, 1 texts",
        ),
        (["", "x", "2", "y"], r"row 2, column 'a': 'x' is text, but row 3 holds the number 2"),
        (["true", "2", "3", "4"], r"row 1, column 'a': 'true' is text"),
        (["1", "2", "inf", "4"], r"row 3, column 'a': the number is infinite"),
        (["2024-01-31", "", "2024-02-01", "soon"], r"row 4, column 'a': 'soon' is not a date"),
        (["01/02/2024", "", "", "02/03/2024"], r"row 1, column 'a': '01/02/2024' may have the day or the month first"),
        (['"1,500"', '"2,500"', '"3"', '"4,250"'], r"row 1, column 'a': '1,500' may be 1500 or 1\.5"),
    ],
)
def test_a_column_that_cannot_be_typed_names_its_first_offending_row(tmp_path, column, message):
    text = "a,b\n" + "".join(f"{value},x\n" for value in column)
    with pytest.raises(DataError, match=message):
        typed(tmp_path, text)


def test_a_column_declared_categorical_keeps_its_spelling(tmp_path):
    frame = typed(tmp_path, "zip,size\n01234,38\n98765,M\n,38.0\n", categorical=("zip", "size"))
    assert frame["zip"].tolist() == ["01234", "98765", None]
    assert frame["size"].tolist() == ["38", "M", "38"]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([[1], [2]], "lists"),
        ([b"x", b"y"], "bytes values"),
    ],
)
def test_parquet_columns_of_other_kinds_are_refused_by_name(tmp_path, values, kind):
    pd.DataFrame({"b": [1, 2], "a": values}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=f"column 'a' holds {kind}"):
        infer_types(read_table(tmp_path / "a.parquet"), "a.parquet")


@pytest.mark.parametrize(
    "values", [[datetime.date(2024, 1, 1), datetime.date(2024, 1, 2)], pd.to_datetime(["2024-01-01", "2024-01-02"])]
)
def test_parquet_dates_are_days(tmp_path, values):
    pd.DataFrame({"a": values}).to_parquet(tmp_path / "a.parquet")
    assert infer_types(read_table(tmp_path / "a.parquet"), "a.parquet")["a"].tolist() == [19723, 19724]


def test_a_column_without_values_is_numeric(tmp_path):
    assert typed(tmp_path, "a,b\n,1\nNA,2\n")["a"].dtype == np.float64


@pytest.mark.parametrize(
    "values",
    [[1, 0], [1.0, 0.0], ["1", "0"], ["1.0", "0.0"], pd.array([1, 0], "Int8"), pd.Categorical([1, 0])],
)
def test_one_spelling_for_a_value_of_whatever_type(values):
    assert as_text(pd.Series(values)).tolist() == ["1", "0"]


def test_as_number_names_the_row_of_a_text():
    with pytest.raises(DataError, match="here, row 2, column 'age': 'old' is not a number"):
        as_number(pd.Series(["3", "old"], name="age"), "here")


def test_read_domain_file_labels_features_and_order_of_classes(tmp_path):
    domain = read_domain_file(write(tmp_path, CSV), "bought")
    assert domain.classes == ("no", "yes")
    assert domain.label.tolist() == [1, 0, 1, 0]
    assert list(domain.inputs) == ["price", "colour", "member"]
    assert domain.info == {"rows": 4, "missing_values": 2}


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["10", "9", "-1"], ("-1", "9", "10")),
        (["Yes", "No"], ("No", "Yes")),
        (["TRUE", "False"], ("false", "true")),
        (["1.0", "0"], ("0", "1")),
        (["positive", "negative"], ("negative", "positive")),
    ],
)
def test_the_positive_class_is_last(tmp_path, labels, classes):
    text = "a,b\n" + "".join(f"1,{label}\n" for label in labels * 2)
    assert read_domain_file(write(tmp_path, text), "b").classes == classes


def test_prediction_needs_no_label_and_evaluation_takes_the_classes_of_training(tmp_path):
    unlabelled = write(tmp_path, "price,colour\n1,red\n2,blue\n")
    domain = read_domain_file(unlabelled, "bought", classes=("no", "yes"), label_required=False, drop=["gone"])
    assert domain.label.tolist() == [-1, -1]
    partly = write(tmp_path, "price,bought\n1,yes\n2,\n", "b.csv")
    assert read_domain_file(partly, "bought", classes=("no", "yes"), label_required=False).label.tolist() == [1, -1]
    one_class = write(tmp_path, "price,bought\n1,yes\n2,yes\n", "d.csv")
    assert read_domain_file(one_class, "bought", classes=("no", "yes")).label.tolist() == [1, 1]
    other = write(tmp_path, "price,bought\n1,yes\n2,yess\n", "c.csv")
    with pytest.raises(DataError, match=r"c\.csv, row 2, column 'bought': the label 'yess' is none of .*mean 'yes'"):
        read_domain_file(other, "bought", classes=("no", "yes"))


def test_labels_that_are_missing_or_absent(tmp_path):
    path = write(tmp_path, "price,bought\n1,yes\n2,\n3,NA\n")
    with pytest.raises(
        DataError, match=r"a\.csv, row 2, column 'bought': no label \(1 of 3 rows have none; an empty cell is none"
    ):
        read_domain_file(path, "bought")
    with pytest.raises(DataError, match=r"no column 'bougth' \(data\.label\); did you mean 'bought'"):
        read_domain_file(path, "bougth")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.arange(300), "300 distinct whole numbers"),
        (np.arange(3000) % 150, "150 distinct whole numbers"),
        ([f"user{i}" for i in range(40)], "40 distinct values in 40 rows"),
    ],
    ids=["whole numbers", "codes", "texts"],
)
def test_a_label_of_many_values_is_no_classification_unasked(tmp_path, labels, message):
    pd.DataFrame({"a": range(len(labels)), "y": labels}).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(DataError, match=message):
        read_domain_file(tmp_path / "a.csv", "y")


def test_many_fractional_numbers_are_a_regression_target(tmp_path):
    pd.DataFrame({"a": range(40), "y": np.arange(40) / 7}).to_csv(tmp_path / "a.csv", index=False)
    domain = read_domain_file(tmp_path / "a.csv", "y")
    assert domain.label_kind.name == "regression"
    assert domain.label.dtype == np.float64
    np.testing.assert_array_equal(domain.label, np.arange(40) / 7)
    assert np.isnan(read_domain_file(tmp_path / "a.csv", "b", classes=(), label_required=False).label).all()


def test_ratings_in_halves_and_many_real_classes_are_fine(tmp_path):
    pd.DataFrame({"a": range(40), "y": np.tile(np.arange(10) / 2, 4)}).to_csv(tmp_path / "a.csv", index=False)
    assert len(read_domain_file(tmp_path / "a.csv", "y").classes) == 10
    pd.DataFrame({"a": range(3000), "y": np.arange(3000) % 150}).to_csv(tmp_path / "b.csv", index=False)
    rows, _ = read_rows(tmp_path / "b.csv", "y")
    assert len(class_names([rows])) == 150


def test_one_class_alone_is_an_error(tmp_path):
    with pytest.raises(DataError, match="every label is 'yes'"):
        read_domain_file(write(tmp_path, "a,y\n1,yes\n2,yes\n"), "y")


def test_a_matrix_file_is_a_domain_too(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.eye(4), y=np.array([0, 1, 1, 0]))
    domain = read_domain_file(tmp_path / "a.npz", None)
    assert domain.classes == ("0", "1")
    assert domain.label.tolist() == [0, 1, 1, 0]
    np.savez(tmp_path / "b.npz", x=np.eye(4), y=np.array([0, 1, np.nan, 0]))
    with pytest.raises(DataError, match=r"b\.npz, row 2.*no label"):
        read_domain_file(tmp_path / "b.npz", None)
