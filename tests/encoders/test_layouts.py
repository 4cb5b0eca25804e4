"""Where einops names the axes, outputs and gradients are bit for bit those of views and permutations."""

import pytest
import torch
import torch.nn.functional as F

from tests.encoders.test_modal_encoders import IMAGE, SMALL, WORDS, make, pixels, words
from tl_research.data.transforms.spec import InputSpec
from tl_research.nn.attention import AttentionBlock


def plain_block(block: AttentionBlock, x: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    n, members, width = x.shape
    qkv = block.query_key_value(block.norm1(x)).view(n, members, 3, block.heads, width // block.heads)
    query, key, value = qkv.permute(2, 0, 3, 1, 4)
    dropout = block.dropout if block.training else 0.0
    mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=present[:, None, None], dropout_p=dropout)
    x = x + F.dropout(block.out(mixed.transpose(1, 2).reshape(n, members, width)), dropout, block.training)
    return x + F.dropout(block.mlp(block.norm2(x)), dropout, block.training)


def assert_equal_with_gradients(module, one, other) -> None:
    """Both functions, from one state of the generator, to the last bit."""
    found = []
    for function in (one, other):
        torch.manual_seed(1)
        module.zero_grad()
        output = function()
        (output * torch.arange(output.numel()).view_as(output).cos()).sum().backward()
        found.append([output, *(p.grad.clone() for p in module.parameters() if p.grad is not None)])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize(("members", "width", "heads"), [(1, 8, 1), (5, 24, 3), (17, 64, 4)])
def test_attention(members, width, heads, dropout):
    torch.manual_seed(0)
    block, x = AttentionBlock(width, heads, dropout=dropout), torch.randn(6, members, width)
    present = torch.rand(6, members) < 0.7
    present[:, 0] = True
    assert_equal_with_gradients(block, lambda: block(x, present), lambda: plain_block(block, x, present))


def test_texts_with_the_token_before_them():
    encoder, ids = make("text_transformer", InputSpec(0, text=WORDS), width=16, heads=2), words()["text_ids"]
    tokens = encoder.tokens

    def plain():
        there = ids != tokens.padding
        states = tokens.words(ids) + tokens.places[: ids.shape[1]]
        states = tokens.dropout(torch.cat([tokens.first.expand(len(ids), 1, -1), states], dim=1))
        present = torch.cat([there.new_ones(len(ids), 1), there], dim=1)
        for layer in encoder.layers:
            states = plain_block(layer, states, present)
        weight = present.unsqueeze(-1).to(states.dtype)
        return (encoder.norm(states) * weight).sum(1) / weight.sum(1).clamp(min=1)

    assert_equal_with_gradients(encoder, lambda: encoder({"text_ids": ids}), plain)


def test_images_keep_the_layout_that_convolutions_are_fastest_on():
    encoder, images, seen = make("vision", IMAGE, **SMALL | {"size": 16}).eval(), pixels(), []
    encoder.model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    encoder(images)
    expected = (images.permute(0, 3, 1, 2).to(encoder.mean.dtype) - encoder.mean) / encoder.std
    assert torch.equal(seen[0], expected)
    assert seen[0].stride() == expected.stride()
