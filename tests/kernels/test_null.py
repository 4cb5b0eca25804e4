"""The permutation test against a loop over the same permutations, and its behaviour under the null."""

import math

import pytest
import torch
from scipy.stats import binom

from tl_research.kernels import bandwidth_ladder, null
from tl_research.kernels.kernel import FAMILIES, Kernel
from tl_research.kernels.null import permutation_test

SIGMAS = (0.5, 1.0, 2.0)


def rows(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def unbiased(x, y, kernel):
    """Means over pairs, one pair at a time."""

    def mean(pairs):
        values = [kernel.layer((a - b).square().sum(), 0)[0].item() for a, b in pairs]
        return sum(values) / len(values)

    def within(z):
        return mean([(z[i], z[j]) for i in range(len(z)) for j in range(len(z)) if i != j])

    return within(x) + within(y) - 2 * mean([(a, b) for a in x for b in y])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("n", "m"), [(5, 5), (3, 7), (6, 2)])
def test_a_loop_over_the_same_permutations(n, m, family, monkeypatch):
    monkeypatch.setattr(null, "CHUNK", 4)  # several passes, the last of them short
    x, y = rows(n, 2), rows(m, 2, seed=1) + 0.5
    kernel = Kernel(family, (torch.tensor(SIGMAS, dtype=torch.float64),), (False,), 1.5)
    found = permutation_test(x, y, bandwidths=SIGMAS, kernel=family, alpha=1.5, permutations=10, generator=generator(3))
    same, pooled, values = generator(3), torch.cat([x, y]), []
    for _ in range(10):
        order = torch.randperm(n + m, generator=same)
        values.append(unbiased(pooled[order[:n]], pooled[order[n:]], kernel))
    value = unbiased(x, y, kernel)
    mean = sum(values) / 10
    std = math.sqrt(sum((v - mean) ** 2 for v in values) / 9)
    at_least = sum(v >= value - 1e-12 for v in values)
    # the square root makes 1e-8 of the rounding of a row's distance to itself, the same for all divisions
    exact = 1e-6 if family == "laplacian" else 1e-9
    assert found.value.item() == pytest.approx(value, rel=exact)
    assert found.p_value.item() == pytest.approx((1 + at_least) / 11)
    assert found.null_mean.item() == pytest.approx(mean, rel=exact)
    assert found.null_std.item() == pytest.approx(std, rel=exact)
    assert found.z_score.item() == pytest.approx((value - mean) / std, rel=exact)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_divisions_that_equal_the_given_one_count_as_at_least_as_large(dtype):
    """Two rows per side have three divisions, each drawn a third of the time, half of it with sides exchanged."""
    for seed in range(20):
        x, y = (1.7 * rows(2, 3, seed=2 * seed + side).to(dtype) for side in (0, 1))
        found = permutation_test(x, y, bandwidths=SIGMAS, permutations=2000, generator=generator(seed))
        assert min(abs(found.p_value.item() - thirds / 3) for thirds in (1, 2, 3)) < 0.04


@pytest.mark.parametrize(("n", "m"), [(30, 30), (20, 45)])
def test_under_the_null_p_is_uniform_and_z_is_standard(n, m):
    repeats, p, z = 200, [], []
    for i in range(repeats):
        x, y = rows(n, 3, seed=2 * i), rows(m, 3, seed=2 * i + 1)
        bandwidths = bandwidth_ladder(x, y)
        found = permutation_test(x, y, bandwidths=bandwidths, permutations=99, generator=generator(i))
        p.append(found.p_value.item())
        z.append(found.z_score.item())
    for level in (0.05, 0.25, 0.5):
        rejected = sum(value <= level for value in p)
        low, high = binom.ppf([0.005, 0.995], repeats, level)
        assert low <= rejected <= high, level
    z = torch.tensor(z)
    assert abs(z.mean().item()) < 3 * z.std().item() / math.sqrt(repeats)
    assert z.std().item() == pytest.approx(1, abs=0.2)


def test_a_shift_is_seen_and_more_of_it_more():
    scores = []
    for shift in (0.8, 1.5, 2.5):
        x, y = rows(40, 3), rows(30, 3, seed=1) + shift
        found = permutation_test(x, y, bandwidths=SIGMAS, permutations=199, generator=generator())
        assert found.p_value.item() == pytest.approx(1 / 200)
        scores.append(found.z_score.item())
    assert 3 < scores[0] < scores[1] < scores[2]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_an_offset_of_fifty_changes_nothing(dtype):
    x, y = rows(40, 3), rows(30, 3, seed=1) + 0.3
    plain = permutation_test(x, y, bandwidths=SIGMAS, generator=generator())
    moved = permutation_test((x + 50).to(dtype), (y + 50).to(dtype), bandwidths=SIGMAS, generator=generator())
    exact = dtype == torch.float64
    torch.testing.assert_close(tuple(moved), tuple(plain), rtol=1e-9 if exact else 1e-3, atol=1e-12 if exact else 1e-6)


def test_the_generator_decides():
    x, y = rows(20, 3), rows(15, 3, seed=1) + 0.3
    first, again, other = (
        permutation_test(x, y, bandwidths=SIGMAS, permutations=50, generator=generator(seed)) for seed in (4, 4, 5)
    )
    assert all(torch.equal(a, b) for a, b in zip(first, again))
    assert first.value == other.value
    assert first.null_mean != other.null_mean


def test_half_precision_is_widened_and_no_gradient_is_kept():
    x, y = rows(20, 3).bfloat16().requires_grad_(), rows(15, 3, seed=1).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = permutation_test(x, y, bandwidths=SIGMAS, permutations=20, generator=generator())
    wide = permutation_test(x.double(), y.double(), bandwidths=SIGMAS, permutations=20, generator=generator())
    torch.testing.assert_close(tuple(found), tuple(wide), rtol=1e-4, atol=1e-7)
    assert not found.value.requires_grad


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ({"x": torch.zeros(1, 2)}, "wants at least 2"),
        ({"y": torch.zeros(3, 4)}, r"\(3, 4\)"),
        ({"x": torch.zeros(3, 2, dtype=torch.long)}, "wants float"),
        ({"kernel": "gausian"}, "did you mean 'gaussian'"),
        ({"backend": "referense"}, "did you mean 'reference'"),
        ({"permutations": 1}, "wants at least 2"),
        ({"bandwidths": [-1.0]}, "wants numbers above 0"),
    ],
)
def test_bad_input_is_refused(arguments, wanted):
    given = {"x": torch.zeros(3, 2), "y": torch.zeros(3, 2), "bandwidths": [1.0], **arguments}
    with pytest.raises(ValueError, match=wanted):
        permutation_test(given.pop("x"), given.pop("y"), generator=generator(), **given)
