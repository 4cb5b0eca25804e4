"""Every streaming backend against the dense float64 oracle."""

import importlib

import pytest
import torch

from tl_research.kernels import bandwidth_ladder
from tl_research.kernels.backends import reference
from tl_research.kernels.backends.protocol import ACROSS
from tl_research.kernels.kernel import FAMILIES, Kernel

BACKENDS = ["tiled"]

TOLERANCE = {torch.float64: {"rtol": 1e-9, "atol": 1e-11}, torch.float32: {"rtol": 2e-4, "atol": 2e-5}}


@pytest.fixture(params=BACKENDS)
def backend(request):
    return importlib.import_module(f"tl_research.kernels.backends.{request.param}")


@pytest.fixture
def small_tiles(backend, monkeypatch):
    if hasattr(backend, "TILE_ROWS"):
        monkeypatch.setattr(backend, "TILE_ROWS", dict.fromkeys(backend.TILE_ROWS, 16))
        monkeypatch.setattr(backend, "WHOLE_ROWS", 0)


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def kernel_of(family, layers, doubling=True):
    """The first layer has four bandwidths, of which sigma² doubles or does not; the second has one."""
    ladder = 2.0 ** torch.arange(0, 2, 0.5, dtype=torch.float64) * (1 if doubling else torch.tensor([1, 1.3, 1.1, 0.7]))
    sigmas = (ladder, torch.tensor([2.5], dtype=torch.float64))[:layers]
    return Kernel(family, sigmas, (doubling, True)[:layers], alpha=1.5)


def problem(n, m, d, classes, layers, dtype, seed=0):
    rows = [draw(n + m, d, seed=seed, dtype=dtype), draw(n + m, 2, seed=seed + 1, dtype=dtype)][:layers]
    weight = draw(n + m, classes, seed=seed + 2) / (n + m)
    weight[::3] = 0
    scale = draw(3, classes, seed=seed + 3)
    return rows, weight, scale


def assert_same(got, wanted, dtype):
    close = TOLERANCE[dtype]
    assert got.sums.dtype == torch.float64
    torch.testing.assert_close(got.sums, wanted.sums, **close)
    assert len(got.grad) == len(wanted.grad)
    for part, other in zip(got.grad, wanted.grad):
        assert part.isfinite().all()
        torch.testing.assert_close(
            part.double(), other, rtol=close["rtol"], atol=close["atol"] * (1 + other.abs().max())
        )
    assert (got.weight_grad is None) == (wanted.weight_grad is None)
    if wanted.weight_grad is not None:
        torch.testing.assert_close(got.weight_grad.double(), wanted.weight_grad, **close)


KINDS = [(family, True) for family in FAMILIES] + [("gaussian", False)]
SIZES = [(1, 1, 3), (5, 7, 3), (23, 41, 5), (40, 1, 1), (16, 32, 4)]


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(("n", "m", "d"), SIZES)
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize(("family", "doubling"), KINDS)
def test_pair_sums(backend, family, doubling, classes, layers, n, m, d, dtype):
    rows, weight, scale = problem(n, m, d, classes, layers, dtype)
    arguments = rows, n, weight, scale, kernel_of(family, layers, doubling)
    asked = {"gradient": (True, True), "weight_gradient": True}
    assert_same(backend.pair_sums(*arguments, **asked), reference.pair_sums(*arguments, **asked), dtype)


@pytest.mark.parametrize("tiles", ["small", "one"])
@pytest.mark.parametrize("weight_gradient", [True, False])
@pytest.mark.parametrize("gradient", [(True, False), (False, True), (False, False)])
@pytest.mark.parametrize("classes", [1, 3])
def test_only_what_is_asked_for(backend, classes, gradient, weight_gradient, tiles, request):
    if tiles == "small":
        request.getfixturevalue("small_tiles")
    rows, weight, scale = problem(23, 41, 5, classes, 2, torch.float64)
    kernel, asked = kernel_of("gaussian", 2), {"gradient": gradient, "weight_gradient": weight_gradient}
    got = backend.pair_sums(rows, 23, weight, scale, kernel, **asked)
    assert_same(got, reference.pair_sums(rows, 23, weight, scale, kernel, **asked), torch.float64)
    own = torch.arange(64)
    arguments = rows, 23, rows, 23, weight, weight, scale, kernel
    got = backend.row_sums(*arguments, self_column=own, **asked)
    assert_same(got, reference.row_sums(*arguments, self_column=own, **asked), torch.float64)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("itself", [True, False])
@pytest.mark.parametrize("rows_x", [0, 1, 9, 20])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize(("family", "doubling"), KINDS)
def test_row_sums(backend, family, doubling, classes, layers, rows_x, itself):
    columns, column_weight, scale = problem(23, 41, 5, classes, layers, torch.float64)
    rows, row_weight, _ = problem(rows_x, 20 - rows_x, 5, classes, layers, torch.float64, seed=10)
    own = (torch.arange(20) * 7 + 3) % 64 if itself else None
    arguments = rows, rows_x, columns, 23, row_weight, column_weight, scale, kernel_of(family, layers, doubling)
    asked = {"self_column": own, "gradient": (True, True), "weight_gradient": True}
    assert_same(backend.row_sums(*arguments, **asked), reference.row_sums(*arguments, **asked), torch.float64)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("cuts", [(23, 0, 41, 0), (3, 20, 40, 1), (12, 11, 0, 41)])
def test_blocks_of_rows_add_up_to_all_pairs(backend, cuts, classes):
    """`cuts`: how many rows of x the two blocks have, then of y."""
    rows, weight, scale = problem(23, 41, 5, classes, 2, torch.float64)
    kernel, asked = kernel_of("gaussian", 2), {"gradient": (True, True), "weight_gradient": True}
    whole = backend.pair_sums(rows, 23, weight, scale, kernel, **asked)
    x_first, _, y_first, _ = cuts
    x, y = torch.arange(23), torch.arange(23, 64)
    total, grads, weight_grad = 0, [torch.zeros_like(part) for part in rows], torch.zeros_like(weight)
    for own_x, own_y in ((x[:x_first], y[:y_first]), (x[x_first:], y[y_first:])):
        own = torch.cat([own_x, own_y])
        part = backend.row_sums(
            [r[own] for r in rows], len(own_x), rows, 23, weight[own], weight, scale, kernel, self_column=own, **asked
        )
        total = total + part.sums
        weight_grad[own] += part.weight_grad
        for grad, of_part in zip(grads, part.grad):
            grad[own] += of_part
    torch.testing.assert_close(total, whole.sums)
    torch.testing.assert_close(weight_grad, whole.weight_grad)
    for grad, of_whole in zip(grads, whole.grad):
        torch.testing.assert_close(grad, of_whole)


@pytest.mark.parametrize(("n", "m"), [(0, 6), (6, 0)])
@pytest.mark.parametrize("classes", [1, 2])
def test_no_rows_or_no_columns_give_zeros(backend, n, m, classes):
    rows, weight, scale = problem(6, 0, 3, classes, 1, torch.float32)
    kernel = kernel_of("gaussian", 1)
    out = backend.row_sums(
        [rows[0][:n]], n // 2, [rows[0][:m]], m // 2, weight[:n], weight[:m], scale, kernel,
        self_column=torch.zeros(n, dtype=torch.long) if m else None, gradient=(True, True), weight_gradient=True,
    )  # fmt: skip
    assert torch.equal(out.sums, torch.zeros(3, classes, dtype=torch.float64))
    assert torch.equal(out.grad[0], torch.zeros(n, 3))
    assert out.weight_grad.shape == (n, classes)
    assert not out.weight_grad.any()
    product = backend.gram_product([rows[0][:n]], [rows[0][:m]], weight[:m], kernel)
    assert product.shape == (n, classes)
    assert not product.any()


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize(("family", "doubling"), KINDS)
def test_gram_product(backend, family, doubling, classes, layers):
    rows, _, _ = problem(20, 13, 5, classes, layers, torch.float64)
    columns, _, _ = problem(30, 1, 5, classes, layers, torch.float64, seed=10)
    arguments = rows, columns, draw(31, classes, seed=20), kernel_of(family, layers, doubling)
    torch.testing.assert_close(backend.gram_product(*arguments).double(), reference.gram_product(*arguments))


@pytest.mark.usefixtures("small_tiles")
def test_rows_that_are_not_contiguous(backend):
    rows, weight, scale = problem(23, 41, 6, 1, 1, torch.float64)
    kernel, asked = kernel_of("gaussian", 1), {"gradient": (True, True), "weight_gradient": True}
    strided = draw(6, 128).T[::2]
    strided.copy_(rows[0])
    assert not strided.is_contiguous()
    got = backend.pair_sums([strided], 23, weight, scale, kernel, **asked)
    assert_same(got, reference.pair_sums(rows, 23, weight, scale, kernel, **asked), torch.float64)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_call_gives_the_same_bits_and_records_nothing(backend, family):
    rows, weight, scale = problem(300, 200, 16, 1, 1, torch.float32)
    rows[0].requires_grad_()
    asked = {"gradient": (True, True), "weight_gradient": True}
    first, second = (backend.pair_sums(rows, 300, weight, scale, kernel_of(family, 1), **asked) for _ in range(2))
    for one, other in zip(
        [first.sums, *first.grad, first.weight_grad], [second.sums, *second.grad, second.weight_grad]
    ):
        assert torch.equal(one, other)
        assert not one.requires_grad


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("family", FAMILIES)
def test_equal_rows_have_a_finite_gradient(backend, family, dtype):
    """x = y, and all rows one and the same."""
    half = draw(20, 5, dtype=dtype)
    for rows in (torch.cat([half, half]), half[:1].repeat(40, 1), torch.zeros(40, 5, dtype=dtype)):
        arguments = [rows], 20, torch.full((40, 1), 0.05), torch.tensor([[1.0], [1], [-1]]), kernel_of(family, 1)
        out = backend.pair_sums(*arguments, gradient=(True, True), weight_gradient=True)
        wanted = reference.pair_sums(*arguments, gradient=(True, True), weight_gradient=True)
        # the root of a rounding error is not one
        close = {"rtol": 2e-3, "atol": 0} if family == "laplacian" and dtype == torch.float32 else TOLERANCE[dtype]
        torch.testing.assert_close(out.sums, wanted.sums, **close)
        assert out.grad[0].isfinite().all()


def test_nan_never_passes(backend):
    rows, weight, scale = problem(20, 20, 5, 1, 1, torch.float32)
    rows[0][3, 2] = torch.nan
    out = backend.pair_sums(
        rows, 20, weight, scale, kernel_of("gaussian", 1), gradient=(True, True), weight_gradient=True
    )
    assert out.sums[ACROSS].isnan().all()
    assert out.grad[0].isnan().any()


@pytest.mark.parametrize("allowed", ["high", "medium"])
def test_products_keep_all_digits_whatever_the_training_allows(backend, allowed):
    rows, weight, scale = problem(100, 100, 64, 1, 1, torch.float32)
    kernel, asked = kernel_of("gaussian", 1), {"gradient": (True, True), "weight_gradient": True}
    expected = backend.pair_sums(rows, 100, weight, scale, kernel, **asked)
    torch.set_float32_matmul_precision(allowed)
    try:
        got = backend.pair_sums(rows, 100, weight, scale, kernel, **asked)
        assert torch.get_float32_matmul_precision() == allowed
    finally:
        torch.set_float32_matmul_precision("highest")
    assert torch.equal(got.sums, expected.sums)
    assert torch.equal(got.grad[0], expected.grad[0])


def relu_features(n, d, offset):
    mixed = draw(n, d).relu() @ draw(d, d, seed=1) / d**0.5
    return (mixed.relu() + offset).float()


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("offset", [0, 50])
@pytest.mark.parametrize(("n", "d"), [(512, 64), (1024, 256), (2048, 64)])
def test_float32_on_relu_features(backend, n, d, offset, shifted):
    """Value to 1e-6 of the kernel's mean and gradient to 2e-5, against float64 of the same float32 rows."""
    raw = relu_features(n, d, offset)
    half = n // 2
    if shifted:
        raw[half:] *= 1.2
    rows = raw - raw.mean(dim=0)
    exact = raw.double() - raw.double().mean(dim=0)
    kernel = Kernel("gaussian", (bandwidth_ladder(rows[:half], rows[half:]).sigmas.double(),), (True,))
    weight = torch.full((n, 1), 1 / half)
    scale = torch.tensor([[half / (half - 1)], [half / (half - 1)], [-1.0]], dtype=torch.float64)
    asked = {"gradient": (True, True), "weight_gradient": False}
    got = backend.pair_sums([rows], half, weight, scale, kernel, **asked)
    wanted = reference.pair_sums([exact], half, weight, scale, kernel, **asked)
    kernel_mean = wanted.sums.sum() / 4
    assert abs((scale * (got.sums - wanted.sums)).sum()) < 1e-6 * kernel_mean
    error = (got.grad[0].double() - wanted.grad[0]).norm() / wanted.grad[0].norm()
    assert error < 2e-5
