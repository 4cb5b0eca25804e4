"""Runs of two gloo processes: one pair of them goes through every method, and has to train what one process trains."""

import pytest
import torch

from tests.pair import config_of, every_method, trained
from tl_research import launch
from tl_research.registry import METHODS

ALL = METHODS.names()
#: Batch normalisation has the statistics of a rank's own rows.
OF_ITS_OWN_ROWS = ("norm_only", "stoch_norm")


@pytest.fixture(scope="module")
def of_two(tmp_path_factory):
    return launch.on_every_device(every_method, (str(tmp_path_factory.mktemp("two")), ALL), devices=2)


@pytest.mark.slow
@pytest.mark.parametrize("method", ALL)
def test_two_processes_train_what_one_does(method, of_two, tmp_path):
    """To rounding, over a whole run with its stages, where a step has the same rows; and both ranks end bit-equal."""
    if isinstance(of_two[method], Exception):
        raise of_two[method]
    state, differs, record = of_two[method]
    assert differs == []
    assert record.environment["processes"] == 2
    alone, _, of_one = trained(config_of(method, tmp_path, ranks=1))
    assert state.keys() == alone.keys()
    assert record.data == of_one.data
    if method in OF_ITS_OWN_ROWS:
        return
    for name, value in alone.items():
        torch.testing.assert_close(state[name], value, rtol=1e-3, atol=1e-5, msg=f"{method} {name}")
    assert record.metrics["last"].keys() == of_one.metrics["last"].keys()
    for key, value in of_one.metrics["last"].items():
        assert record.metrics["last"][key] == pytest.approx(value, rel=1e-3, abs=1e-4), key
