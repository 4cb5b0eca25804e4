"""Stochastic normalisation at its ends, against a loop between them, and the swap."""

import copy

import pytest
import torch
from torch import nn

from tl_research.encoders.stoch_norm import StochNorm, use_stoch_norm


def norm_and_rows(shape, **options):
    torch.manual_seed(0)
    kind = nn.BatchNorm1d if len(shape) < 4 else nn.BatchNorm2d
    norm = kind(shape[1], dtype=torch.float64, **options)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.normal_()
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    return norm, 2 * torch.randn(shape, dtype=torch.float64) + 1


def twin(shape, p, **options):
    norm, rows = norm_and_rows(shape, **options)
    return norm, StochNorm(norm_and_rows(shape, **options)[0], p=p), rows


SHAPES = pytest.mark.parametrize("shape", [(6, 5), (6, 5, 4), (6, 5, 4, 3)])


@SHAPES
@pytest.mark.parametrize("options", [{}, {"momentum": 0.3, "eps": 1e-2}, {"momentum": None}])
def test_p_0_is_batch_normalisation_bit_for_bit(shape, options):
    norm, stoch, rows = twin(shape, 0.0, **options)
    for scale in (1.0, 3.0):
        assert torch.equal(stoch(scale * rows), norm(scale * rows))
    assert all(torch.equal(value, norm.state_dict()[name]) for name, value in stoch.state_dict().items())
    assert torch.equal(stoch.eval()(rows), norm.eval()(rows))


@SHAPES
def test_p_1_normalises_by_the_moving_statistics_before_the_batch_and_updates_them(shape):
    norm, stoch, rows = twin(shape, 1.0)
    for scale in (1.0, 3.0):
        by_moving = norm.eval()(scale * rows)
        norm.train()(scale * rows)  # the update
        assert torch.equal(stoch(scale * rows), by_moving)
    assert all(torch.equal(value, norm.state_dict()[name]) for name, value in stoch.state_dict().items())


@SHAPES
def test_between_them_whole_channels_are_one_or_the_other_in_the_stated_share(shape):
    norm, stoch, rows = twin(shape, 0.3)
    by_moving = norm.eval()(rows)
    by_batch = norm.train()(rows)
    state = {name: value.clone() for name, value in stoch.state_dict().items()}
    moving = 0
    for _ in range(400):
        stoch.load_state_dict(state)
        output = stoch(rows)
        for channel in range(shape[1]):
            is_moving = torch.equal(output[:, channel], by_moving[:, channel])
            assert is_moving or torch.equal(output[:, channel], by_batch[:, channel])
            moving += is_moving
    assert moving / (400 * shape[1]) == pytest.approx(0.3, abs=0.04)


def test_the_gradient_is_that_of_the_chosen_statistics():
    _, stoch, rows = twin((6, 5), 0.5)
    rows.requires_grad_()
    weights = torch.randn(6, 5, dtype=torch.float64)

    def value(inputs):
        torch.manual_seed(1)
        return (copy.deepcopy(stoch)(inputs) * weights).sum()

    assert torch.autograd.gradcheck(value, (rows,))


def test_the_swap_keeps_names_parameters_and_mode():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Sequential(nn.Flatten(), nn.BatchNorm1d(16)))
    network[1].eval()
    parameters, keys = list(network.parameters()), list(network.state_dict())
    assert use_stoch_norm(network, p=0.5) == ["1", "2.1"]
    assert list(network.state_dict()) == keys
    assert all(a is b for a, b in zip(network.parameters(), parameters, strict=True))
    assert not network[1].training
    assert network[2][1].training
    assert network(torch.randn(2, 3, 4, 4)).shape == (2, 16)
    assert use_stoch_norm(nn.Sequential(nn.LayerNorm(4), nn.BatchNorm1d(4, track_running_stats=False)), p=0.5) == []
