"""A critic's gap and gradient penalty where they have closed forms: linear critics, shifted Gaussians."""

import math

import pytest
import torch
from torch import nn

from tl_research.losses.critic import critic_gap, gradient_penalty, penalised_points


def normal(n, d, seed):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_penalty_of_a_linear_critic_is_that_of_its_weights():
    critic = nn.Linear(4, 1).double()
    value = gradient_penalty(critic, normal(7, 4, 0))
    length = critic.weight.detach().norm().item()
    assert value.item() == pytest.approx((length - 1) ** 2)
    value.backward()
    expected = 2 * (length - 1) * critic.weight.detach() / length
    torch.testing.assert_close(critic.weight.grad, expected)


def test_penalty_of_a_critic_by_its_derivative_row_by_row():
    x = normal(5, 3, 1)
    value = gradient_penalty(lambda rows: rows.square().sum(dim=1), x)
    assert value.item() == pytest.approx(((2 * x).norm(dim=1) - 1).square().mean().item())


def test_a_flat_critic_has_penalty_1_and_a_finite_gradient():
    critic = nn.Linear(3, 1)
    nn.init.zeros_(critic.weight)
    value = gradient_penalty(critic, torch.ones(2, 3))
    value.backward()
    assert value.item() == pytest.approx(1)
    assert critic.weight.grad.isfinite().all()


def test_gap_of_shifted_gaussians_by_the_best_linear_critic_is_their_distance():
    shift = torch.tensor([3.0, 4.0], dtype=torch.float64)
    rows = normal(200, 2, 2)
    source, target = rows + shift, rows
    critic = shift / shift.norm()  # of slope 1, along the shift: Wasserstein-1 of equal shapes is the shift's length
    assert critic_gap(source @ critic, target @ critic).item() == pytest.approx(5)
    for angle in (0.3, 1.2, 2.5):
        turned = torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)
        assert critic_gap(source @ turned, target @ turned).item() <= 5 + 1e-9


def test_a_trained_linear_critic_finds_the_distance():
    torch.manual_seed(0)
    critic, rows = nn.Linear(2, 1).double(), normal(64, 2, 3)
    source, target = rows + torch.tensor([3.0, 4.0]), rows
    optimizer = torch.optim.Adam(critic.parameters(), lr=0.02)
    points = penalised_points(source, target, torch.rand(64, dtype=torch.float64))
    for _ in range(1500):
        optimizer.zero_grad()
        loss = -critic_gap(critic(source), critic(target)) + 10 * gradient_penalty(critic, points)
        loss.backward()
        optimizer.step()
    # Gap 5 w less 10 (w - 1)² is largest at a slope w of 1 + 5 / 20.
    assert critic_gap(critic(source), critic(target)).item() == pytest.approx(5 * 1.25, rel=1e-3)


def test_points_are_both_domains_and_a_row_between_each_pair():
    source, target = normal(3, 2, 4), normal(5, 2, 5)
    points = penalised_points(source, target, torch.tensor([0.0, 0.25, 1.0]))
    assert torch.equal(points[:3], source)
    assert torch.equal(points[3:8], target)
    torch.testing.assert_close(points[8:], torch.stack([target[0], (source[1] + 3 * target[1]) / 4, source[2]]))
    with pytest.raises(ValueError, match="wants one per pair"):
        penalised_points(source, target, torch.rand(4))
    with pytest.raises(ValueError, match="got 0 source"):
        critic_gap(torch.zeros(0), torch.zeros(2))
