"""What a trainer or a user says of float32 products reaches neither the kernels' results nor is it changed by them.

Each setting is made in a process of its own: the newer and the older settings of PyTorch refuse to be mixed.
"""

import json
import os
import subprocess
import sys

import pytest

CODE = """
import json, sys, torch
from tl_research.kernels import joint_mmd2, mmd2, witness
from tl_research.kernels.full_precision import full_precision_products
cuda, mkldnn = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul
generator = torch.Generator().manual_seed(0)
x, y = torch.randn(700, 16, generator=generator), torch.randn(600, 16, generator=generator) + 0.2
w = torch.rand(700, generator=generator)

def results():
    few = mmd2(x[:40], y[:30], bandwidths=[1.0, 2.0])
    return [float(value) for value in (
        few, mmd2(x, y, bandwidths=[1.0, 2.0]), mmd2(x, y, bandwidths=[1.0, 1.3], x_weight=w),
        joint_mmd2([x, x], [y, y], bandwidths=[[1.0], [2.0]]), witness(x[:3], x, y, bandwidths=[1.0]).sum(),
    )]

def seen():
    try:
        older = torch.get_float32_matmul_precision()
    except RuntimeError:
        older = "refused"
    return [torch.backends.fp32_precision, cuda.fp32_precision, mkldnn.fp32_precision, older]

before = results()
exec(sys.argv[1])
outer = seen()
with full_precision_products():
    inner = [cuda.fp32_precision, mkldnn.fp32_precision]
after = results()
print(json.dumps({"same": before == after, "kept": outer == seen(), "inner": inner, "outer": outer}))
exec(sys.argv[2])
print(json.dumps(seen()[1:3]))
"""


def said(setting: str, then: str = "pass") -> tuple[dict, list[str]]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", CODE, setting, then], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.strip().splitlines()
    return json.loads(first), json.loads(second)


@pytest.mark.parametrize(
    "setting",
    [
        "pass",
        "torch.set_float32_matmul_precision('high')",
        "torch.set_float32_matmul_precision('medium')",
        "cuda.allow_tf32 = True",
        "torch.backends.fp32_precision = 'tf32'",
        "cuda.fp32_precision = 'tf32'",
        "mkldnn.fp32_precision = 'bf16'",
    ],
)
def test_a_setting_changes_no_result_and_stays(setting):
    found, _ = said(setting)
    assert found["same"]
    assert found["kept"]
    assert {*found["inner"]} <= {"ieee", "none"}
    assert (setting == "pass") == ({*found["outer"][1:3]} <= {"ieee", "none"})


def test_what_followed_the_wider_setting_still_does():
    _, later = said("torch.backends.fp32_precision = 'tf32'", "torch.backends.fp32_precision = 'ieee'")
    assert later == ["ieee", "ieee"]
