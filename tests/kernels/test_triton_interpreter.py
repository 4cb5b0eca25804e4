"""Runs the tests of the Triton backend through Triton's interpreter, which a process must choose before the import."""

import os
import re
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest

TESTS = [Path(__file__).with_name(name) for name in ("test_triton.py", "test_equal_on_device.py")]


def interpreter_fails() -> bool:
    """Triton 3.6 makes integers of arrays of one element, which NumPy 2.4 refuses."""
    if find_spec("triton") is None:
        return False
    triton, numpy = (tuple(map(int, version(name).split(".")[:2])) for name in ("triton", "numpy"))
    return triton < (3, 7) and numpy >= (2, 4)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("triton") is None, reason="needs triton")
@pytest.mark.skipif(interpreter_fails(), reason="the interpreter of Triton before 3.7 needs NumPy before 2.4")
@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="the tests run as they are")
def test_backend_through_the_interpreter():
    command = [sys.executable, "-m", "pytest", *map(str, TESTS), "-p", "no:cacheprovider", "-o", "addopts=", "-q"]
    environment = os.environ | {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, cwd=TESTS[0].parents[2], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed, done.stdout
    assert int(passed[1]) >= 40, done.stdout
