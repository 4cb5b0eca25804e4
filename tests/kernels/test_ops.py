"""The operators: derivatives, what is computed for whom, and tracing."""

import shutil

import pytest
import torch

from tests.kernels.dense import dense_kernel, dense_mmd2
from tl_research.kernels import bandwidth_ladder, gram_product, joint_mmd2, mmd2, witness
from tl_research.kernels.backends import reference
from tl_research.kernels.backends.choice import NAMES, resolve
from tl_research.kernels.gram import gram_apply, gram_rows_gradient
from tl_research.kernels.kernel import FAMILIES, Kernel
from tl_research.kernels.ops import mmd_sum, pair_sums, unpacked

CPU = torch.device("cpu")


def draw(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()


def uniform(n, seed):
    return torch.rand(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def sides(layers=1, classes=2, dtype=torch.float64):
    x = [draw(5, 3 + layer, seed=layer, dtype=dtype) for layer in range(layers)]
    y = [draw(4, 3 + layer, seed=9 + layer, dtype=dtype) for layer in range(layers)]
    return x, y, draw(5, classes, seed=20), draw(4, classes, seed=21), draw(3, classes, seed=22)


def family(name="gaussian", layers=1):
    sigmas = tuple(torch.tensor([1.0, 2.0], dtype=torch.float64) for _ in range(layers))
    return Kernel(name, sigmas, (False,) * layers, alpha=1.5)


def recorded(monkeypatch):
    """Calls of the reference backend, by their arguments."""
    calls, original = [], reference.pair_sums

    def spy(*args, **kwargs):
        calls.append({"rows": args[0], **kwargs})
        return original(*args, **kwargs)

    monkeypatch.setattr(reference, "pair_sums", spy)
    return calls


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("name", FAMILIES)
def test_gradcheck_in_rows_weights_and_scale(name, layers):
    x, y, p, q, scale = sides(layers)

    def value(p, q, scale, *rows):
        return mmd_sum(rows[:layers], rows[layers:], p, q, scale, family(name, layers))

    assert torch.autograd.gradcheck(value, (p, q, scale, *x, *y))


def test_value_is_the_scaled_sum_over_ordered_pairs():
    (x,), (y,), p, q, scale = sides()
    z, w, n = torch.cat([x, y]), torch.cat([p, q]), len(x)
    k = dense_kernel(z, z, [1.0, 2.0])
    expected = 0
    for i in range(9):
        for j in range(9):
            block = 2 if (i < n) != (j < n) else 0 if i < n else 1
            expected += 0 if i == j else (scale[block] * w[i] * w[j] * k[i, j]).sum()
    torch.testing.assert_close(mmd_sum([x], [y], p, q, scale, family()), expected)


@pytest.mark.parametrize("layers", [1, 2])
def test_the_operator_and_the_short_way_round_it_give_the_same_bits(layers):
    x, y, p, q, scale = sides(layers)
    tensors = (*x, *y, p, q, scale)
    by_operator = pair_sums(x, y, p, q, scale, *unpacked(family("gaussian", layers)), True, True, True, "auto")[0]
    value = mmd_sum(x, y, p, q, scale, family("gaussian", layers))
    assert torch.equal(value, by_operator)
    for got, expected in zip(torch.autograd.grad(value, tensors), torch.autograd.grad(by_operator, tensors)):
        assert torch.equal(got, expected)


@pytest.mark.parametrize("wanted", [(True, True, True), (True, False, False), (False, False, True), (False,) * 3])
@pytest.mark.parametrize(("layers", "backend"), [(1, "reference"), (2, "tiled")])
def test_opcheck_of_the_pair_sum(layers, backend, wanted):
    x, y, *weights_and_scale = sides(layers)
    for tensors, want in ((x, wanted[0]), (y, wanted[1]), (weights_and_scale[:2], wanted[2])):
        for tensor in tensors:
            tensor.requires_grad_(want)
    weights_and_scale[2].requires_grad_(any(wanted))
    torch.library.opcheck(
        pair_sums, (x, y, *weights_and_scale, *unpacked(family("gaussian", layers)), *wanted, "tiled")
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_opcheck_of_narrow_rows(dtype):
    x, y, p, q, scale = sides(dtype=dtype)
    arguments = (x, y, p, q, scale, *unpacked(family()), True, True, True, "auto")
    torch.library.opcheck(pair_sums, arguments, test_utils=("test_schema", "test_faketensor"))


def test_opcheck_of_the_gram_product():
    x, y, *_ = sides(2)
    v, upstream = draw(4, 2, seed=3), draw(5, 2, seed=4)
    rest = (*unpacked(family("gaussian", 2)), "auto")
    torch.library.opcheck(gram_apply, (x, y, v, *rest))
    constants = [[part.detach() for part in layers] for layers in (x, y)]
    torch.library.opcheck(gram_rows_gradient, (*constants, upstream.detach(), v.detach(), *rest))


@pytest.mark.parametrize("name", FAMILIES)
def test_gram_product_and_its_gradients(name):
    (x,), (y,), *_ = sides()
    v = draw(4, 2, seed=3)
    torch.testing.assert_close(
        gram_product(x, y, v, bandwidths=[1.0, 2.0], kernel=name, alpha=1.5),
        dense_kernel(x, y, [1.0, 2.0], name, 1.5) @ v,
    )
    one = gram_product(x, y, v[:, 0], bandwidths=[1.0])
    torch.testing.assert_close(one, dense_kernel(x, y, [1.0]) @ v[:, 0])
    assert torch.autograd.gradcheck(
        lambda x, y, v: gram_product(x, y, v, bandwidths=[1.0, 2.0], kernel=name), (x, y, v)
    )


def test_gram_product_is_twice_differentiable_in_the_vectors_and_says_so_where_it_is_not():
    (x,), (y,), *_ = sides()
    v = draw(4, 2, seed=3)
    assert torch.autograd.gradgradcheck(lambda v: gram_product(x.detach(), y.detach(), v, bandwidths=[1.0]), (v,))
    (grad,) = torch.autograd.grad(gram_product(x, y, v, bandwidths=[1.0]).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="no autograd formula"):
        grad.sum().backward()


def test_gram_product_of_bad_vectors_is_refused():
    x, y = torch.zeros(3, 2), torch.zeros(4, 2)
    for v in (torch.zeros(3), torch.zeros(4, 1, 1), torch.zeros(4, dtype=torch.long)):
        with pytest.raises(ValueError, match="gram_product: v: got"):
            gram_product(x, y, v, bandwidths=[1.0])


def test_a_second_differentiation_raises_and_does_not_pass_as_zero():
    (x,), (y,), *_ = sides()
    for wanted in (x, y):
        (grad,) = torch.autograd.grad(mmd2(x, y, bandwidths=[1.0]), wanted, create_graph=True)
        with pytest.raises(RuntimeError, match="differentiable once"):
            (x.sum() + grad.square().sum()).backward()


def test_the_upstream_gradient_scales_and_a_graph_can_be_used_twice():
    (x,), (y,), *_ = sides()
    value = mmd2(x, y, bandwidths=[1.0])
    (once,) = torch.autograd.grad(value, x, retain_graph=True)
    (scaled,) = torch.autograd.grad(value, x, grad_outputs=torch.tensor(-3.0, dtype=torch.float64))
    torch.testing.assert_close(scaled, -3 * once)
    (chained,) = torch.autograd.grad(mmd2(x, y, bandwidths=[1.0]).square(), x)
    torch.testing.assert_close(chained, 2 * value * once)


@pytest.mark.parametrize("estimator", ["biased", "unbiased", "linear"])
@pytest.mark.parametrize("side", ["x", "y"])
def test_a_detached_side_gets_no_gradient_and_the_other_gets_what_it_got(side, estimator):
    (x,), (y,), *_ = sides()
    p, q = uniform(5, seed=91).requires_grad_(), uniform(4, seed=92).requires_grad_()
    weights = {} if estimator == "linear" else {"x_weight": p, "y_weight": q}
    arguments = {"bandwidths": [1.0, 2.0], "estimator": estimator, **weights}
    tensors = [x, y, *weights.values()]
    whole = torch.autograd.grad(mmd2(x, y, **arguments), tensors)
    detached = mmd2(x, y, **arguments, detach=side)
    assert detached.item() == mmd2(x, y, **arguments).item()
    parts = torch.autograd.grad(detached, tensors, allow_unused=True)
    for index, (part, expected) in enumerate(zip(parts, whole)):
        if "xy"[index % 2] == side:
            assert part is None
        else:
            torch.testing.assert_close(part, expected, rtol=0, atol=0)


def test_only_the_gradients_that_are_wanted_are_computed(monkeypatch):
    (x,), (y,), *_ = sides()
    w = uniform(5, seed=93).requires_grad_()
    calls = recorded(monkeypatch)

    def flags(**arguments):
        mmd2(x, y, bandwidths=[1.0], backend="reference", **arguments)
        return calls[-1]["gradient"], calls[-1]["weight_gradient"]

    assert flags() == ((True, True), False)
    assert flags(x_weight=w) == ((True, True), True)
    assert flags(detach="x") == ((False, True), False)
    assert flags(detach="x", x_weight=w) == ((False, True), False)
    x.requires_grad_(False)
    assert flags() == ((False, True), False)
    with torch.no_grad():
        assert flags(x_weight=w) == ((False, False), False)


def test_half_precision_rows_are_centred_first_and_narrow_for_a_backend_that_takes_them(monkeypatch):
    x, y = (draw(40, 6, seed=seed).detach() + 50 for seed in (0, 1))
    x, y = x.bfloat16().requires_grad_(), y.bfloat16()
    calls = recorded(monkeypatch)
    expected = dense_mmd2(x, y, [2.0])
    mean = dense_kernel(x.double(), y.double(), [2.0]).mean()
    for half, dtype in ((False, torch.float32), (True, torch.bfloat16)):
        monkeypatch.setattr(reference, "HALF", half)
        value = mmd2(x, y, bandwidths=[2.0], backend="reference")
        (rows,) = calls[-1]["rows"]
        assert rows.dtype == dtype
        assert rows.mean(dim=0).abs().max() < 0.01
        assert (value - expected).abs() < (1e-3 if half else 1e-6) * mean
        assert torch.autograd.grad(value, x)[0].dtype == torch.bfloat16
    mmd2(x, y.half(), bandwidths=[2.0], backend="reference")
    assert calls[-1]["rows"][0].dtype == torch.float32


def ladder_loss(x, y):
    return mmd2(x.sin(), y, bandwidths=bandwidth_ladder(x, y)) * 3


def class_loss(x, y):
    p, q = x[:, :2].softmax(dim=1), torch.eye(2, dtype=y.dtype)[[0, 1, 0, 1]]
    return mmd2(x, y, bandwidths=[1.0, 2.0], x_weight=p, y_weight=q, estimator="biased")


def weighted_loss(x, y):
    return mmd2(x, y, bandwidths=torch.tensor([0.7]), x_weight=x[:, 0].exp(), kernel="laplacian", detach="y")


def joint_loss(x, y):
    return joint_mmd2([x, x.tanh()], [y, y.tanh()], bandwidths=[[1.0], [0.5, 1.0]])


def linear_loss(x, y):
    return mmd2(x, y, bandwidths=[1.0, 2.0], estimator="linear", kernel="rational_quadratic")


def witness_loss(x, y):
    return witness(x + 1, x, y, bandwidths=[1.0], y_weight=y[:, 0].square()).square().sum()


def check_compiled(loss, compiler):
    torch._dynamo.reset()
    (x,), (y,), *_ = sides()
    expected = loss(x, y)
    wanted = torch.autograd.grad(expected, (x, y), allow_unused=True)
    value = torch.compile(loss, fullgraph=True, backend=compiler)(x, y)
    torch.testing.assert_close(value, expected)
    for got, expected in zip(torch.autograd.grad(value, (x, y), allow_unused=True), wanted):
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("loss", [ladder_loss, class_loss, weighted_loss, joint_loss, linear_loss, witness_loss])
def test_compiled_as_one_graph_value_and_gradients_are_those_of_eager(loss):
    check_compiled(loss, "aot_eager")


@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor wants a C++ compiler")
def test_compiled_by_inductor():
    check_compiled(ladder_loss, "inductor")


def test_bad_weights_give_nan_where_they_cannot_be_read():
    (x,), (y,), *_ = sides()
    for bad in (-1.0, float("nan"), float("inf")):
        weight = torch.tensor([1.0, bad, 1.0, 1.0, 1.0])
        for weights in ({"x_weight": weight}, {"x_weight": weight[:, None].repeat(1, 2), "y_weight": torch.ones(4, 2)}):
            torch._dynamo.reset()
            compiled = torch.compile(mmd2, fullgraph=True, backend="eager")
            assert compiled(x, y, bandwidths=[1.0], **weights).isnan()


@pytest.mark.parametrize("name", NAMES)
def test_every_backend_name_runs_on_a_cpu_with_equal_results(name):
    (x,), (y,), *_ = sides(dtype=torch.float32)
    results = []
    for backend in ("reference", name):
        value = mmd2(x, y, bandwidths=[1.0, 2.0], backend=backend)
        results.append((value, *torch.autograd.grad(value, (x, y))))
    torch.testing.assert_close(results[1], results[0], rtol=1e-4, atol=1e-5)


def test_reference_is_what_is_asked_for():
    assert resolve("reference", CPU) is reference
