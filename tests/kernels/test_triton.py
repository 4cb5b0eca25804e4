"""The Triton backend against the oracle: on the device where there is one, else through Triton's interpreter.

The interpreter must be chosen before triton is imported, so that `test_triton_interpreter.py` runs this file in a
process of its own; in a run without the interpreter and without a device these tests are skipped.
"""

import os
from importlib.util import find_spec

import pytest
import torch

from tl_research.kernels.backends import reference
from tl_research.kernels.backends import triton as backend
from tl_research.kernels.kernel import Kernel

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
pytestmark = pytest.mark.skipif(
    find_spec("triton") is None or not (INTERPRETED or torch.cuda.is_available()),
    reason="needs triton, and its interpreter (TRITON_INTERPRET=1) or a CUDA device",
)
DEVICE = torch.device("cuda" if torch.cuda.is_available() and not INTERPRETED else "cpu")
PATHS = ["small", "tiles", "panels"]


@pytest.fixture(params=PATHS)
def path(request, monkeypatch):
    """Each path in turn, whatever the table says of the size."""
    from tl_research.kernels.backends import triton_panels, triton_plan

    monkeypatch.setattr(triton_plan, "by_panels", lambda task: request.param == "panels")
    if INTERPRETED:
        # the interpreter's time goes by the number of blocks
        monkeypatch.setattr(triton_panels, "BLOCK", (16, 32, 4))
        monkeypatch.setattr(triton_panels, "CLASSES_BLOCK", (32, 32, 4))
    monkeypatch.setattr(triton_plan, "SMALL", 512 if request.param == "small" else 0)
    return request.param


def gaussian(count=3, first=0.7, ratio=2**0.5, doubling=True):
    sigmas = first * ratio ** torch.arange(count, dtype=torch.float64)
    return Kernel("gaussian", (sigmas.to(DEVICE),), (doubling,))


def case(n, m, d, classes=1, seed=0, dtype=torch.float32):
    """Rows with typical squared distance 2, weights of both signs with zeros, scales."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(n + m, d, generator=generator, dtype=torch.float64) / d**0.5
    z[n:] += 0.3 / d**0.5
    weight = torch.randn(n + m, classes, generator=generator, dtype=torch.float64).float() / (n + m)
    weight[::5] = 0
    scale = torch.randn(3, classes, generator=generator, dtype=torch.float64)
    return z.to(DEVICE, dtype), weight.to(DEVICE), scale.to(DEVICE)


def relative(got, wanted):
    """Norm of the error over the norm wanted; NaN where either has one."""
    return float((got.double() - wanted).norm() / wanted.norm().clamp_min(1e-300))


def assert_close(got, wanted, mass, value_bar=1e-6, gradient_bar=2e-5):
    """Sums within a share of Σ |s||t| k of their block, gradients within one of their norm."""
    assert got.sums.dtype == torch.float64
    assert got.sums.shape == wanted.sums.shape
    assert bool(((got.sums - wanted.sums).abs() <= value_bar * mass + 1e-300).all())
    assert len(got.grad) == len(wanted.grad)
    for ours, theirs in zip(got.grad, wanted.grad):
        assert ours.dtype == torch.float32
        assert relative(ours, theirs) <= gradient_bar
    assert (got.weight_grad is None) == (wanted.weight_grad is None)
    if wanted.weight_grad is not None:
        assert relative(got.weight_grad, wanted.weight_grad) <= gradient_bar


def check_pairs(z, n, weight, scale, kernel, gradient=(True, True), weight_gradient=True, against=None, **bars):
    arguments = (n, weight, scale, kernel)
    flags = dict(gradient=gradient, weight_gradient=weight_gradient)
    got = backend.pair_sums([z], *arguments, **flags)
    truth = [z if against is None else against]
    wanted = reference.pair_sums(truth, *arguments, **flags)
    mass = reference.pair_sums(truth, n, weight.abs(), scale, kernel, gradient=(False, False), weight_gradient=False)
    assert_close(got, wanted, mass.sums, **bars)
    return got


@pytest.mark.parametrize(("n", "m", "d"), [(1, 1, 1), (1, 70, 5), (37, 53, 16), (64, 65, 40)])
def test_sizes_that_are_no_multiple_of_a_tile(path, n, m, d):
    z, weight, scale = case(n, m, d)
    check_pairs(z, n, weight, scale, gaussian())


def test_panels_take_more_dimensions_than_a_tile_has():
    z, weight, scale = case(30, 20, 300)
    check_pairs(z, 30, weight, scale, gaussian())


@pytest.mark.parametrize("n", [0, 40])
def test_one_side_may_be_empty(path, n):
    z, weight, scale = case(n, 40 - n, 8)
    check_pairs(z, n, weight, scale, gaussian())


def test_no_rows(path):
    z, weight, scale = case(3, 4, 8)
    arguments = (z[:0],), 0, (z,), 3, weight[:0], weight, scale, gaussian()
    out = backend.row_sums(*arguments, self_column=None, gradient=(True, True), weight_gradient=True)
    assert bool((out.sums == 0).all())
    assert out.grad[0].shape == (0, 8)
    assert out.weight_grad.shape == (0, 1)


@pytest.mark.parametrize("classes", [3, 17])
def test_classes(path, classes):
    z, weight, scale = case(40, 29, 12, classes)
    check_pairs(z, 40, weight, scale, gaussian())


@pytest.mark.parametrize(
    "kernel",
    [
        gaussian(1),
        gaussian(5),
        gaussian(3, ratio=1.9, doubling=False),
        Kernel("laplacian", (torch.tensor([0.6, 1.7], dtype=torch.float64, device=DEVICE),), (False,)),
        Kernel("rational_quadratic", (torch.tensor([0.6, 1.7], dtype=torch.float64, device=DEVICE),), (False,), 1.5),
    ],
    ids=["one", "ladder", "list", "laplacian", "rational_quadratic"],
)
def test_kernels(path, kernel):
    z, weight, scale = case(33, 40, 10)
    check_pairs(z, 33, weight, scale, kernel)


def test_equal_rows_do_not_push_each_other_under_a_laplacian(path):
    z, weight, scale = case(33, 40, 10)
    z[40:60] = z[10:30]
    kernel = Kernel("laplacian", (torch.tensor([1.0], dtype=torch.float64, device=DEVICE),), (False,))
    # a distance of 0 is known to the root of float32's rounding only, and so is the value there
    check_pairs(z, 33, weight, scale, kernel, value_bar=1e-4, gradient_bar=2e-5, weight_gradient=False)


@pytest.mark.parametrize("gradient", [(True, False), (False, True), (False, False)])
@pytest.mark.parametrize("weight_gradient", [True, False])
def test_only_what_is_asked_for(path, gradient, weight_gradient):
    z, weight, scale = case(35, 38, 9)
    got = check_pairs(z, 35, weight, scale, gaussian(), gradient, weight_gradient)
    for side, wanted in zip(([] if not got.grad else got.grad[0].split([35, 38])), gradient):
        assert bool((side == 0).all()) != wanted


def test_row_blocks_with_their_own_columns_left_out(path):
    z, weight, scale = case(45, 30, 11, classes=3)
    block = torch.tensor([70, 3, 44, 45, 0, 74, 20], device=DEVICE)
    order = torch.argsort((block >= 45).long(), stable=True)
    block = block[order]
    arguments = [z[block]], int((block < 45).sum()), [z], 45, weight[block], weight, scale, gaussian()
    flags = dict(self_column=block, gradient=(True, True), weight_gradient=True)
    wanted = reference.row_sums(*arguments, **flags)
    mass = wanted.sums.abs().max().expand(3, 3)
    assert_close(backend.row_sums(*arguments, **flags), wanted, mass)
    flags["self_column"] = None
    with_itself = reference.row_sums(*arguments, **flags)
    assert bool((with_itself.sums[:2] - wanted.sums[:2]).abs().gt(1e-4 * mass[:2]).all())
    assert_close(backend.row_sums(*arguments, **flags), with_itself, mass)


@pytest.mark.parametrize("classes", [1, 3])
def test_many_panels_are_one(monkeypatch, classes):
    from tl_research.kernels.backends import triton_panels, triton_plan

    monkeypatch.setattr(triton_plan, "by_panels", lambda task: True)
    monkeypatch.setattr(triton_panels, "PANEL_ROWS", 24)
    monkeypatch.setattr(triton_panels, "PANEL_COLUMNS", 32)
    z, weight, scale = case(40, 33, 6, classes)
    check_pairs(z, 40, weight, scale, gaussian())
    check_pairs(z, 40, weight, scale, gaussian(), gradient=(False, True))
    vectors = torch.randn(33, classes, generator=torch.Generator().manual_seed(1)).to(DEVICE)
    got = backend.gram_product([z[:40]], [z[40:]], vectors, gaussian())
    assert relative(got, reference.gram_product([z[:40]], [z[40:]], vectors, gaussian())) < 2e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shares", [2, 4])
def test_programs_that_share_columns_are_one(monkeypatch, shares, dtype):
    from tl_research.kernels.backends import triton_plan, triton_tiles

    monkeypatch.setattr(triton_plan, "by_panels", lambda task: False)
    monkeypatch.setattr(triton_plan, "SMALL", 0)
    monkeypatch.setattr(triton_tiles, "splits", lambda task, blocks: shares)
    z, weight, scale = case(70, 90, 6, dtype=dtype)
    half = {} if dtype == torch.float32 else dict(gradient_bar=5e-3)
    check_pairs(z, 70, weight, scale, gaussian(), weight_gradient=False, **half)
    check_pairs(z, 70, weight, scale, gaussian(), gradient=(False, True), weight_gradient=False, **half)


@pytest.mark.parametrize("offset", [0.0, 50.0])
@pytest.mark.parametrize("classes", [1, 3])
def test_three_half_products_keep_the_bars_of_float32(monkeypatch, classes, offset):
    from tl_research.kernels.backends import triton_panels, triton_plan

    monkeypatch.setattr(triton_plan, "by_panels", lambda task: True)
    monkeypatch.setattr(triton_panels, "splits_float32", lambda rows, columns: True)
    monkeypatch.setattr(triton_panels, "PANEL_ROWS", 256)
    monkeypatch.setattr(triton_panels, "PANEL_COLUMNS", 256)
    if INTERPRETED:
        monkeypatch.setattr(triton_panels, "BLOCK", (64, 256, 4))
        monkeypatch.setattr(triton_panels, "CLASSES_BLOCK", (64, 256, 4))
    z, weight, scale = case(200, 180, 72, classes)
    z = (3 * z).relu() + offset
    z = z - z.mean(dim=0)
    scale = torch.ones_like(scale) * torch.tensor([[1.0], [1.0], [-1.0]], device=DEVICE)
    check_pairs(z, 200, weight.abs(), scale, gaussian(5, first=0.4))


def test_the_switch_of_float32_products(monkeypatch):
    from tl_research.kernels.backends import triton_products

    rows = torch.empty(4096, 8, device="meta")
    assert not triton_products.splits_float32(torch.empty(4096, 8), torch.empty(4096, 8))
    assert not triton_products.splits_float32(rows[:9], rows[:9])
    assert triton_products.splits_float32(rows, rows)
    monkeypatch.setenv(triton_products.SWITCH, "ieee")
    assert not triton_products.splits_float32(rows, rows)


LAYERS = {
    "gaussian": [(0.7, 1.0), (2.0, 2.8, 4.0)],
    "laplacian": [(1.0,), (2.0, 3.0)],
    "rational_quadratic": [(1.0,), (2.0,)],
}


@pytest.mark.parametrize("family", LAYERS)
@pytest.mark.parametrize("classes", [1, 3])
def test_layers(family, classes):
    z, weight, scale = case(33, 40, 10, classes)
    other, *_ = case(33, 40, 40, seed=1)
    sigmas = tuple(torch.tensor(layer, dtype=torch.float64, device=DEVICE) for layer in LAYERS[family])
    for doubling in ((False, False), (family == "gaussian", False)):
        kernel = Kernel(family, sigmas, doubling)
        if doubling[0]:
            kernel = Kernel(
                family, (0.7 * torch.tensor([1.0, 2.0], device=DEVICE).double().sqrt(), sigmas[1]), doubling
            )
        flags = dict(gradient=(True, True), weight_gradient=True)
        got = backend.pair_sums([z, other], 33, weight, scale, kernel, **flags)
        wanted = reference.pair_sums([z, other], 33, weight, scale, kernel, **flags)
        mass = reference.pair_sums(
            [z, other], 33, weight.abs(), scale, kernel, gradient=(False, False), weight_gradient=False
        )
        assert_close(got, wanted, mass.sums)
        vectors = torch.randn(40, classes, generator=torch.Generator().manual_seed(1)).to(DEVICE)
        sides = [z[:33], other[:33]], [z[33:], other[33:]]
        got = backend.gram_product(*sides, vectors, kernel)
        assert relative(got, reference.gram_product(*sides, vectors, kernel)) < 2e-6


@pytest.mark.parametrize("kernel", [gaussian(5), gaussian(2, ratio=1.9, doubling=False)], ids=["ladder", "list"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("gradient", [(True, True), (True, False), (False, False)])
def test_equal_weights_without_weights(path, dtype, kernel, gradient):
    z, *_ = case(70, 53, 20, dtype=dtype)
    scale = (1 / (70 * 69), 1 / (53 * 52), -1 / (70 * 53))
    value, grad = backend.equal_sums(torch.nn.functional.pad(z, (0, 12)), 20, 70, scale, kernel, gradient=gradient)
    arguments = (
        70,
        z.new_ones((123, 1), dtype=torch.float64),
        torch.tensor(scale, dtype=torch.float64, device=DEVICE)[:, None],
    )
    wanted = reference.pair_sums([z], *arguments, kernel, gradient=gradient, weight_gradient=False)
    mass = float((arguments[2].abs() * wanted.sums).sum())
    assert abs(float(value - (arguments[2] * wanted.sums).sum())) <= 1e-6 * mass
    assert (grad is None) == (gradient == (False, False))
    if grad is not None:
        bar = {torch.float32: 2e-5, torch.bfloat16: 5e-3, torch.float16: 5e-4}[dtype]
        assert relative(grad, wanted.grad[0]) <= bar
        assert bool((grad[70:] == 0).all()) != gradient[1]


@pytest.mark.parametrize("classes", [1, 5])
def test_gram_product(path, classes):
    z, _, _ = case(41, 52, 7)
    vectors = torch.randn(52, classes, generator=torch.Generator().manual_seed(1)).to(DEVICE)
    kernel = gaussian()
    got = backend.gram_product([z[:41]], [z[41:]], vectors, kernel)
    assert relative(got, reference.gram_product([z[:41]], [z[41:]], vectors, kernel)) < 2e-6


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("classes", [1, 3])
def test_half_precision_rows(path, dtype, classes):
    exact, weight, scale = case(50, 41, 24, classes, dtype=torch.float64)
    rounded = exact.to(dtype)
    # 1/n² and smaller: below the range of float16
    weight, scale = weight.abs() * 1e-3, scale.sign()
    check_pairs(rounded, 50, weight, scale, gaussian(), value_bar=1e-6, gradient_bar=5e-3)
    check_pairs(rounded, 50, weight, scale, gaussian(), against=exact, value_bar=1e-3, gradient_bar=1e-2)


def test_large_offsets_within_a_side_and_strided_rows(path):
    z, weight, scale = case(30, 44, 20)
    z = (z * 4).repeat_interleave(2, dim=1)[:, ::2]
    weight = weight.repeat_interleave(2, dim=1)[:, ::2]
    assert not z.is_contiguous()
    check_pairs(z, 30, weight, scale, gaussian(first=4.0))


def test_float64_weights(path):
    z, weight, scale = case(20, 24, 6)
    check_pairs(z, 20, weight.double(), scale.float(), gaussian())


def test_nan_is_not_hidden(path):
    z, weight, scale = case(20, 24, 6)
    z[3, 2] = float("nan")
    out = backend.pair_sums([z], 20, weight, scale, gaussian(), gradient=(True, True), weight_gradient=True)
    assert bool(out.sums[0].isnan().all())
    assert bool(out.sums[2].isnan().all())
    assert bool(out.grad[0].isnan().all())
    assert bool(out.weight_grad.isnan().all())


def test_same_bits_twice(path):
    z, weight, scale = case(30, 40, 20)
    first, second = (
        backend.pair_sums([z], 30, weight, scale, gaussian(), gradient=(True, True), weight_gradient=True)
        for _ in range(2)
    )
    assert torch.equal(first.sums, second.sums)
    assert torch.equal(first.grad[0], second.grad[0])
    assert torch.equal(first.weight_grad, second.weight_grad)


def test_panels_take_no_tf32_from_the_trainer(monkeypatch):
    from tl_research.kernels.backends import triton_plan, triton_products

    seen = []

    def recorded(product):
        def then(*arguments, **options):
            seen.append(torch.backends.cuda.matmul.fp32_precision)
            return product(*arguments, **options)

        return then

    for name in ("_product", "_take_product"):
        monkeypatch.setattr(triton_products, name, recorded(getattr(triton_products, name)))
    monkeypatch.setattr(triton_plan, "by_panels", lambda task: True)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        z, weight, scale = case(20, 24, 6)
        check_pairs(z, 20, weight, scale, gaussian())
        assert seen == ["ieee"] * 2
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("left", ["layers", "dtypes", "float64", "classes"])
def test_what_is_left_to_the_tiled_backend(monkeypatch, left):
    monkeypatch.setattr(backend, "_tiled", lambda: reference)
    monkeypatch.setattr(backend, "_run", None)
    z, weight, scale = case(5, 6, 3, classes=65 if left == "classes" else 1)
    kernel = gaussian()
    rows = [z]
    if left == "layers":
        rows, kernel = [z] * 4, Kernel("gaussian", kernel.bandwidths * 4, (True,) * 4)
    elif left == "dtypes":
        rows, kernel = [z, z.half()], Kernel("gaussian", kernel.bandwidths * 2, (True,) * 2)
    elif left == "float64":
        rows = [z.double()]
    flags = dict(gradient=(True, True), weight_gradient=True)
    whole = backend.pair_sums(rows, 5, weight, scale, kernel, **flags)
    block = backend.row_sums(
        rows, 5, rows, 5, weight, weight, scale, kernel, self_column=torch.arange(11, device=DEVICE), **flags
    )
    assert len(whole.grad) == len(rows)
    assert torch.equal(whole.sums, block.sums)
    assert backend.gram_product(rows, rows, weight, kernel).shape == weight.shape


def test_table_holds_every_size():
    from tl_research.kernels.backends import triton_plan

    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        for n in (1, 512, 513, 5000, 20000):
            for d in (1, 16, 64, 65, 128, 129, 256, 257, 2048):
                rows = (torch.empty(n, d, dtype=dtype, device="meta"),)
                weight = torch.empty(n, 1, device="meta")
                task = triton_plan.Task(rows, n, rows, n, weight, weight, weight, gaussian(), (d,), own=True)
                if triton_plan.by_panels(task):
                    assert d > triton_plan.TILE_D or n > triton_plan.SMALL
                else:
                    assert min(triton_plan.tile(task)) > 0


@pytest.mark.gpu
@pytest.mark.skipif(INTERPRETED, reason="too large for the interpreter")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("offset", [0.0, 50.0])
@pytest.mark.parametrize(
    ("n", "m", "d"),
    [(200, 312, 256), (256, 256, 64), (1000, 1100, 256), (3000, 4001, 100), (9000, 9001, 256), (700, 800, 2048)],
)
def test_on_a_device(n, m, d, dtype, offset):
    z, weight, scale = case(n, m, d, dtype=torch.float64)
    z = z.relu() + offset
    z = z - z.mean(dim=0)
    weight = torch.cat([torch.full((n, 1), 1 / n), torch.full((m, 1), 1 / m)]).to(DEVICE)
    scale = torch.tensor([[1.0], [1.0], [-1.0]], dtype=torch.float64, device=DEVICE)
    half = dtype != torch.float32
    bars = dict(value_bar=1e-3, gradient_bar=1e-2) if half else dict(value_bar=1e-6, gradient_bar=2e-5)
    check_pairs(z.to(dtype), n, weight, scale, gaussian(5, first=0.4), against=z, **bars)
