"""A column that differs by rounding alone is constant, in every unit; one that differs by more is not."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

from tl_research.data.transforms.matrix import MatrixTransform
from tl_research.data.transforms.table import TableTransform
from tl_research.errors import DataError
from tl_research.nn.rounding import relative_rounding, unit_rows
from tl_research.outcomes import NumberOutcome

ROWS = 400
NOISY = {
    "0.3 and 0.1 + 0.2": [0.3, 0.1 + 0.2],
    "a price with tax taken off": [19.99, 19.99 * 1.19 / 1.19, 19.99 * 1.07 / 1.07],
    "a sum of tenths": [1.0, sum([0.1] * 10)],
    "one neighbour": [1e9 + 0.1, np.nextafter(1e9 + 0.1, np.inf)],
    "negative": [-0.3, -0.1 - 0.2],
}
UNITS = (1e-300, 1e-150, 1e-12, 1.0, 1e12, 1e150, 1e300)


def column(values) -> np.ndarray:
    return np.random.default_rng(0).choice(np.asarray(values), ROWS)


def standard(values: np.ndarray, kind: str) -> np.ndarray:
    """The column, as it comes out of a transform that was fitted to it."""
    if kind == "table":
        frame = pd.DataFrame({"a": values, "b": np.arange(len(values))})
        return TableTransform.fit([frame], "standard").transform(frame)["numeric"][:, 0].numpy()
    rows = np.column_stack([values, np.arange(len(values)).astype(values.dtype)])
    rows = sp.csr_matrix(rows) if kind == "sparse" else rows
    return MatrixTransform.fit([rows], "standard").transform(rows)[:, 0].numpy()


def skip_where_refused(values: np.ndarray, kind: str) -> None:
    if not np.isfinite(values).all() or (kind == "table" and np.abs(values).max() > 1e38):
        pytest.skip("no such number is read")


KINDS = pytest.mark.parametrize("kind", ["table", "matrix", "sparse"])


@KINDS
@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("values", NOISY.values(), ids=NOISY)
def test_rounding_is_no_variance(values, unit, kind):
    values = column(values) * unit
    skip_where_refused(values, kind)
    assert (standard(values, kind) == 0).all()


@KINDS
@pytest.mark.parametrize("unit", UNITS)
def test_a_columns_unit_changes_nothing(unit, kind):
    values = np.random.default_rng(1).normal(size=ROWS) + 3
    skip_where_refused(values * unit, kind)
    np.testing.assert_allclose(standard(values * unit, kind), standard(values, kind), rtol=1e-5, atol=1e-6)
    assert standard(values * unit, kind).std() == pytest.approx(1, rel=1e-5)


@KINDS
@pytest.mark.parametrize(
    ("base", "step"),
    [(1e15, 1.0), (1.7e18, 1e6), (1e6, 1e-6), (1.0, 1e-13)],
    ids=["ids", "nanoseconds", "small", "tiny"],
)
def test_what_is_above_rounding_varies(base, step, kind):
    values = base + step * np.arange(ROWS)
    assert standard(values, kind).std() == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize("kind", ["table", "matrix"])
def test_a_column_of_float32_has_the_rounding_of_float32(kind):
    values = column([np.float32(0.3), np.nextafter(np.float32(0.3), np.float32(1))]).astype(np.float32)
    assert (standard(values, kind) == 0).all()
    varies = (np.float32(0.3) + np.float32(1e-4) * np.arange(ROWS)).astype(np.float32)
    assert standard(varies, kind).std() == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize("unit", UNITS)
def test_unit_length_whatever_the_unit(unit):
    rows = np.random.default_rng(2).normal(size=(20, 3))
    rows[0] = 0
    fitted = MatrixTransform.fit([rows], "unit")
    np.testing.assert_allclose(fitted.transform(rows * unit), fitted.transform(rows), rtol=1e-6)
    length = np.linalg.norm(fitted.transform(rows * unit), axis=1)
    np.testing.assert_allclose(length, [0, *[1] * 19], rtol=1e-6)
    if 1e-15 < unit < 1e15:
        found = unit_rows(torch.from_numpy(rows * unit))
        np.testing.assert_allclose(found, unit_rows(torch.from_numpy(rows)), rtol=1e-12)


def test_a_row_of_zeros_has_a_gradient_of_one_in_unit_rows():
    rows = torch.zeros(1, 3, requires_grad=True)
    unit_rows(rows).sum().backward()
    assert rows.grad.tolist() == [[1.0, 1.0, 1.0]]


@pytest.mark.parametrize("scale", ["none", "log1p"])
def test_what_float32_cannot_hold_is_refused(scale):
    rows = np.array([[1.0, 2.0], [1e200 if scale == "none" else 3.0, 1.0]])
    fitted = MatrixTransform.fit([rows], scale)
    if scale == "none":
        with pytest.raises(DataError, match=r"row 1, column 0: 1e\+200 is beyond what float32 holds"):
            fitted.transform(rows)
    else:
        assert torch.isfinite(fitted.transform(rows)).all()


@pytest.mark.parametrize("values", NOISY.values(), ids=NOISY)
@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e12])
def test_a_label_that_differs_by_rounding_alone_is_constant(values, unit):
    with pytest.raises(DataError, match="nothing to regress on"):
        NumberOutcome.fit([torch.from_numpy(column(values) * unit)])


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e12])
def test_the_labels_unit_changes_nothing(unit):
    label = torch.from_numpy(np.random.default_rng(3).normal(size=50) + 5)
    scale = NumberOutcome.fit([label * unit])
    torch.testing.assert_close(scale.scaled(label * unit), NumberOutcome.fit([label]).scaled(label))
    assert NumberOutcome.fit([torch.tensor([10**15, 10**15 + 1])]).std == 0.5


def test_labels_whose_squares_leave_float64_are_refused():
    with pytest.raises(DataError, match="give them in another unit"):
        NumberOutcome.fit([torch.tensor([1e300, -1e300], dtype=torch.float64)])


def test_integers_are_exact():
    assert (
        relative_rounding(np.dtype(np.int64))
        == relative_rounding(torch.int64)
        == relative_rounding(np.dtype(bool))
        == 0
    )
    assert relative_rounding(np.dtype(np.float64)) == relative_rounding(torch.float64) < 1e-14
    assert relative_rounding(np.dtype(np.float32)) == relative_rounding(torch.float32) < 1e-6
