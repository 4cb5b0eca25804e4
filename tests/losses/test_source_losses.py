"""Losses of methods of several sources, against loops and closed forms in float64."""

import itertools
import math

import numpy as np
import pytest
import torch

from tl_research.losses.several_sources import (
    heads_discrepancy,
    log_mixture,
    moment_distance,
    perplexity_weights,
    shares_of_sources,
    uniform_bce,
    worst_case_weights,
)


def rows(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


OF_ROW = torch.tensor([0, 1, 2, 1, 0, 2, 2, 1, 0, 0])


def test_shares_give_the_means_of_the_sources_and_0_for_one_without_rows():
    x = rows(10, 3)
    means = shares_of_sources(OF_ROW, 4).double() @ x
    for source in range(3):
        torch.testing.assert_close(means[source], x[source == OF_ROW].mean(dim=0), rtol=1e-6, atol=1e-6)
    assert means[3].tolist() == [0, 0, 0]


@pytest.mark.parametrize("moments", [1, 2, 4])
def test_the_distance_of_moments_is_its_definition_in_a_loop(moments):
    x, t = rows(10, 3), 0.5 * rows(6, 3, seed=1).square()
    sources, target = [x[source == OF_ROW].numpy() for source in range(3)], t.numpy()
    expected = 0.0
    for order in range(1, moments + 1):
        of_source, of_target = [np.mean(s**order, axis=0) for s in sources], np.mean(target**order, axis=0)
        expected += sum(np.linalg.norm(s - of_target) for s in of_source) / 3
        expected += sum(np.linalg.norm(a - b) for a, b in itertools.combinations(of_source, 2)) * 2 / (3 * 2)
    shares = shares_of_sources(OF_ROW, 3)
    assert moment_distance(x, shares, t, moments=moments).item() == pytest.approx(expected, rel=1e-6)


def test_a_source_without_rows_has_no_part_in_the_distance_and_equal_domains_have_a_gradient_that_is_a_number():
    x, t = rows(4, 2).requires_grad_(), rows(5, 2, seed=1)
    shares = shares_of_sources(torch.zeros(4, dtype=torch.long), 3)
    value = moment_distance(x, shares, t, moments=1)
    assert value.item() == pytest.approx((x.mean(dim=0) - t.mean(dim=0)).norm().item() / 3)
    (gradient,) = torch.autograd.grad(value, x)
    assert gradient.abs().sum() > 0
    same = moment_distance(x, shares, x.detach(), moments=2)
    assert torch.isfinite(torch.autograd.grad(same, x)[0]).all()
    with pytest.raises(ValueError, match="1 source"):
        moment_distance(x, shares[:1], t)


def test_the_distance_of_moments_has_the_right_gradient_to_both_sides():
    x, t, shares = rows(10, 2).requires_grad_(), (rows(6, 2, seed=1) + 1).requires_grad_(), shares_of_sources(OF_ROW, 3)
    assert torch.autograd.gradcheck(lambda a, b: moment_distance(a, shares.double(), b), (x, t))


def test_a_mixture_is_the_mean_of_probabilities():
    logits = torch.stack([rows(5, 3, seed) for seed in range(2)])
    p = logits.softmax(dim=2)
    torch.testing.assert_close(log_mixture(logits, torch.tensor([0.3, 0.7])).exp(), 0.3 * p[0] + 0.7 * p[1])
    of_row = torch.rand(5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    found = log_mixture(logits, torch.stack([of_row, 1 - of_row])).exp()
    torch.testing.assert_close(found, of_row[:, None] * p[0] + (1 - of_row[:, None]) * p[1])
    torch.testing.assert_close(log_mixture(logits, torch.tensor([0.0, 1.0])).exp(), p[1])
    sure = logits.float().mul(1e4).requires_grad_()
    log_mixture(sure, torch.tensor([0.0, 1.0]))[:, 0].sum().backward()
    assert torch.isfinite(sure.grad).all()


def test_the_discrepancy_of_heads_is_a_mean_over_pairs():
    logits = torch.stack([rows(4, 3, seed) for seed in range(3)])
    p, expected = logits.softmax(dim=2).numpy(), 0.0
    for one, other in itertools.combinations(range(3), 2):
        expected += np.abs(p[one] - p[other]).sum() / (4 * 3) / 3
    assert heads_discrepancy(logits).item() == pytest.approx(expected)
    assert heads_discrepancy(logits[:1].expand(3, -1, -1)).item() == 0


def test_worst_case_weights_are_the_gradient_of_the_smooth_maximum():
    value = torch.tensor([0.3, 0.9, 0.8], dtype=torch.float64, requires_grad=True)
    there = torch.tensor([True, True, True])
    smooth = (10 * value).exp().sum().log() / 10
    (gradient,) = torch.autograd.grad(smooth, value)
    torch.testing.assert_close(worst_case_weights(value, there, gamma=10.0), gradient)
    assert worst_case_weights(value, there, gamma=None).tolist() == [0, 1, 0]
    assert worst_case_weights(value, torch.tensor([True, False, True]), gamma=None).tolist() == [0, 0, 1]
    without = worst_case_weights(value, torch.tensor([True, False, True]), gamma=10.0)
    assert without[1] == 0
    assert without.sum().item() == pytest.approx(1)


def test_confusion_is_least_where_the_discriminator_knows_nothing():
    z = torch.tensor([0.0, 1.5, -1.5], dtype=torch.float64)
    d = 1 / (1 + np.exp(-z.numpy()))
    np.testing.assert_allclose(uniform_bce(z).numpy(), -(np.log(d) + np.log(1 - d)) / 2)
    assert uniform_bce(z)[0].item() == pytest.approx(math.log(2))
    assert uniform_bce(torch.tensor([1e4])).isfinite().all()


def test_perplexity_weights_in_a_loop():
    logit, alpha = rows(2, 4), torch.tensor([0.1, 0.6], dtype=torch.float64)
    for row in range(4):
        of_source = 1 / (1 + np.exp(logit[:, row].numpy()))  # D_j, where the logit is of the target
        score = -np.log(1 - of_source) + alpha.numpy()
        np.testing.assert_allclose(perplexity_weights(logit, alpha)[:, row].numpy(), score / score.sum())
