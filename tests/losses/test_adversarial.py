"""Gradient reversal, the domain loss and the ramp."""

import math

import pytest
import torch

from tl_research.losses.adversarial import domain_bce, ganin_ramp, reverse_gradient


@pytest.mark.parametrize("scale", [0.0, 0.3, torch.tensor(2.0)])
def test_reversal_is_identity_forward_and_scales_backward(scale):
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    y = reverse_gradient(x, scale)
    assert torch.equal(y, x)
    incoming = torch.arange(12.0).reshape(4, 3)
    y.backward(incoming)
    assert torch.equal(x.grad, -float(scale) * incoming)


def test_reversal_turns_descent_of_the_discriminator_into_ascent_of_the_encoder():
    encoder, discriminator = torch.tensor(1.5, requires_grad=True), torch.tensor(-0.7, requires_grad=True)
    plain = (encoder * discriminator) ** 2
    expected = torch.autograd.grad(plain, (encoder, discriminator))
    reversed_ = (reverse_gradient(encoder, 0.5) * discriminator) ** 2
    got = torch.autograd.grad(reversed_, (encoder, discriminator))
    torch.testing.assert_close(got, (-0.5 * expected[0], expected[1]))


def test_reversal_keeps_half_precision_and_works_under_autocast():
    x = torch.ones(3, 2, dtype=torch.bfloat16, requires_grad=True)
    reverse_gradient(x, torch.tensor(0.5)).sum().backward()
    assert x.grad.dtype == torch.bfloat16
    layer, rows = torch.nn.Linear(2, 1), torch.ones(3, 2, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = layer(reverse_gradient(rows, 1.0)).sum()
    out.backward()
    torch.testing.assert_close(rows.grad, -layer.weight.detach().expand(3, 2), rtol=1e-2, atol=1e-2)


def test_reversal_compiles_in_one_graph():
    compiled = torch.compile(lambda x, s: reverse_gradient(x, s).square().sum(), backend="aot_eager", fullgraph=True)
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    for scale in (0.1, 0.7):
        (grad,) = torch.autograd.grad(compiled(x, torch.tensor(scale)), x)
        torch.testing.assert_close(grad, -scale * 2 * x.detach())


def test_domain_loss_of_an_ignorant_discriminator_is_ln_2():
    assert domain_bce(torch.zeros(5, 1), torch.zeros(9, 1)).item() == pytest.approx(math.log(2))


def test_domain_loss_weighs_each_domain_one_half():
    s, t = torch.tensor([1.0, -2.0, 0.5]), torch.tensor([3.0])
    of_source = sum(-math.log(1 - 1 / (1 + math.exp(-v))) for v in s.tolist()) / 3
    of_target = -math.log(1 / (1 + math.exp(-3)))
    assert domain_bce(s, t).item() == pytest.approx((of_source + of_target) / 2, rel=1e-6)
    assert domain_bce(s.repeat(10), t).item() == pytest.approx(domain_bce(s, t).item(), rel=1e-6)


def test_domain_loss_falls_as_the_domains_are_told_apart_and_stays_finite():
    right = domain_bce(torch.full((4,), -500.0), torch.full((2,), 500.0))
    wrong = domain_bce(torch.full((4,), 500.0), torch.full((2,), -500.0))
    assert right.item() == 0
    assert wrong.item() == pytest.approx(500)


def test_domain_loss_is_float32_inside_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = domain_bce(torch.full((3,), 0.1).bfloat16(), torch.zeros(2).bfloat16())
    assert value.dtype == torch.float32
    assert domain_bce(torch.zeros(2).double(), torch.zeros(2).double()).dtype == torch.float64


def test_domain_loss_refuses_an_empty_side():
    with pytest.raises(ValueError, match="got 0 source and 2 target logits"):
        domain_bce(torch.zeros(0), torch.zeros(2))


def test_ramp():
    assert ganin_ramp(0) == 0
    assert ganin_ramp(1) == pytest.approx(math.tanh(5))
    assert ganin_ramp(0.3) == pytest.approx(2 / (1 + math.exp(-3)) - 1)
    assert ganin_ramp(0.5, gamma=4) == pytest.approx(math.tanh(1))
