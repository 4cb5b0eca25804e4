import gzip

import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp
from sklearn.datasets import dump_svmlight_file

from tl_research.data.readers.features import read_features
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
def test_svmlight_plain_and_packed(tmp_path, packed):
    path = tmp_path / "a.svmlight"
    dump_svmlight_file(X, Y, str(path), zero_based=True)
    if packed:
        data = path.read_bytes()
        path = tmp_path / "a.svmlight.gz"
        path.write_bytes(gzip.compress(data))
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
