import subprocess
import sys

import pytest
import torch

from tl_research.kernels.backends import triton as backend

CPU = torch.device("cpu")


def test_a_cpu_has_it_through_the_interpreter_only(monkeypatch):
    monkeypatch.setattr(backend, "find_spec", lambda name: object())
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert not backend.available(CPU)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert backend.available(CPU)


@pytest.mark.parametrize(("capability", "fits"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_a_device_needs_bfloat16_products(monkeypatch, capability, fits):
    monkeypatch.setattr(backend, "find_spec", lambda name: object())
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert backend.available(torch.device("cuda")) == fits


def test_without_triton_nothing_has_it(monkeypatch):
    monkeypatch.setattr(backend, "find_spec", lambda name: None)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert not backend.available(CPU)
    assert not backend.available(torch.device("cuda"))


def test_importing_the_backend_does_not_import_triton():
    code = "import sys; sys.modules['triton'] = None; import tl_research.kernels.backends.triton"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
