import io

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from sklearn.preprocessing import StandardScaler, normalize

from tl_research.data.transforms.make import make_transform, transform_from_state
from tl_research.data.transforms.spec import SCALES, InputSpec
from tl_research.errors import DataError

RNG = np.random.default_rng(0)
COUNTS = RNG.poisson(1.0, size=(60, 7)).astype(np.float64)
COUNTS[:, 3] = 2.0  # constant
PARTS = [COUNTS[:25], COUNTS[25:]]


def reference(scale, x, fit):
    """scikit-learn and numpy, in float64."""
    if scale == "standard":
        scaled = StandardScaler().fit(fit).transform(x)
        scaled[:, fit.std(0) == 0] = 0.0
        return scaled
    if scale.startswith("log1p"):
        x = np.log1p(x)
    return normalize(x) if scale.endswith("unit") else x


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("make", [np.asarray, sp.csr_matrix], ids=["dense", "sparse"])
def test_matrix_scales_agree_with_scikit_learn(scale, make):
    transform = make_transform([make(part) for part in PARTS], scale)
    new = RNG.poisson(1.0, size=(9, 7)).astype(np.float64)
    new[4] = 0.0
    out = transform.transform(make(new))
    assert out.dtype == torch.float32
    assert transform.spec == InputSpec(numeric=7)
    np.testing.assert_allclose(out.numpy(), reference(scale, new, COUNTS), atol=1e-6)


def test_a_constant_column_becomes_zero_even_where_its_value_has_no_exact_double():
    fit = np.full((1000, 1), 0.1)
    transform = make_transform([fit], "standard")
    assert transform.transform(np.array([[0.1], [5.0]])).tolist() == [[0.0], [0.0]]


def test_standard_keeps_its_digits_where_the_mean_is_large():
    fit = 1e8 + RNG.normal(size=(500, 1))
    out = make_transform([fit], "standard").transform(fit)
    np.testing.assert_allclose(out.numpy(), (fit - fit.mean()) / fit.std(), atol=1e-5)


def test_more_rows_than_are_scaled_at_once():
    fit = RNG.normal(size=(10_000, 2))
    np.testing.assert_allclose(
        make_transform([sp.csr_matrix(fit)], "standard").transform(fit).numpy(),
        reference("standard", fit, fit),
        atol=1e-5,
    )


def test_integer_and_byte_matrices_are_taken():
    out = make_transform([COUNTS.astype(np.uint8)], "log1p").transform(sp.csr_matrix(COUNTS.astype(np.uint8)))
    np.testing.assert_allclose(out.numpy(), np.log1p(COUNTS), rtol=1e-6)


def test_what_a_matrix_transform_refuses():
    transform = make_transform(PARTS, "log1p")
    bad = COUNTS.copy()
    bad[5, 2] = -1
    with pytest.raises(DataError, match=r"row 5, column 2: -1 is negative.*data\.scale=log1p"):
        transform.transform(bad)
    with pytest.raises(DataError, match=r"shape \(60, 6\), wants \(rows, 7\)"):
        transform.transform(COUNTS[:, :6])
    with pytest.raises(DataError, match="a table was given"):
        transform.transform(pd.DataFrame(COUNTS))
    bad[5, 2] = np.nan
    with pytest.raises(DataError, match="row 5, column 2: nan"):
        transform.transform(bad)
    with pytest.raises(DataError, match="wants"):
        make_transform([COUNTS, COUNTS[:, :3]], "none")
    with pytest.raises(DataError, match="one kind"):
        make_transform([COUNTS, pd.DataFrame(COUNTS)], "none")
    with pytest.raises(DataError, match="no training rows"):
        make_transform([COUNTS[:0]], "none")
    with pytest.raises(ValueError, match="scale"):
        make_transform(PARTS, "zscore")


def table(price, colour, **more):
    return pd.DataFrame({"price": price, "colour": pd.Series(colour, dtype=object), **more})


OLD = table([1.0, np.nan, 3.0], ["red", None, "blue"], age=[10.0, 20.0, 30.0])
NEW = table([5.0, 11.0], ["green", "red"], age=[40.0, 50.0])


def test_table_by_hand():
    transform = make_transform([OLD, NEW], "standard")
    assert transform.spec == InputSpec(
        numeric=3, cardinalities=(5,), is_table=True, columns=("price", "age", "price (missing)", "colour")
    )
    out = transform.transform(table([np.nan, 3.0, 1.0], ["blue", None, "violet"], age=[np.nan, 30.0, 20.0]))
    assert out["numeric"].dtype == torch.float32
    assert out["categorical"].dtype == torch.int64
    price = np.array([1.0, 4.0, 3.0, 5.0, 11.0])  # the median of 1, 3, 5, 11 stands in for the missing one
    age = np.array([10.0, 20.0, 30.0, 40.0, 50.0])
    expected = np.column_stack(
        [
            (np.array([4.0, 3.0, 1.0]) - price.mean()) / price.std(),
            (np.array([30.0, 30.0, 20.0]) - age.mean()) / age.std(),
            [1.0, 0.0, 0.0],
        ]
    )
    np.testing.assert_allclose(out["numeric"].numpy(), expected, atol=1e-6)
    # blue, green, red are 1, 2, 3; missing is 4 because it occurred; violet is new
    assert out["categorical"].tolist() == [[1], [4], [0]]


def test_unseen_values_are_counted_and_never_an_error():
    transform = make_transform([table([1.0, 2.0], ["red", "blue"])], "standard")
    assert transform.spec.cardinalities == (3,)
    rows = table([1.0] * 4, ["red", "violet", None, "mauve"])
    assert transform.unseen_counts(rows) == {"colour": 3}
    assert transform.transform(rows)["categorical"].flatten().tolist() == [2, 0, 0, 0]
    assert transform.unseen_counts(table([1.0], ["red"])) == {}


def test_codes_stay_below_the_cardinality_and_reach_it():
    transform = make_transform([OLD, NEW], "standard")
    codes = transform.transform(OLD)["categorical"]
    assert codes.max().item() == transform.spec.cardinalities[0] - 1


def test_columns_are_matched_by_name_not_by_place():
    transform = make_transform([OLD], "none")
    swapped = OLD[["age", "colour", "price"]]
    for name in ("numeric", "categorical"):
        assert torch.equal(transform.transform(OLD)[name], transform.transform(swapped)[name])


def test_categories_that_were_numbers_in_one_file_agree():
    transform = make_transform([table([1.0, 2.0], ["38", "40"])], "none")
    typed = pd.DataFrame({"price": ["3", None], "colour": [40, 38]})
    out = transform.transform(typed)
    assert out["categorical"].flatten().tolist() == [2, 1]
    assert out["numeric"].flatten().tolist() == [3.0, 1.5]


def test_columns_that_do_not_fit_are_named():
    transform = make_transform([OLD], "standard")
    with pytest.raises(DataError, match="lacks the columns 'colour', which training had; did you mean 'color'"):
        transform.transform(OLD.rename(columns={"colour": "color"}))
    with pytest.raises(DataError, match="extra columns 'clicks'"):
        transform.transform(OLD.assign(clicks=1))
    with pytest.raises(DataError, match="column 'price': 'cheap' is not a number"):
        transform.transform(OLD.assign(price=["1", "cheap", "2"]))
    with pytest.raises(DataError, match="feature matrix was given"):
        transform.transform(COUNTS)
    with pytest.raises(DataError, match="lacks the columns 'age'"):
        make_transform([OLD, NEW.drop(columns="age")], "standard")
    with pytest.raises(DataError, match="column 'age': -1 is negative"):
        make_transform([OLD], "log1p").transform(OLD.assign(age=[1.0, -1.0, 2.0]))


def test_identifiers_and_empty_columns_are_left_out_by_name_and_may_be_absent_later():
    n = 200
    rows = pd.DataFrame(
        {
            "user": [f"u{i}" for i in range(n)],
            "empty": np.full(n, np.nan),
            "city": [f"c{i % 50}" for i in range(n)],
            "spent": np.arange(n) * 1.0,
        }
    )
    transform = make_transform([rows[:120], rows[120:]], "standard")
    assert transform.spec.columns == ("spent", "city")
    assert set(transform.info["columns_left_out"]) == {"user", "empty"}
    assert "200 distinct texts in 200" in transform.dropped["user"]
    whole, without = transform.transform(rows), transform.transform(rows.drop(columns=["user", "empty"]))
    assert torch.equal(whole["numeric"], without["numeric"])
    with pytest.raises(DataError, match="no column is left"):
        make_transform([rows[["user", "empty"]]], "standard")


def test_tables_without_numbers_or_without_categories():
    only_text = make_transform([OLD[["colour"]]], "standard")
    assert only_text.transform(OLD[["colour"]])["numeric"].shape == (3, 0)
    only_numbers = make_transform([OLD[["age"]]], "standard")
    assert only_numbers.transform(OLD[["age"]])["categorical"].shape == (3, 0)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(
    "raw", [COUNTS, sp.csr_matrix(COUNTS), OLD, OLD[["colour"]]], ids=["dense", "csr", "table", "text"]
)
def test_state_round_trip_is_exact_through_a_weights_only_file(scale, raw):
    transform = make_transform([raw], scale)
    file = io.BytesIO()
    torch.save(transform.state_dict(), file)
    file.seek(0)
    again = transform_from_state(torch.load(file, weights_only=True))
    assert again.spec == transform.spec
    assert again.info == transform.info
    one, two = transform.transform(raw), again.transform(raw)
    if isinstance(raw, pd.DataFrame):
        assert all(torch.equal(one[name], two[name]) for name in one)
        assert again.unseen_counts(NEW[list(raw)]) == transform.unseen_counts(NEW[list(raw)])
    else:
        assert torch.equal(one, two)


def state_bytes(transform):
    file = io.BytesIO()
    torch.save(transform.state_dict(), file)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["matrix", "csr", "table"])
def test_rows_that_training_does_not_see_never_change_the_transform(kind):
    """Views into one block of memory: a fit that read past its rows, or their category types, would differ."""
    train = np.arange(40)

    def fit(test_rows_shift):
        x = COUNTS.copy()
        x[40:] += test_rows_shift
        if kind == "matrix":
            return make_transform([x[train]], "standard")
        if kind == "csr":
            return make_transform([sp.csr_matrix(x)[train]], "standard")
        frame = pd.DataFrame(x[:, :2], columns=["a", "b"])
        frame["c"] = pd.Categorical([f"v{int(v)}" for v in x[:, 2]])
        return make_transform([frame.iloc[train]], "standard")

    assert state_bytes(fit(0.0)) == state_bytes(fit(100.0))


def test_a_changed_training_row_does_change_it():
    changed = COUNTS.copy()
    changed[0, 0] += 1
    assert state_bytes(make_transform([changed], "standard")) != state_bytes(make_transform(PARTS, "standard"))
