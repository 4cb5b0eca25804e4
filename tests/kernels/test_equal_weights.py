"""The path of equal weights against the one of any weights, which is tested against the dense oracle."""

import pytest
import torch

from tl_research.kernels import bandwidth_ladder, equal_weights, mmd2
from tl_research.kernels.backends import tiled


def sides(n, m, dtype=torch.float32):
    generator = torch.Generator().manual_seed(n + m)
    x = torch.randn(n, 5, generator=generator, dtype=torch.float64).to(dtype)
    y = (torch.randn(m, 5, generator=generator, dtype=torch.float64) + 0.3).to(dtype)
    return x.requires_grad_(), y.requires_grad_()


def value_and_gradients(x, y, weighted, **options):
    x.grad = y.grad = None
    weight = torch.ones(len(x), dtype=x.dtype) if weighted else None
    value = mmd2(x, y, x_weight=weight, **options)
    (3 * value).backward()
    return [value.detach(), *(torch.zeros_like(s) if s.grad is None else s.grad for s in (x, y))]


@pytest.mark.parametrize("detach", [None, "x", "y"])
@pytest.mark.parametrize("estimator", ["unbiased", "biased"])
@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize(("n", "m"), [(7, 9), (33, 20), (16, 48), (2, 70)])
def test_agrees_with_weights_of_one(n, m, count, estimator, detach, monkeypatch):
    monkeypatch.setitem(tiled.TILE_ROWS, "cpu", 16)
    x, y = sides(n, m, torch.float64)
    bandwidths = [2.0 * 2 ** (level / 2) for level in range(count)]
    options = {"bandwidths": bandwidths, "estimator": estimator, "detach": detach}
    for ours, general in zip(value_and_gradients(x, y, False, **options), value_and_gradients(x, y, True, **options)):
        torch.testing.assert_close(ours, general, rtol=1e-11, atol=1e-13)


def test_float32_and_half_rows(monkeypatch):
    monkeypatch.setitem(tiled.TILE_ROWS, "cpu", 16)
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.bfloat16, 1e-2)):
        x, y = sides(40, 24, dtype)
        options = {"bandwidths": bandwidth_ladder(x.detach().float(), y.detach().float())}
        ours, general = value_and_gradients(x, y, False, **options), value_and_gradients(x, y, True, **options)
        assert [part.dtype for part in ours] == [part.dtype for part in general] == [torch.float32, dtype, dtype]
        for mine, theirs in zip(ours, general):
            torch.testing.assert_close(mine, theirs, rtol=tolerance, atol=tolerance * float(theirs.abs().max()))


def test_no_gradient_is_made_where_none_is_wanted(monkeypatch):
    made = []
    whole = equal_weights._whole
    monkeypatch.setattr(equal_weights, "_whole", lambda *given: made.append(whole(*given)) or made[-1])
    x, y = sides(6, 6)
    with torch.no_grad():
        value = mmd2(x, y, bandwidths=[1.0, 2.0**0.5])
    assert made[0][1] is None
    assert not value.requires_grad
    mmd2(x, y, bandwidths=[1.0, 2.0**0.5])
    assert made[1][1] is not None


def test_a_nan_is_seen():
    x, y = sides(6, 6)
    x.data[2, 1] = torch.nan
    assert mmd2(x, y, bandwidths=[1.0]).isnan()
