"""Bandwidth heuristics against loops over pairs."""

import io
import math

import numpy as np
import pytest
import torch

from tl_research.kernels import Ladder, MovingBandwidth, bandwidth_ladder, mean_squared_distance, median_distance
from tl_research.kernels.arguments import checked_kernel


def rows(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def mean_over_pairs(z, weight=None):
    weight = [1.0] * len(z) if weight is None else weight
    total = mass = 0.0
    for i in range(len(z)):
        for j in range(len(z)):
            if i != j:
                total += weight[i] * weight[j] * (z[i] - z[j]).square().sum().item()
                mass += weight[i] * weight[j]
    return total / mass


@pytest.mark.parametrize(("n", "d"), [(2, 3), (9, 1), (20, 6)])
def test_mean_squared_distance_by_a_loop(n, d):
    z = rows(n, d)
    assert mean_squared_distance(z).item() == pytest.approx(mean_over_pairs(z), rel=1e-12)


def test_mean_squared_distance_with_weights_by_a_loop():
    z, weight = rows(6, 3) + 2, [0.2, 3.0, 0.0, 1.0, 0.7, 1.0]
    found = mean_squared_distance(z, torch.tensor(weight, dtype=torch.float64))
    assert found.item() == pytest.approx(mean_over_pairs(z, weight), rel=1e-12)


def test_mean_squared_distance_is_differentiable():
    weight = torch.tensor([0.2, 3.0, 1.0, 0.7], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(mean_squared_distance, (rows(4, 2).requires_grad_(), weight))


def test_an_offset_of_fifty_costs_no_digits_and_half_is_widened():
    z = rows(50, 8)
    expected = mean_squared_distance(z).item()
    assert mean_squared_distance((z + 50).float()).item() == pytest.approx(expected, rel=1e-5)
    of_half = mean_squared_distance(z.bfloat16())
    assert of_half.dtype == torch.float32
    assert of_half.item() == pytest.approx(mean_squared_distance(z.bfloat16().double()).item(), rel=1e-5)


def naive_median(z):
    return np.median([np.linalg.norm(z[i] - z[j]) for i in range(len(z)) for j in range(i)])


@pytest.mark.parametrize("n", [2, 3, 7, 8])  # 1, 3, 21 and 28 pairs: odd and even
def test_median_distance_by_a_loop(n):
    x, y = rows(n // 2, 3) + 50, rows(n - n // 2, 3, seed=1) + 51
    expected = naive_median(torch.cat([x, y]).numpy())
    assert median_distance(x, y, generator=generator()).item() == pytest.approx(expected, rel=1e-10)


def test_median_distance_of_a_sub_sample():
    x, y = rows(40, 2), rows(30, 2, seed=1) + 3
    pooled = torch.cat([x, y])
    drawn = pooled[torch.randperm(70, generator=generator(5))[:12]]
    found = median_distance(x, y, rows=12, generator=generator(5)).item()
    assert found == pytest.approx(naive_median(drawn.numpy()), rel=1e-10)
    assert found != median_distance(x, y, rows=12, generator=generator(6)).item()


def test_median_distance_needs_no_matrix_of_all_rows():
    x = rows(200_000, 2)
    expected = 2 * math.sqrt(math.log(2))  # of N(0, 2 I) in two dimensions: P(r > c) = exp(-c² / 4)
    assert median_distance(x[:150_000], x[150_000:], generator=generator()).item() == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize(("count", "exponents"), [(1, [0]), (2, [-1, 0]), (5, [-2, -1, 0, 1, 2])])
def test_ladder_surrounds_the_mean_squared_distance_of_the_pooled_rows(count, exponents):
    x, y = rows(10, 3), rows(6, 3, seed=1) + 2
    pooled = mean_over_pairs(torch.cat([x, y]))
    ladder = bandwidth_ladder(x, y, count=count, ratio=3.0)
    expected = torch.tensor([3.0**b * pooled for b in exponents], dtype=torch.float64)
    torch.testing.assert_close(2 * ladder.sigmas**2, expected)
    assert ladder.doubling is False
    given = bandwidth_ladder(x, y, count=count, mean_squared=torch.tensor(7.0, dtype=torch.float64))
    torch.testing.assert_close(2 * given.sigmas**2, torch.tensor([7 * 2.0**b for b in exponents], dtype=torch.float64))
    assert given.doubling is True


def test_ladder_has_no_gradient_and_scales_with_the_features():
    x, y = rows(10, 3).requires_grad_(), rows(6, 3, seed=1)
    sigmas = bandwidth_ladder(x, y).sigmas
    assert not sigmas.requires_grad
    torch.testing.assert_close(bandwidth_ladder(7 * x, 7 * y).sigmas, 7 * sigmas)


def test_identical_rows_give_finite_bandwidths():
    sigmas = bandwidth_ladder(torch.ones(3, 2), torch.ones(4, 2)).sigmas
    assert (sigmas > 0).all()
    assert (1 / sigmas**2).isfinite().all()


def test_bandwidths_in_any_form_become_the_kernels_sigmas():
    expected = torch.tensor([0.5, 2.0], dtype=torch.float64)
    given = ([0.5, 2], torch.tensor([0.5, 2.0]), Ladder(torch.tensor([0.5, 2.0], requires_grad=True), True))
    for bandwidths, doubling in zip(given, (False, False, True)):
        kernel = checked_kernel([bandwidths], "gaussian", 1.0, "cpu", "here")
        (sigmas,) = kernel.bandwidths
        assert torch.equal(sigmas, expected)
        assert sigmas.dtype == torch.float64
        assert not sigmas.requires_grad
        assert kernel.doubling == (doubling,)
    for bad in ([1.0, 0.0], [math.nan], [], torch.ones(2, 2)):
        with pytest.raises(ValueError, match="here: bandwidths: got"):
            checked_kernel([bad], "gaussian", 1.0, "cpu", "here")


BATCHES = [(rows(5, 2, seed), rows(4, 2, seed + 9) * (1 + seed)) for seed in range(6)]


def by_a_loop(batches, decay):
    values = [mean_over_pairs(torch.cat(batch)) for batch in batches]
    weights = [decay ** (len(values) - 1 - s) for s in range(len(values))]
    return sum(w * v for w, v in zip(weights, values)) / sum(weights)


@pytest.mark.parametrize("decay", [0.0, 0.7, 0.99])
def test_moving_bandwidth_by_a_loop(decay):
    moving = MovingBandwidth(count=3, ratio=2.0, decay=decay)
    for step, batch in enumerate(BATCHES, start=1):
        ladder = moving(*batch)
        expected = by_a_loop(BATCHES[:step], decay)
        assert [2 * sigma**2 / expected for sigma in ladder.sigmas.tolist()] == pytest.approx([0.5, 1, 2], rel=1e-5)
        assert ladder.doubling is True
        assert moving.updates.item() == step


def test_moving_bandwidth_is_not_updated_under_eval():
    moving = MovingBandwidth(count=1, decay=0.5).eval()
    fresh = moving(*BATCHES[0])
    torch.testing.assert_close(fresh.sigmas, bandwidth_ladder(*BATCHES[0], count=1).sigmas.float())
    assert moving.updates.item() == 0
    moving.train()(*BATCHES[1])
    kept = {name: value.clone() for name, value in moving.state_dict().items()}
    moving.eval()
    torch.testing.assert_close(
        moving(*BATCHES[2]).sigmas, bandwidth_ladder(*BATCHES[1], count=1).sigmas.float(), rtol=1e-6, atol=0
    )
    assert all(torch.equal(value, kept[name]) for name, value in moving.state_dict().items())


def test_moving_bandwidth_resumes_exactly():
    whole, first, second = (MovingBandwidth(decay=0.9) for _ in range(3))
    for batch in BATCHES:
        expected = whole(*batch)
    for batch in BATCHES[:3]:
        first(*batch)
    saved = io.BytesIO()
    torch.save(first.state_dict(), saved)
    saved.seek(0)
    second.load_state_dict(torch.load(saved, weights_only=True))
    for batch in BATCHES[3:]:
        resumed = second(*batch)
    assert torch.equal(resumed.sigmas, expected.sigmas)


def test_moving_bandwidth_compiles_whole():
    moving, compiled = MovingBandwidth(decay=0.7), MovingBandwidth(decay=0.7)
    run = torch.compile(compiled, fullgraph=True, backend="eager")
    for batch in BATCHES[:3]:
        torch.testing.assert_close(run(*batch).sigmas, moving(*batch).sigmas)
    assert compiled.updates.item() == 3


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_moving_bandwidth_does_not_wait_for_the_device():
    moving = MovingBandwidth(decay=0.7).cuda()
    batches = [(x.cuda(), y.cuda()) for x, y in BATCHES]
    moving(*batches[0])
    torch.cuda.set_sync_debug_mode("error")
    try:
        for batch in batches[1:]:
            ladder = moving(*batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    expected = by_a_loop(BATCHES, 0.7)
    assert 2 * ladder.sigmas[2].item() ** 2 == pytest.approx(expected, rel=1e-5)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="N >= 2"):
        mean_squared_distance(torch.zeros(1, 3))
    with pytest.raises(ValueError, match="N >= 2"):
        mean_squared_distance(torch.zeros(3))
    with pytest.raises(ValueError, match=r"weight: got shape \(2,\) for 3 rows"):
        mean_squared_distance(torch.zeros(3, 2), torch.ones(2))
    with pytest.raises(ValueError, match="count=0"):
        bandwidth_ladder(rows(3, 2), rows(3, 2), count=0)
    with pytest.raises(ValueError, match="two rows or more"):
        median_distance(rows(3, 2), rows(3, 2), rows=1, generator=generator())
    with pytest.raises(ValueError, match="decay: got"):
        MovingBandwidth(decay=1.0)
