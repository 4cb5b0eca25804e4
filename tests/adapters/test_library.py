"""The peft library beside our own adapters."""

import sys

import pytest
import torch
from torch import nn

from tl_research.adapters.base import attach
from tl_research.adapters.dora import DoRA
from tl_research.adapters.library import attach_peft
from tl_research.adapters.lora import LoRA
from tl_research.errors import ConfigError


def test_its_absence_is_one_line_that_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ConfigError, match=r"pip install 'tl_research\[peft\]'"):
        attach_peft(nn.Linear(2, 2), None)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).double()


@pytest.mark.parametrize("dora", [False, True])
def test_our_own_do_what_the_librarys_do(dora):
    peft = pytest.importorskip("peft", reason="the extra [peft] is not installed")
    theirs, ours, rows = network(), network(), torch.randn(5, 6, dtype=torch.float64)
    before = theirs(rows)
    names = attach_peft(theirs, peft.LoraConfig(r=2, lora_alpha=3, target_modules=["0", "2"], use_dora=dora))
    assert len(names) == (6 if dora else 4)
    torch.testing.assert_close(theirs(rows), before)
    attach(ours, lambda layer: (DoRA if dora else LoRA)(layer, rank=2, alpha=3))
    with torch.no_grad():
        for name in ("0", "2"):
            mine, yours = ours.get_submodule(name).adapter, theirs.get_submodule(name)
            yours.lora_B["default"].weight.normal_()
            mine.a.copy_(yours.lora_A["default"].weight)
            mine.b.copy_(yours.lora_B["default"].weight)
            if dora:
                magnitude = yours.lora_magnitude_vector["default"].weight
                magnitude.mul_(1.3)
                mine.magnitude.copy_(magnitude)
    assert not torch.allclose(theirs(rows), before)
    torch.testing.assert_close(ours(rows), theirs(rows), rtol=1e-6, atol=1e-7)


def test_a_layer_it_does_not_find_is_one_error():
    peft = pytest.importorskip("peft", reason="the extra [peft] is not installed")
    with pytest.raises(ConfigError, match=r"target_modules: .*query"):
        attach_peft(network(), peft.LoraConfig(target_modules=["query"]))
