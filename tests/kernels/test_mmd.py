"""MMD against a naive loop, closed forms of Gaussians, and its invariances."""

import math
from types import SimpleNamespace

import pytest
import torch
from scipy.integrate import quad
from scipy.special import gamma
from scipy.stats import norm

from tests.kernels.dense import dense_class_mmd2, dense_kernel, dense_mmd2
from tl_research.kernels import bandwidth_ladder, mmd2
from tl_research.kernels.arguments import checked_kernel
from tl_research.kernels.kernel import FAMILIES

FIVE = (0.5, 0.8, 1.0, 2.0, 4.0)


def rows(n, d, seed=0, dtype=torch.float64):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def uniform(n, seed):
    return torch.rand(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def naive(x, y, bandwidths, estimator, p=None, q=None):
    """Sums over pairs of plain Python numbers."""
    x, y = x.tolist(), y.tolist()
    p = [1 / len(x)] * len(x) if p is None else [v / sum(p) for v in p]
    q = [1 / len(y)] * len(y) if q is None else [v / sum(q) for v in q]

    def kernel(a, b):
        squared = sum((u - v) ** 2 for u, v in zip(a, b))
        return sum(math.exp(-squared / (2 * s * s)) for s in bandwidths)

    def within(z, w):
        total = norm = 0.0
        for i in range(len(z)):
            for j in range(len(z)):
                if estimator == "biased" or i != j:
                    total += w[i] * w[j] * kernel(z[i], z[j])
                    norm += w[i] * w[j]
        return total / norm

    cross = sum(p[i] * q[j] * kernel(x[i], y[j]) for i in range(len(x)) for j in range(len(y)))
    return within(x, p) + within(y, q) - 2 * cross


@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
@pytest.mark.parametrize("bandwidths", [(1.3,), FIVE])
@pytest.mark.parametrize(("n", "m", "d"), [(6, 6, 3), (5, 9, 2), (2, 3, 1), (8, 4, 12)])
def test_naive_loop(n, m, d, bandwidths, estimator):
    x, y = rows(n, d), rows(m, d, seed=1) + 0.5
    expected = naive(x, y, bandwidths, estimator)
    assert mmd2(x, y, bandwidths=bandwidths, estimator=estimator).item() == pytest.approx(expected, rel=1e-10)
    shifted = mmd2(x + 50, y + 50, bandwidths=torch.tensor(bandwidths), estimator=estimator)
    assert shifted.item() == pytest.approx(expected, rel=1e-5)  # bandwidths given in float32


@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
def test_naive_loop_with_weights(estimator):
    x, y = rows(5, 2), rows(4, 2, seed=1) + 0.5
    p, q = [0.2, 3.0, 0.0, 1.0, 0.7], [1.0, 2.0, 0.5, 0.5]
    value = mmd2(x, y, bandwidths=FIVE, estimator=estimator, x_weight=torch.tensor(p), y_weight=torch.tensor(q))
    assert value.item() == pytest.approx(naive(x, y, FIVE, estimator, p, q), rel=1e-6)


def test_one_row_a_side_when_biased():
    x, y = torch.tensor([[0.0]]), torch.tensor([[2.0]])
    assert mmd2(x, y, bandwidths=[1.0], estimator="biased").item() == pytest.approx(2 - 2 * math.exp(-2))


@pytest.mark.parametrize(("shift", "scale"), [(0.7, 1.0), (0.0, 1.5), (0.5, 0.6)])
def test_closed_form_of_two_gaussians(shift, scale):
    """E k(u, v) of u - v ~ N(δ, τ² I) is (s²/(s²+τ²))^(d/2) exp(-||δ||² / (2 (s²+τ²)))."""
    d, n, s, draws = 3, 200, 1.2, 60

    def expectation(delta, variance):
        return (s**2 / (s**2 + variance)) ** (d / 2) * math.exp(-d * delta**2 / (2 * (s**2 + variance)))

    truth = expectation(0, 2) + expectation(0, 2 * scale**2) - 2 * expectation(shift, 1 + scale**2)
    values = torch.stack(
        [mmd2(rows(n, d, seed=2 * i), scale * rows(n, d, seed=2 * i + 1) + shift, bandwidths=[s]) for i in range(draws)]
    )
    error = values.std().item() / math.sqrt(draws)
    assert abs(values.mean().item() - truth) < 3 * error
    assert error < 0.05 * truth


@pytest.mark.parametrize("bandwidths", [(1.0,), FIVE])
@pytest.mark.parametrize("n", [32, 128])
def test_unbiased_mean_is_zero_under_the_null_and_biased_is_not(n, bandwidths):
    draws, d = 200, 4
    pairs = [(rows(n, d, seed=2 * i), rows(n, d, seed=2 * i + 1)) for i in range(draws)]
    values = torch.stack([mmd2(x, y, bandwidths=bandwidths) for x, y in pairs])
    error = values.std().item() / math.sqrt(draws)
    assert abs(values.mean().item()) < 2 * error
    assert 0.3 < (values < 0).double().mean() < 0.8  # signed, not patched
    biased = torch.stack([mmd2(x, y, bandwidths=bandwidths, estimator="biased") for x, y in pairs])
    assert biased.mean().item() > 10 * error
    assert (biased > 0).all()


@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
def test_invariances(estimator):
    x, y = rows(12, 4), rows(9, 4, seed=1) + 0.3
    rotation = torch.linalg.qr(rows(4, 4, seed=2)).Q

    def value(a, b, bandwidths=FIVE):
        return mmd2(a, b, bandwidths=bandwidths, estimator=estimator)

    expected = value(x, y)
    torch.testing.assert_close(value(y, x), expected)
    torch.testing.assert_close(value(x.flip(0), y[[3, 0, 8, 1, 7, 2, 6, 5, 4]]), expected)
    torch.testing.assert_close(value(x + 50, y + 50), expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(value(x @ rotation, y @ rotation), expected)
    torch.testing.assert_close(value(3 * x, 3 * y, [3 * s for s in FIVE]), expected)
    torch.testing.assert_close(sum(value(x, y, [s]) for s in FIVE), expected)


def test_equal_samples():
    x = rows(10, 3)
    assert mmd2(x, x.flip(0), bandwidths=FIVE, estimator="biased").item() == pytest.approx(0, abs=1e-14)
    assert mmd2(x, x, bandwidths=FIVE).item() < 0


def test_grows_with_the_shift():
    x, y = rows(100, 2), rows(100, 2, seed=1)
    values = [mmd2(x, y + shift, bandwidths=FIVE).item() for shift in (0, 0.5, 1.0, 2.0)]
    assert values == sorted(values)


def test_integer_weights_are_repeated_rows():
    x, y = rows(4, 2), rows(3, 2, seed=1)
    p, q = torch.tensor([1, 3, 2, 0]), torch.tensor([2, 1, 4])
    weighted = mmd2(x, y, bandwidths=FIVE, estimator="biased", x_weight=p, y_weight=q)
    repeated = mmd2(x.repeat_interleave(p, 0), y.repeat_interleave(q, 0), bandwidths=FIVE, estimator="biased")
    torch.testing.assert_close(weighted, repeated)


@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
def test_equal_weights_change_nothing_and_a_weight_of_zero_drops_a_row(estimator):
    x, y = rows(6, 2), rows(5, 2, seed=1)
    plain = mmd2(x, y, bandwidths=FIVE, estimator=estimator)
    torch.testing.assert_close(mmd2(x, y, bandwidths=FIVE, estimator=estimator, x_weight=torch.full((6,), 7.0)), plain)
    dropped = mmd2(x, y, bandwidths=FIVE, estimator=estimator, y_weight=torch.tensor([1.0, 1, 0, 1, 1]))
    torch.testing.assert_close(dropped, mmd2(x, y[[0, 1, 3, 4]], bandwidths=FIVE, estimator=estimator))


@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
def test_gradient_of_both_sides_and_of_weights(estimator):
    x, y = rows(4, 3).requires_grad_(), (rows(5, 3, seed=1) + 0.4).requires_grad_()
    w = torch.tensor([0.5, 1.0, 2.0, 0.7], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda a, b, p: mmd2(a, b, bandwidths=(0.7, 1.5), estimator=estimator, x_weight=p), (x, y, w)
    )


def test_gradient_is_zero_where_all_rows_coincide():
    x, y = torch.ones(3, 2, requires_grad=True), torch.ones(4, 2, requires_grad=True)
    value = mmd2(x, y, bandwidths=bandwidth_ladder(x, y).sigmas)
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-6)
    assert torch.equal(x.grad, torch.zeros(3, 2))


def test_no_gradient_reaches_the_bandwidths():
    sigma = torch.tensor([1.0], requires_grad=True)
    value = mmd2(rows(4, 2).requires_grad_(), rows(4, 2, seed=1), bandwidths=sigma)
    value.backward()
    assert sigma.grad is None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize(("backend", "bar"), [("reference", 1e-6), ("auto", 1e-5)])
def test_any_float_dtype_inside_autocast(dtype, backend, bar):
    # sides so far apart that no centre is near both: the digits that float32 norms lose show in the wider bar
    x, y = rows(20, 6).to(dtype).requires_grad_(), (rows(20, 6, seed=1) + 50).to(dtype)
    expected = dense_mmd2(x.detach(), y, FIVE)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = mmd2(x, y, bandwidths=FIVE, backend=backend)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(expected.item(), rel=bar)
    value.backward()
    assert x.grad.dtype == dtype


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": torch.zeros(1, 2)}, r"x has 1 row\(s\); the unbiased estimator needs 2"),
        ({"y": torch.zeros(0, 2), "estimator": "biased"}, r"y has 0 row\(s\)"),
        ({"y": torch.zeros(3, 4)}, r"\(3, 4\)"),
        ({"x": torch.zeros(3, 2, dtype=torch.long)}, "wants float"),
        ({"estimator": "unbias"}, "did you mean 'unbiased'"),
        ({"backend": "referense"}, "did you mean 'reference'"),
        ({"bandwidths": [1.0, 0.0]}, "wants numbers above 0"),
        ({"bandwidths": [float("nan")]}, "wants numbers above 0"),
        ({"bandwidths": []}, "one or more sigmas"),
        ({"x_weight": torch.ones(2)}, r"x_weight: got shape \(2,\) for 3 rows"),
        ({"y_weight": torch.tensor([1.0, -1.0, 1.0])}, "y_weight: got a negative weight"),
        ({"y_weight": torch.tensor([1.0, math.nan, 1.0])}, "y_weight: got a negative weight"),
        ({"y_weight": torch.tensor([1.0, 0.0, 0.0])}, r"y_weight: 1 positive weight\(s\); .* needs 2"),
        ({"x_weight": torch.ones(3, 2)}, r"\(3, 2\) and None; per-class weights"),
        ({"x_weight": torch.ones(3, 2), "y_weight": torch.ones(3, 4)}, r"\(3, 2\) and \(3, 4\); per-class weights"),
        ({"x_weight": torch.ones(3, 0), "y_weight": torch.ones(3, 0)}, r"x_weight: got shape \(3, 0\)"),
        ({"x_weight": -torch.ones(3, 2), "y_weight": torch.ones(3, 2)}, "x_weight: got a negative weight"),
        ({"kernel": "gausian"}, "did you mean 'gaussian'"),
        ({"alpha": 0.0}, "alpha: got 0.0"),
        ({"detach": "z"}, "detach: got 'z'"),
        ({"x": torch.zeros(0, 2), "x_weight": torch.ones(0, 2), "y_weight": torch.ones(3, 2)}, r"x has 0 row\(s\)"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    given = {"x": torch.zeros(3, 2), "y": torch.zeros(3, 2), "bandwidths": [1.0], **arguments}
    with pytest.raises(ValueError, match=message):
        mmd2(given.pop("x"), given.pop("y"), **given)


@pytest.mark.parametrize("kernel", FAMILIES)
@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
def test_every_family_and_its_gradient_by_the_dense_oracle(kernel, estimator):
    x, y = rows(7, 3).requires_grad_(), (rows(5, 3, seed=1) + 0.4).requires_grad_()
    p, q = uniform(7, seed=91).requires_grad_(), uniform(5, seed=92).requires_grad_()
    names = {"estimator": estimator, "x_weight": p, "y_weight": q, "kernel": kernel, "alpha": 0.7}
    value, expected = mmd2(x, y, bandwidths=FIVE, **names), dense_mmd2(x, y, FIVE, **names)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(
        torch.autograd.grad(value, (x, y, p, q)), torch.autograd.grad(expected, (x, y, p, q)), rtol=1e-6, atol=1e-10
    )


def laplacian_expectation(shift, variance, sigma):
    """E exp(-|u| / sigma), u ~ N(shift, variance)."""
    t = math.sqrt(variance)
    left, right = norm.cdf(shift / t - t / sigma), norm.cdf(-shift / t - t / sigma)
    return math.exp(variance / (2 * sigma**2)) * (math.exp(-shift / sigma) * left + math.exp(shift / sigma) * right)


def rational_quadratic_expectation(shift, variance, sigma, alpha):
    """E (1 + u² / (2 alpha sigma²))^-alpha, u ~ N(shift, variance): the kernel is a gamma mixture of Gaussians."""

    def part(t):
        spread = 1 + t * variance / (alpha * sigma**2)
        weight = t ** (alpha - 1) * math.exp(-t) / gamma(alpha)
        return weight * spread**-0.5 * math.exp(-t * shift**2 / (2 * alpha * sigma**2 * spread))

    return quad(part, 0, math.inf)[0]


@pytest.mark.parametrize("kernel", ["laplacian", "rational_quadratic"])
def test_closed_form_of_two_gaussians_on_a_line(kernel):
    n, sigma, alpha, shift, scale, draws = 200, 1.2, 1.5, 0.7, 0.6, 60

    def expectation(delta, variance):
        if kernel == "laplacian":
            return laplacian_expectation(delta, variance, sigma)
        return rational_quadratic_expectation(delta, variance, sigma, alpha)

    truth = expectation(0, 2) + expectation(0, 2 * scale**2) - 2 * expectation(shift, 1 + scale**2)
    values = torch.stack(
        [
            mmd2(
                rows(n, 1, seed=2 * i),
                scale * rows(n, 1, seed=2 * i + 1) + shift,
                bandwidths=[sigma],
                kernel=kernel,
                alpha=alpha,
            )
            for i in range(draws)
        ]
    )
    error = values.std().item() / math.sqrt(draws)
    assert abs(values.mean().item() - truth) < 3 * error
    assert error < 0.05 * truth


def test_bandwidths_so_large_that_all_rows_are_alike_and_so_small_that_none_are():
    x, y = rows(6, 3), rows(9, 3, seed=1) + 1
    for kernel in FAMILIES:
        for estimator in ("unbiased", "biased", "linear"):
            wide = mmd2(x, y, bandwidths=[1e9, 2e9], estimator=estimator, kernel=kernel)
            assert wide.item() == pytest.approx(0, abs=1e-7)
        # the rational quadratic falls as sigma², the others at once
        narrow = [1e-9, 2e-9]
        assert mmd2(x, y, bandwidths=narrow, kernel=kernel).item() == pytest.approx(0, abs=1e-12)
        biased = mmd2(x, y, bandwidths=narrow, kernel=kernel, estimator="biased")
        assert biased.item() == pytest.approx(2 * (1 / 6 + 1 / 9))


@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
def test_class_weights_are_the_mean_over_a_loop_over_classes(estimator):
    x, y = rows(8, 3).requires_grad_(), (rows(7, 3, seed=1) + 0.4).requires_grad_()
    p = torch.eye(5, dtype=torch.float64)[[0, 1, 1, 0, 2, 2, 2, 3]]  # class 3 has one row, class 4 none
    q = rows(7, 5, seed=2).softmax(dim=1)
    q[:, 2] = 0  # no weight here
    p.requires_grad_(), q.requires_grad_()
    value = mmd2(x, y, bandwidths=FIVE, estimator=estimator, x_weight=p, y_weight=q)
    expected = dense_class_mmd2(x, y, FIVE, estimator, p, q)
    torch.testing.assert_close(value, expected)
    found, wanted = (torch.autograd.grad(v, (x, y, p, q)) for v in (value, expected))
    for got, want in zip(found, wanted):
        torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
def test_one_class_of_equal_weight_is_no_class_and_scale_of_a_class_does_not_matter(estimator):
    x, y = rows(6, 2), rows(5, 2, seed=1)
    plain = mmd2(x, y, bandwidths=FIVE, estimator=estimator)
    p, q = torch.full((6, 2), 0.1), torch.full((5, 2), 7.0)
    torch.testing.assert_close(mmd2(x, y, bandwidths=FIVE, estimator=estimator, x_weight=p, y_weight=q), plain)


@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
def test_without_any_class_on_both_sides_the_value_is_zero_and_so_are_gradients(estimator):
    x, y = rows(4, 2).requires_grad_(), rows(4, 2, seed=1).requires_grad_()
    p, q = torch.tensor([[1.0, 0.0]]).repeat(4, 1), torch.tensor([[0.0, 1.0]]).repeat(4, 1)
    p.requires_grad_(), q.requires_grad_()
    value = mmd2(x, y, bandwidths=FIVE, estimator=estimator, x_weight=p, y_weight=q)
    value.backward()
    assert value.item() == 0
    for tensor in (x, y, p, q):
        assert torch.equal(tensor.grad, torch.zeros_like(tensor))


def test_one_row_a_side_with_classes_is_left_out_when_unbiased():
    value = mmd2(rows(1, 2), rows(3, 2, seed=1), bandwidths=[1.0], x_weight=torch.ones(1, 2), y_weight=torch.ones(3, 2))
    assert value.item() == 0


@pytest.mark.parametrize("estimator", ["biased", "unbiased", "linear"])
def test_a_row_that_is_not_finite_never_passes(estimator):
    for bad in (math.nan, math.inf, -math.inf):
        x, y = rows(6, 3, dtype=torch.float32), rows(6, 3, seed=1, dtype=torch.float32)
        x[4, 1] = bad
        assert mmd2(x, y, bandwidths=FIVE, estimator=estimator).isnan()


def test_a_nan_row_without_weight_does_not_pass_either():
    x = rows(4, 2)
    x[0] = math.nan
    weight = torch.tensor([0.0, 1, 1, 1])
    assert mmd2(x, rows(4, 2, seed=1), bandwidths=FIVE, x_weight=weight).isnan()


def test_bad_bandwidths_in_a_tensor_give_nan():
    for bad in (0.0, -1.0, math.nan):
        assert mmd2(rows(4, 2), rows(4, 2, seed=1), bandwidths=torch.tensor([1.0, bad])).isnan()


def test_rows_that_are_not_contiguous():
    x, y = rows(12, 6)[::2, ::3].requires_grad_(), rows(4, 7, seed=1).T.requires_grad_()
    y = y[:, :2]
    value, expected = mmd2(x, y, bandwidths=FIVE), mmd2(x.contiguous(), y.contiguous(), bandwidths=FIVE)
    torch.testing.assert_close(value, expected, rtol=0, atol=0)
    torch.testing.assert_close(torch.autograd.grad(value, x), torch.autograd.grad(expected, x), rtol=0, atol=0)


def test_ladders_are_taken_and_doubling_is_found_on_the_host():
    x, y = rows(5, 2), rows(4, 2, seed=1)
    sigmas = torch.tensor([1.0, math.sqrt(2), 2.0]).double()
    ladder = SimpleNamespace(sigmas=sigmas, doubling=True)
    torch.testing.assert_close(mmd2(x, y, bandwidths=ladder), mmd2(x, y, bandwidths=sigmas.tolist()))

    def doubling(bandwidths):
        return checked_kernel([bandwidths], "gaussian", 1.0, x.device, "test").doubling

    assert doubling(ladder) == (True,)
    assert doubling(sigmas.tolist()) == (True,)
    assert doubling(sigmas.float().tolist()) == (True,)
    assert doubling(sigmas) == (False,)
    assert doubling(sigmas.tolist()[::-1]) == (False,)
    assert doubling([1.0, 2.0]) == (False,)
    assert doubling([1.0]) == (False,)


def relu_features(n, d, seed, offset):
    """Columns of unequal spread, half of them zero, as after a ReLU layer."""
    spread = torch.linspace(0.2, 2, d, dtype=torch.float64)
    return (rows(n, d, seed=seed) * spread + 0.1 * seed).relu() + offset


@pytest.mark.parametrize("backend", ["reference", "auto"])
@pytest.mark.parametrize("offset", [0, 50])
@pytest.mark.parametrize(
    ("dtype", "value_bar", "gradient_bar"), [(torch.float32, 1e-6, 2e-5), (torch.bfloat16, 1e-3, 1e-2)]
)
@pytest.mark.parametrize("estimator", ["unbiased", "biased"])
def test_error_against_float64(dtype, value_bar, gradient_bar, offset, backend, estimator):
    x, y = (relu_features(n, 64, seed, offset).to(dtype).requires_grad_() for n, seed in ((150, 0), (130, 1)))
    bandwidths = bandwidth_ladder(x.double(), y.double())
    bandwidths = getattr(bandwidths, "sigmas", bandwidths)
    value = mmd2(x, y, bandwidths=bandwidths, backend=backend, estimator=estimator)
    wide = [rows.detach().double().requires_grad_() for rows in (x, y)]
    expected = dense_mmd2(*wide, bandwidths, estimator)
    mean = dense_kernel(*wide, bandwidths).mean().item()
    assert abs(value.item() - expected.item()) < value_bar * mean
    for got, want in zip(torch.autograd.grad(value, (x, y)), torch.autograd.grad(expected, wide)):
        assert got.dtype == dtype
        assert (got.double() - want).norm() < gradient_bar * want.norm()
