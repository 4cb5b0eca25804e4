"""Divergence of normal distributions against torch's own and against draws."""

from __future__ import annotations

import torch
from torch.distributions import Independent, Normal, kl_divergence

from tl_research.losses.gaussian import normal_kl


def pair() -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    return [torch.randn(7, 4, generator=draw, dtype=torch.float64) for _ in range(4)]


def test_it_is_torch_s():
    mean, log_std, other, other_log_std = pair()
    one, two = (Independent(Normal(m, s.exp()), 1) for m, s in ((mean, log_std), (other, other_log_std)))
    torch.testing.assert_close(normal_kl(mean, log_std, other, other_log_std), kl_divergence(one, two))
    prior = Independent(Normal(torch.zeros_like(mean), 1.0), 1)
    zero = torch.zeros((), dtype=torch.float64)
    torch.testing.assert_close(normal_kl(mean, log_std, zero, zero), kl_divergence(one, prior))


def test_it_is_nothing_of_equal_ones_and_positive_else():
    mean, log_std, other, other_log_std = pair()
    assert normal_kl(mean, log_std, mean, log_std).abs().max() < 1e-12
    assert (normal_kl(mean, log_std, other, other_log_std) > 0).all()
