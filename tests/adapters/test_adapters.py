"""LoRA, DoRA and the bottleneck on every kind of layer: against the plain layer with the weight of the formula."""

import copy
import io
import itertools
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.adapters.layers import LAYERS, adapted, layer_and_rows, train_a_little
from tl_research.adapters.base import adaptable_layers, adapted_layers, attach, detach
from tl_research.adapters.bottleneck import Bottleneck
from tl_research.adapters.dora import DoRA
from tl_research.adapters.lora import LoRA
from tl_research.adapters.merge import fold, merge, unmerge
from tl_research.errors import ConfigError

LORA = lambda layer: LoRA(layer, rank=2, alpha=3)  # noqa: E731
DORA = lambda layer: DoRA(layer, rank=2, alpha=3)  # noqa: E731
BOTTLENECK = lambda layer: Bottleneck(layer, width=3, scale=0.7)  # noqa: E731
KINDS = {"lora": LORA, "dora": DORA, "bottleneck": BOTTLENECK}
MERGEABLE = {"lora": LORA, "dora": DORA}
everywhere = pytest.mark.parametrize("kind", LAYERS)


def rule(kinds=KINDS):
    return pytest.mark.parametrize("make", kinds.values(), ids=kinds)


@rule()
@everywhere
def test_an_adapter_starts_as_the_layer_itself_bit_for_bit(kind, make):
    layer, rows = layer_and_rows(kind, torch.float32)
    network, _ = adapted(kind, make, torch.float32, trained=False)
    assert torch.equal(network(rows), layer(rows))


@pytest.mark.parametrize(
    "make",
    [
        lambda layer: LoRA(layer, rank=0, alpha=3),
        lambda layer: LoRA(layer, rank=2, alpha=0),
        lambda layer: Bottleneck(layer, width=0),
        lambda layer: Bottleneck(layer, width=3, scale=0),
    ],
)
@everywhere
def test_rank_or_scale_0_is_the_frozen_layer_and_has_nothing_to_train(kind, make):
    network, rows = adapted(kind, make, trained=False)
    layer, _ = layer_and_rows(kind)
    assert torch.equal(network(rows), layer(rows))
    assert not [name for name, _ in network.named_parameters() if "adapter" in name]


def weight_of_lora(layer) -> torch.Tensor:
    """W + alpha / r B A, entry by entry."""
    a, b = layer.adapter.a.tolist(), layer.adapter.b.tolist()
    weight = layer.weight.detach().clone()
    matrix = weight.T if isinstance(layer, (nn.Embedding, nn.EmbeddingBag)) else weight.flatten(1)
    for i in range(matrix.shape[0]):
        for j in range(matrix.shape[1]):
            matrix[i, j] += 3 / 2 * sum(b[i][r] * a[r][j] for r in range(2))
    return weight


def weight_of_dora(layer) -> torch.Tensor:
    direction = weight_of_lora(layer)
    for row in range(len(direction)):
        norm = sum(value**2 for value in direction[row].flatten().tolist()) ** 0.5
        if norm:
            direction[row] *= layer.adapter.magnitude[row].item() / norm
    return direction


@pytest.mark.parametrize(("make", "formula"), [(LORA, weight_of_lora), (DORA, weight_of_dora)], ids=["lora", "dora"])
@everywhere
def test_the_output_is_that_of_the_plain_layer_with_the_weight_of_the_formula(kind, make, formula):
    network, rows = adapted(kind, make)
    plain, _ = layer_and_rows(kind)
    before = plain(rows)
    with torch.no_grad():
        plain.weight.copy_(formula(network[0]))
    assert (plain(rows) - before).abs().max() > 1e-2  # it has moved
    torch.testing.assert_close(network(rows), plain(rows), rtol=1e-10, atol=1e-12)


@everywhere
def test_the_bottleneck_is_its_formula_position_by_position(kind):
    network, rows = adapted(kind, BOTTLENECK)
    plain, _ = layer_and_rows(kind)
    adapter, output = network[0].adapter, plain(rows)
    channels_last = output.movedim(1, -1) if kind.startswith("conv") else output
    expected = channels_last.clone()
    for position in itertools.product(*map(range, channels_last.shape[:-1])):
        if kind == "embedding_padding" and rows[position] == 2:
            continue
        h = channels_last[position]
        inner = F.gelu(adapter.down.weight @ h + adapter.down.bias)
        expected[position] = h + 0.7 * (adapter.up.weight @ inner + adapter.up.bias)
    expected = expected.movedim(-1, 1) if kind.startswith("conv") else expected
    assert (expected - output).abs().max() > 1e-2
    torch.testing.assert_close(network(rows), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-13)])
@rule(MERGEABLE)
@everywhere
def test_merge_keeps_the_output_and_unmerge_the_bits_of_the_weight(kind, make, dtype, tolerance):
    network, rows = adapted(kind, make, dtype)
    bare, output = network[0].weight.detach().clone(), network(rows)
    assert merge(network) == 1
    assert not torch.equal(network[0].weight, bare)
    torch.testing.assert_close(network(rows), output, rtol=tolerance, atol=tolerance * output.abs().max().item())
    merge(network)  # a second one does nothing
    assert unmerge(network) == 1
    assert torch.equal(network[0].weight, bare)
    assert torch.equal(network(rows), output)


@rule(MERGEABLE)
@everywhere
def test_fold_leaves_a_plain_network_that_does_the_same(kind, make):
    network, rows = adapted(kind, make)
    output = network(rows)
    assert fold(network) == 1
    assert not list(adapted_layers(network))
    assert not network[0]._forward_hooks
    assert list(network.state_dict()) == [f"0.{name}" for name, _ in layer_and_rows(kind)[0].named_parameters()]
    torch.testing.assert_close(network(rows), output, rtol=1e-10, atol=1e-12)


@rule()
def test_padding_stays_zero_through_training(make):
    network, rows = adapted("embedding_padding", make)
    assert (network(rows)[rows == 2] == 0).all()
    assert (network(rows)[rows != 2] != 0).any()


def test_doras_norm_is_held_constant_in_the_gradient():
    """Of f = sum(g * m V / c) with c = ||V||: df/dV = g m / c, and df/dm = sum(g V) / c."""
    network, rows = adapted("linear", DORA)
    layer, adapter = network[0], network[0].adapter
    network.zero_grad()
    grad = torch.randn(network(rows).shape, dtype=torch.float64)
    (network(rows) * grad).sum().backward()
    of_weight = torch.einsum("nto,nti->oi", grad, rows)
    direction = layer.weight.detach() + 1.5 * adapter.b.detach() @ adapter.a.detach()
    norm = direction.norm(dim=1)
    torch.testing.assert_close(adapter.magnitude.grad, (of_weight * direction).sum(1) / norm)
    of_direction = of_weight * (adapter.magnitude.detach() / norm).unsqueeze(1)
    torch.testing.assert_close(adapter.b.grad, 1.5 * of_direction @ adapter.a.detach().T)
    torch.testing.assert_close(adapter.a.grad, 1.5 * adapter.b.detach().T @ of_direction)


def test_dora_at_rank_0_trains_magnitudes_alone():
    layer, rows = layer_and_rows("linear")
    network = nn.Sequential(layer)
    attach(network, lambda layer: DoRA(layer, rank=0, alpha=1))
    assert [name for name, _ in network.named_parameters() if "adapter" in name] == ["0.adapter.magnitude"]
    with torch.no_grad():
        layer.adapter.magnitude.mul_(3)
    torch.testing.assert_close(network(rows), F.linear(rows, 3 * layer.weight, layer.bias))


# Hanging them on


def network_of_three() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8)), nn.Linear(8, 2))


def test_patterns_pick_layers_and_the_parameters_keep_their_names():
    network = network_of_three()
    before = set(network.state_dict())
    assert attach(network, LORA, layers=["2.*", "0"]) == ["0", "2.0"]
    assert set(network.state_dict()) - before == {
        "0.adapter.a", "0.adapter.b", "2.0.adapter.a", "2.0.adapter.b",
    }  # fmt: skip
    assert before <= set(network.state_dict())
    assert detach(network) == 2
    assert set(network.state_dict()) == before
    assert attach(network, LORA) == ["0", "2.0", "3"]


def test_a_pattern_without_a_layer_is_one_error_that_names_key_and_layers():
    with pytest.raises(ConfigError, match=r"method\.layers: got 'layer4', which matches no layer.*known: 0, 2\.0, 3"):
        attach(network_of_three(), LORA, layers=["0", "layer4"], key="method.layers")
    with pytest.raises(ConfigError, match=r"layers: got \[\]"):
        attach(network_of_three(), LORA, layers=[])
    network = network_of_three()
    attach(network, LORA, layers=["0"])
    with pytest.raises(ValueError, match="0 has an adapter already"):
        attach(network, DORA)
    assert len(list(adapted_layers(network))) == 1  # refused as a whole


def test_a_dead_place_is_none():
    """MultiheadAttention reads its output projection's weight without calling the layer."""
    block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    assert sorted(adaptable_layers(block)) == ["linear1", "linear2"]


@pytest.mark.parametrize("training", [True, False])
def test_adapters_act_in_a_transformer_block_in_training_and_in_its_fast_path(training):
    torch.manual_seed(0)
    block, rows = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True).train(training), None
    rows = torch.randn(3, 5, 8)
    attach(block, LORA)
    train_a_little(block, rows)
    with torch.no_grad():
        output = block(rows)
        fold(block)
        torch.testing.assert_close(output, block(rows), rtol=1e-5, atol=1e-5)


@rule()
def test_a_state_goes_through_a_file_into_a_fresh_network(make):
    network, rows = network_of_three(), torch.randn(6, 4)
    attach(network, make)
    train_a_little(network.eval(), rows)
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    other = network_of_three()
    attach(other, make)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other.eval()(rows), network(rows))


@rule()
def test_a_copy_and_a_pickle_have_adapters_of_their_own(make):
    network, rows = network_of_three(), torch.randn(6, 4)
    attach(network, make)
    train_a_little(network.eval(), rows)
    output = network(rows)
    copies = [copy.deepcopy(network), pickle.loads(pickle.dumps(network))]
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "adapter" in name:
                parameter.add_(1)
    assert not torch.allclose(network(rows), output)
    assert all(torch.equal(other(rows), output) for other in copies)


@rule()
def test_a_network_that_is_compiled_already_takes_them(make):
    network, rows = network_of_three().eval(), torch.randn(6, 4)
    network.compile(backend="eager")
    bare = network(rows)
    attach(network, make)
    train_a_little(network, rows)
    assert not torch.allclose(network(rows), bare)
    torch.testing.assert_close(network(rows), network.forward(rows))
    detach(network)
    torch.testing.assert_close(network(rows), bare)


def test_merged_weights_are_not_saved_beside_their_adapter():
    network, _ = adapted("linear", LORA)
    merge(network)
    with pytest.raises(RuntimeError, match=r"unmerge or fold"):
        network.state_dict()
    unmerge(network)
    network.state_dict()


def test_what_cannot_be_merged_is_refused():
    with pytest.raises(ValueError, match="0: a Bottleneck is no change of a weight"):
        merge(adapted("linear", BOTTLENECK)[0])
    tied = nn.Sequential(nn.Embedding(9, 5), nn.Linear(5, 9, bias=False))
    tied[1].weight = tied[0].weight
    attach(tied, LORA, layers=["0"])
    with pytest.raises(ValueError, match="0: its weight is shared"):
        merge(tied)
    with pytest.raises(ConfigError, match="max_norm"):
        attach(nn.Sequential(nn.Embedding(9, 5, max_norm=1.0)), LORA)


@rule()
@everywhere
def test_finite_and_close_under_bf16(kind, make):
    network, rows = adapted(kind, make, torch.float32)
    full = network(rows)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = network(rows)
    torch.testing.assert_close(half.float(), full, rtol=0.05, atol=0.05)


@rule(MERGEABLE)
def test_a_bag_counts_its_tokens_as_the_layer_does(make):
    network, index = adapted("bag", make)
    layer, count = network[0], torch.rand(index.shape, dtype=torch.float64)
    weight = layer.adapter.merged_weight(layer)
    expected = torch.einsum("nk,nkd->nd", count, weight[index])
    torch.testing.assert_close(layer(index, per_sample_weights=count), expected)
    torch.testing.assert_close(layer(index, None, count), expected)


def test_a_bag_of_means_is_not_adaptable():
    assert not adaptable_layers(nn.Sequential(nn.EmbeddingBag(9, 5, mode="mean")))
