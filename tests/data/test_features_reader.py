import gzip

import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse as sp
from sklearn.datasets import dump_svmlight_file

from tl_research.cli import main
from tl_research.data.catalog.files import FilesConfig, load
from tl_research.data.readers import paths
from tl_research.data.readers.features import read_features, with_columns
from tl_research.data.readers.matlab import read_mat
from tl_research.errors import DataError

X = np.array([[1.5, 0.0, 2.0], [0.0, -3.0, 0.0], [4.0, 5.0, 0.0], [0.0, 0.0, 0.0]])
Y = np.array([1, -1, 1, -1])


@pytest.mark.parametrize(("x", "y"), [("x", "y"), ("X", "label"), ("features", "labels")])
def test_npz_with_the_usual_keys(tmp_path, x, y):
    np.savez(tmp_path / "a.npz", **{x: X, y: Y})
    read = read_features(tmp_path / "a.npz")
    np.testing.assert_array_equal(read.x, X)
    np.testing.assert_array_equal(read.y, Y)


def test_npz_with_keys_that_are_given(tmp_path):
    np.savez(tmp_path / "a.npz", pixels=X, x=X[:, :1], digit=Y, y=Y * 0)
    read = read_features(tmp_path / "a.npz", features="pixels", label="digit")
    assert read.x.shape == (4, 3)
    np.testing.assert_array_equal(read.y, Y)


def test_sparse_npz_stays_sparse(tmp_path):
    sp.save_npz(tmp_path / "a.npz", sp.csr_matrix(X))
    with np.load(tmp_path / "a.npz") as stored:
        np.savez(tmp_path / "b.npz", **stored, y=Y)
    read = read_features(tmp_path / "b.npz")
    assert sp.issparse(read.x)
    assert read.x.format == "csr"
    np.testing.assert_array_equal(read.x.toarray(), X)
    with pytest.raises(DataError, match="labels"):
        read_features(tmp_path / "a.npz")
    assert read_features(tmp_path / "a.npz", label_required=False).y is None


@pytest.mark.parametrize("make", [np.asarray, sp.csc_matrix, sp.csr_matrix])
def test_mat_dense_and_sparse(tmp_path, make):
    scipy.io.savemat(tmp_path / "a.mat", {"fts": make(X), "labels": Y[:, None]})
    read = read_features(tmp_path / "a.mat")
    assert sp.issparse(read.x) == (make is not np.asarray)
    np.testing.assert_array_equal(read.x.toarray() if sp.issparse(read.x) else read.x, X)
    np.testing.assert_array_equal(read.y, Y)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("version", ["4", "5"])
def test_mat_files_are_read_as_scipy_reads_them(tmp_path, packed, version):
    rng = np.random.default_rng(0)
    arrays = {
        "floats": rng.normal(size=(5, 3)),
        "small": rng.normal(size=(5, 3)).astype(np.float32),
        "whole": np.arange(6).reshape(2, 3),
        "flags": np.array([[True, False]]),
        "sparse": sp.csc_matrix(np.eye(3)),
        "complex": np.ones((2, 2)) * 1j,
        "none": np.zeros((0, 3)),
        "text": np.array(["first", "other"]),
        "one": 3,
    }
    if version == "5":
        arrays |= {"deep": rng.normal(size=(2, 3, 4)), "letters": np.array(["äb", "cd"]), "bytes": np.int8([[1, -2]])}
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, arrays, format=version, do_compression=packed and version == "5")
    mine, theirs = read_mat(path, "a.mat"), scipy.io.loadmat(path)
    assert set(mine) == {name for name in theirs if not name.startswith("__")} == set(arrays)
    for name, value in mine.items():
        assert value.dtype == theirs[name].dtype, name
        assert sp.issparse(value) == sp.issparse(theirs[name])
        dense = [part.toarray() if sp.issparse(part) else part for part in (value, theirs[name])]
        np.testing.assert_array_equal(*dense)


def test_arrays_of_a_mat_file_that_are_no_numbers_are_named(tmp_path):
    for value, words in (({"a": 1}, "a struct"), (np.array([[1, "a"]], dtype=object), "a cell array")):
        scipy.io.savemat(tmp_path / "a.mat", {"x": value, "y": Y})
        with pytest.raises(DataError, match=rf"a\.mat: the features are {words}, wants numbers"):
            read_features(tmp_path / "a.mat")
        scipy.io.savemat(tmp_path / "a.mat", {"x": X, "y": value})
        with pytest.raises(DataError, match=rf"a\.mat: the labels are {words}, wants numbers or text"):
            read_features(tmp_path / "a.mat")


@pytest.mark.parametrize("packed", [False, True])
def test_svmlight_plain_and_packed(tmp_path, packed):
    path = tmp_path / "a.svmlight"
    dump_svmlight_file(X, Y, str(path), zero_based=True)
    if packed:
        data = path.read_bytes()
        path = tmp_path / "a.svmlight.gz"
        path.write_bytes(gzip.compress(data, mtime=0))
    read = read_features(path, n_features=5, zero_based=True)
    np.testing.assert_array_equal(read.x.toarray(), np.pad(X, ((0, 0), (0, 2))).astype(np.float32))
    np.testing.assert_array_equal(read.y, Y)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("make", [np.asarray, sp.csr_matrix])
def test_a_number_that_is_not_finite_is_named_by_row_and_column(tmp_path, value, make):
    x = X.copy()
    x[2, 1] = value
    scipy.io.savemat(tmp_path / "a.mat", {"x": make(x), "y": Y})
    with pytest.raises(DataError, match=r"a\.mat, row 2, column 1: (nan|inf) is not a finite number"):
        read_features(tmp_path / "a.mat")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"y": Y}, "no array of features"),
        ({"x": X}, "no array of labels"),
        ({"x": X, "y": Y[:3]}, r"4 rows of features but labels of shape \(3,\)"),
        ({"x": X[0], "y": Y}, r"features of shape \(3,\)"),
        ({"x": X[:0], "y": Y[:0]}, "there is nothing"),
        ({"x": X.astype(str), "y": Y}, "wants numbers"),
        ({"x": X.astype(object), "y": Y}, "Python objects"),
        ({"x": X, "y": np.stack([Y, Y], 1)}, r"labels of shape \(4, 2\)"),
    ],
)
def test_what_is_wrong_with_an_npz_is_said(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=rf"a\.npz.*{message}"):
        read_features(tmp_path / "a.npz")


def test_a_key_that_is_given_but_absent_has_a_hint(tmp_path):
    np.savez(tmp_path / "a.npz", x=X, converted=Y)
    with pytest.raises(DataError, match="did you mean 'converted'"):
        read_features(tmp_path / "a.npz", label="convertd")


@pytest.mark.parametrize("name", ["a.npz", "a.mat", "a.svmlight", "a.svmlight.gz"])
@pytest.mark.parametrize("data", [b"", b"hello, this is no such file\n" * 20, b"\x1f\x8b broken", b"PK\x03\x04 broken"])
def test_a_file_of_another_format_is_one_error(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=name):
        read_features(tmp_path / name)


def test_columns_of_a_svmlight_file_are_numbered_as_they_stand_whatever_rows_it_holds(tmp_path):
    """Guessing the first number from the rows would shift a file that lacks column 0 against one that has it."""
    (tmp_path / "a.svmlight").write_text("1 0:1 2:3\n0 1:2\n")
    (tmp_path / "b.svmlight").write_text("1 2:3\n0 1:2\n")
    np.testing.assert_array_equal(read_features(tmp_path / "a.svmlight").x.toarray(), [[1, 0, 3], [0, 2, 0]])
    np.testing.assert_array_equal(read_features(tmp_path / "b.svmlight").x.toarray(), [[0, 0, 3], [0, 2, 0]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 1:2\n# c\n0 -1:1\n", "row 1: the index -1 is out of range"),
        ("1 1:2\n\n0 1:2 1:3\n", "row 1: the index 1 comes after 1"),
        ("1 3:2 1:3\n", "row 0: the index 1 comes after 3"),
        ("1 1:2\n0 99999999999:1\n", "row 1: the index 99999999999 is out of range"),
        ("1 1:2\n0 20000000:1\n", "20000001 columns; the most is 10000000"),
        ("1 1:2\n0 1:x\n", "row 1: not a svmlight file: got '1:x', wants index:value"),
        ("1 1:2\nshoe 1:2\n", "row 1: not a svmlight file: the label 'shoe' is not a number"),
        ("1:2 2:3\n", "row 0: not a svmlight file: the label '1:2' is not a number"),
        ("1 1:2\n0 2:1 4:nan\n", "row 1, column 4: nan is not a finite number"),
        ("1 1:2\n0 4:inf\n", "row 1, column 4: inf is not a finite number"),
        ("# nothing\n", "there is nothing in them"),
        ("", "the file is empty"),
        ("\x89PNG\0", "it holds binary data"),
    ],
)
def test_what_is_wrong_with_a_svmlight_file_is_said_by_its_row(tmp_path, text, message):
    (tmp_path / "a.svmlight").write_text(text)
    with pytest.raises(DataError, match=rf"a\.svmlight.*{message}"):
        read_features(tmp_path / "a.svmlight")


def test_query_numbers_are_left_out_and_counted(tmp_path):
    (tmp_path / "a.svmlight").write_text("1 qid:1 1:2 # qid:9\n0 qid:2 2:1\n1 1:3 # qid:3\n")
    remarks = []
    assert read_features(tmp_path / "a.svmlight", remarks=remarks).x.shape == (3, 3)
    assert remarks == [f"{tmp_path / 'a.svmlight'}: qid of 2 rows is not used"]


def svmlight(path, x, y, first=0):
    dump_svmlight_file(x, y, str(path), zero_based=first == 0)


def test_svmlight_files_of_one_run_are_as_wide_as_the_widest(tmp_path):
    rng = np.random.default_rng(0)
    wide = rng.normal(size=(40, 6))
    narrow = wide[:, :4]
    y = np.arange(40) % 2
    svmlight(tmp_path / "s.svmlight", narrow, y)
    svmlight(tmp_path / "t.svmlight", wide, y)
    names = [str(tmp_path / name) for name in ("s.svmlight", "t.svmlight")]
    config = FilesConfig(sources=names[:1], target=names[1])
    source, target = load(config, names).values()
    np.testing.assert_array_equal(source.inputs.toarray(), np.pad(narrow, ((0, 0), (0, 2))).astype(np.float32))
    np.testing.assert_array_equal(target.inputs.toarray(), wide.astype(np.float32))
    assert source.remarks == [f"{names[0]}: names the columns 0 to 3, other files up to 5: 0 here"]
    assert not any("names the columns" in line for line in target.remarks)
    np.savez(tmp_path / "u.npz", x=narrow, y=y)
    names = [names[1], str(tmp_path / "u.npz")]
    with pytest.raises(DataError, match=r"has 6 features and .* has 4"):
        load(FilesConfig(sources=names[:1], target=names[1]), names)


def test_new_rows_have_the_columns_of_training_or_are_refused_by_their_row():
    matrix = sp.csr_matrix(np.array([[1.0, 0, 0], [0, 0, 2.0]]))
    assert with_columns(matrix, 5, "a.svmlight").shape == (2, 5)
    with pytest.raises(DataError, match=r"a\.svmlight, row 1, column 2: training had the columns 0 to 1 only"):
        with_columns(matrix, 2, "a.svmlight")


@pytest.mark.slow
def test_predict_takes_a_svmlight_file_that_names_fewer_columns(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name, width in (("s", 5), ("t", 6), ("few", 3), ("many", 8)):
        x = rng.normal(size=(60, width))
        svmlight(f"{name}.svmlight", x, (x[:, 0] > 0).astype(int))
    words = ["fit", "data.name=files", "data.sources=[s.svmlight]", "data.target=t.svmlight", "trainer.max_epochs=1"]
    assert main([*words, "trainer.accelerator=cpu", "wandb.mode=disabled"]) == 0
    assert "s.svmlight: names the columns 0 to 4, other files up to 5" in capsys.readouterr().err
    folder = str(next((tmp_path / "runs").glob("*")))
    assert main(["predict", folder, "--data", "few.svmlight", "--out", "p.csv"]) == 0
    assert len(pd.read_csv("p.csv")) == 60
    capsys.readouterr()
    assert main(["predict", folder, "--data", "many.svmlight", "--out", "p.csv"]) == 2
    assert "many.svmlight, row 0, column 6: training had the columns 0 to 5 only" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X + 1j, "y": Y}, "complex numbers"),
        ({"x": np.zeros(4, [("a", "f4")]), "y": Y}, "structs"),
        ({"x": np.zeros((4, 2), "M8[D]"), "y": Y}, "dates"),
        ({"x": np.float64(1), "y": Y}, r"features of shape \(\)"),
        ({"x": X[None], "y": Y}, r"features of shape \(1, 4, 3\)"),
        ({"x": X, "y": Y.astype("M8[D]")}, "labels of type .*dates"),
        ({"x": X, "y": np.array([b"a"] * 4)}, "labels of type .*bytes"),
        ({"x": np.zeros((1, 10_000_001), np.int8), "y": [1]}, "the most is 10000000"),
    ],
)
def test_arrays_of_other_kinds_are_named(tmp_path, arrays, message):
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=rf"a\.npz.*{message}"):
        read_features(tmp_path / "a.npz")


@pytest.mark.parametrize(
    "parts",
    [
        {"indices": [7]},
        {"indices": [0.5]},
        {"indptr": [0, 2]},
        {"shape": [-1, 2]},
        {"shape": 3},
        {"shape": [1, 2, 3]},
        {"format": ["csr", "x"]},
        {"format": "csc"},
    ],
)
def test_a_broken_sparse_matrix_is_said(tmp_path, parts):
    whole = {"data": [1.0], "indices": [0], "indptr": [0, 1], "shape": [1, 2], "y": [1]}
    np.savez(tmp_path / "a.npz", **whole | parts)
    with pytest.raises(DataError, match=r"a\.npz: (not a CSR matrix|the sparse matrix is stored as 'csc')"):
        read_features(tmp_path / "a.npz")


def test_an_array_that_is_named_npz_says_how_to_save_it(tmp_path):
    np.save(tmp_path / "a.npy", X)
    (tmp_path / "a.npy").rename(tmp_path / "a.npz")
    with pytest.raises(DataError, match=r"a\.npz: not a npz file \(a single array .*numpy\.savez\(path, x="):
        read_features(tmp_path / "a.npz")


def test_packed_arrays_beyond_the_bounds_are_refused_before_they_are_read(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros((100_000, 8)), y=np.zeros(100_000))
    scipy.io.savemat(tmp_path / "a.mat", {"x": np.zeros((100_000, 8)), "y": np.zeros(100_000)}, do_compression=True)
    for name in ("a.npz", "a.mat"):
        assert read_features(tmp_path / name).x.shape == (100_000, 8)
    monkeypatch.setattr(paths, "LARGEST_UNPACKED", 2**20)
    for name in ("a.npz", "a.mat"):
        with pytest.raises(DataError, match=rf"{name}.*: unpacks to more than 1 MiB and 200 times its size"):
            read_features(tmp_path / name)


def test_a_missing_file_and_an_unknown_ending(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_features(tmp_path / "a.npz")
    (tmp_path / "a.h5").write_bytes(b"x")
    with pytest.raises(DataError, match=r"a\.h5: wants a name that ends in"):
        read_features(tmp_path / "a.h5")


def test_a_mat_file_of_version_7_3_says_what_to_do(mirror_folder):
    path = mirror_folder / "mnist_usps_jda" / "MNIST_vs_USPS.mat"
    if not path.exists():
        pytest.skip("the mirror lacks this file")
    with pytest.raises(DataError, match="save it as npz"):
        read_features(path)


def test_a_real_mat_file(mirror_folder):
    path = mirror_folder / "office_caltech10_surf" / "dslr_SURF_L10.mat"
    if not path.exists():
        pytest.skip("the mirror lacks this file")
    read = read_features(path)
    assert read.x.shape == (157, 800)
    assert np.bincount(read.y)[1:].tolist() == [12, 21, 12, 13, 10, 24, 22, 12, 8, 23]
