"""Statistics of batch norms over given rows: exact, in order, whatever the batches."""

import pytest
import torch
from torch import nn

from tl_research.nn.batch_norms import batch_norms, fit_statistics


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 4), nn.BatchNorm1d(4), nn.Tanh()
    ).double()


def rows() -> torch.Tensor:
    return 3 * torch.randn(50, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64) - 7


@pytest.mark.parametrize("size", [50, 7, 1])
def test_they_are_those_of_all_rows_whatever_the_batches(size):
    module, inputs = network(), rows()
    assert fit_statistics(module, lambda: ((part,) for part in inputs.split(size))) == ["1", "5"]
    with torch.no_grad():
        first = module[0](inputs)
        torch.testing.assert_close(module[1].running_mean, first.mean(0))
        torch.testing.assert_close(module[1].running_var, first.var(0, unbiased=False))
        module.eval()
        second = module[:5](inputs)
        torch.testing.assert_close(module[5].running_mean, second.mean(0))
        torch.testing.assert_close(module[5].running_var, second.var(0, unbiased=False))
        outputs = module[:6](inputs)
    torch.testing.assert_close(outputs.mean(0), module[5].bias.expand(4), atol=1e-9, rtol=0)


def test_images_are_measured_per_channel():
    norm = nn.BatchNorm2d(3).double()
    images = rows().reshape(2, 5, 5, 5)[:, :3]
    fit_statistics(norm, lambda: ((part,) for part in images.split(1)))
    torch.testing.assert_close(norm.running_var, images.transpose(0, 1).flatten(1).var(1, unbiased=False))


def test_modes_come_back_and_norms_without_statistics_are_no_norms():
    module = network().train()
    module[3].eval()
    fit_statistics(module, lambda: iter([(rows(),)]))
    assert module.training
    assert module[1].training
    assert not module[3].training
    assert not batch_norms(nn.BatchNorm1d(3, track_running_stats=False))
    with pytest.raises(ValueError, match="no batch norm"):
        fit_statistics(nn.Linear(2, 2), lambda: iter([]))
