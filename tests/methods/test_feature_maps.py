"""Outputs of blocks, seen and changed while a network runs."""

import torch
from torch import nn

from tl_research.nn.feature_maps import feature_maps


def test_maps_are_channels_first_and_gone_afterwards():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(2), nn.Linear(4, 5), nn.Flatten(), nn.Linear(20, 2))
    rows = torch.randn(6, 3, 4, 4)
    with feature_maps(network, ["0", "2", "4", "1.weight", "none"]) as maps:
        output = network(rows)
    assert {name: tuple(of_block.shape) for name, of_block in maps.items()} == {
        "0": (6, 4, 2, 2), "2": (6, 5, 4), "4": (6, 2),
    }  # fmt: skip
    assert torch.equal(maps["4"], output)
    tokens = network[1](network[0](rows))
    assert torch.equal(maps["2"], network[2](tokens).movedim(-1, 1))
    assert not any(module._forward_hooks for module in network.modules())


def test_a_changed_map_goes_on_through_the_network_in_its_own_layout():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 5), nn.Flatten(), nn.Linear(15, 2))
    rows = torch.randn(6, 3, 4)
    with feature_maps(network, ["0"], lambda _, output: output.index_fill(1, torch.tensor([2]), 0.0)):
        changed = network(rows)
    tokens = network[0](rows)
    tokens[:, :, 2] = 0
    assert torch.equal(changed, network[2](network[1](tokens)))


def test_hooks_are_taken_off_where_the_network_fails():
    network = nn.Sequential(nn.Linear(4, 5))
    try:
        with feature_maps(network, ["0"]):
            network(torch.zeros(2, 3))
    except RuntimeError:
        pass
    assert not network[0]._forward_hooks
