"""Equal weights on a card: against the dense oracle, and how little the host does.

Without a device these run in Triton's interpreter, which a process must choose before the import
(`test_triton_interpreter.py`).
"""

import os
from importlib.util import find_spec

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.kernels.dense import dense_mmd2
from tl_research.kernels import bandwidth_ladder, equal_on_device, mmd2

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
pytestmark = pytest.mark.skipif(
    find_spec("triton") is None or not (INTERPRETED or torch.cuda.is_available()),
    reason="needs triton, and its interpreter (TRITON_INTERPRET=1) or a CUDA device",
)
DEVICE = torch.device("cuda" if torch.cuda.is_available() and not INTERPRETED else "cpu")
#: What autograd itself does around a backward: the first upstream, and keeping what leaves of the graph receive.
AUTOGRAD = {"ones_like", "detach", "add_"}


def sides(n, m, d, dtype=torch.float32, offset=0.0):
    generator = torch.Generator().manual_seed(n + m)
    x = torch.randn(n, d, generator=generator, dtype=torch.float64).relu() + offset
    y = (torch.randn(m, d, generator=generator, dtype=torch.float64) + 0.3).relu() + offset
    return [side.to(DEVICE, dtype).requires_grad_() for side in (x, y)]


@pytest.mark.parametrize("detach", [None, "x", "y"])
@pytest.mark.parametrize("estimator", ["unbiased", "biased"])
@pytest.mark.parametrize(("n", "m", "d"), [(7, 9, 5), (33, 20, 16), (2, 70, 300)])
@pytest.mark.parametrize(
    ("kernel", "alpha"),
    [("gaussian", 1.0), ("laplacian", 1.0), ("rational_quadratic", 1.0), ("rational_quadratic", 2.5)],
)
def test_value_and_gradient(n, m, d, estimator, detach, kernel, alpha):
    x, y = sides(n, m, d, offset=50.0)
    scale = d**0.5
    options = {"bandwidths": [0.5 * scale, 1.3 * scale], "estimator": estimator, "kernel": kernel, "alpha": alpha}
    value = mmd2(x, y, detach=detach, **options)
    assert value.dtype == torch.float32
    (3 * value).backward()
    wide = [side.detach().double().requires_grad_() for side in (x, y)]
    wanted = dense_mmd2(*wide, **options)
    (3 * wanted).backward()
    mean = 2.0  # of the kernel at 0, which is what rounding is relative to
    assert abs(float(value.detach() - wanted)) < 2e-6 * mean
    for name, side, exact in zip("xy", (x, y), wide):
        if name == detach:
            assert side.grad is None
        else:
            assert float((side.grad - exact.grad).norm()) <= 5e-5 * float(exact.grad.norm())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_rows_and_their_gradients(dtype):
    x, y = sides(40, 24, 20, dtype)
    ladder = bandwidth_ladder(x.detach().float(), y.detach().float())
    mmd2(x, y, bandwidths=ladder).backward()
    wide = [side.detach().double().requires_grad_() for side in (x, y)]
    wanted = dense_mmd2(*wide, ladder.sigmas.double())
    wanted.backward()
    assert abs(float(mmd2(x, y, bandwidths=ladder).detach() - wanted)) < 1e-3
    for side, exact in zip((x, y), wide):
        assert side.grad.dtype == dtype
        assert float((side.grad - exact.grad).norm()) <= 1e-2 * float(exact.grad.norm())


def test_bad_values_are_seen():
    x, y = sides(6, 6, 4)
    x.data[2, 1] = torch.nan
    assert mmd2(x, y, bandwidths=[1.0]).isnan()
    x, y = sides(6, 6, 4)
    assert mmd2(x, y, bandwidths=torch.tensor([-1.0])).isnan()


def test_a_second_derivative_is_refused():
    x, y = sides(6, 6, 4)
    (grad,) = torch.autograd.grad(mmd2(x, y, bandwidths=[1.0]), x, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiable once"):
        grad.sum().backward()


@pytest.mark.parametrize("estimator", ["unbiased", "biased"])
def test_the_operator_compiles_as_one_graph(estimator):
    x, y = sides(9, 7, 5)
    ladder = bandwidth_ladder(x.detach(), y.detach())

    def loss(x, y):
        return 2 * mmd2(x.tanh(), y.tanh(), bandwidths=ladder, estimator=estimator)

    wanted = torch.autograd.grad(loss(x, y), (x, y))
    got = torch.autograd.grad(torch.compile(loss, fullgraph=True, backend="aot_eager")(x, y), (x, y))
    for ours, theirs in zip(got, wanted):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("wanted", [(True, True), (False, True), (False, False)])
def test_the_operator_keeps_its_contract(wanted):
    x, y = (side.detach() for side in sides(9, 7, 5))
    sigmas = torch.tensor([1.0, 2.0], dtype=torch.float64, device=DEVICE)
    sides_of = [side.requires_grad_(want) for side, want in zip((x, y), wanted)]
    torch.library.opcheck(
        equal_on_device.equal_estimate, (*sides_of, "gaussian", sigmas, False, 1.0, True, *wanted),
        test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
    )  # fmt: skip


class Operations(TorchDispatchMode):
    """Names of the operations that the host gives to the device."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(function.name().removeprefix("aten::").split(".")[0])
        return function(*args, **(kwargs or {}))


class Launches:
    """In the place of a Triton kernel: counts."""

    def __init__(self):
        self.count = 0

    def __getitem__(self, grid):
        return self

    def __call__(self, *arguments, **options):
        self.count += 1


@pytest.fixture
def launches(monkeypatch):
    from tl_research.kernels.backends import triton_tiles

    counted = Launches()
    monkeypatch.setattr(triton_tiles, "_tiles", counted)
    return counted


@pytest.mark.parametrize("ladder", [True, False])
@pytest.mark.parametrize("d", [64, 100, 256])
@pytest.mark.parametrize("n", [32, 256, 512])
def test_a_training_batch_costs_the_host_little(n, d, ladder, launches):
    x, y = sides(n, n, d)
    bandwidths = bandwidth_ladder(x.detach(), y.detach()) if ladder else [0.5, 1.0, 2.0]
    mmd2(x, y, bandwidths=bandwidths)  # the first call copies the numbers to the device
    launches.count = 0
    with Operations() as forward:
        value = mmd2(x, y, bandwidths=bandwidths)
    with Operations() as backward:
        value.backward()
    assert launches.count == 1
    assert len(forward.names) <= 10, forward.names
    assert len([name for name in backward.names if name not in AUTOGRAD]) <= 3, backward.names
    assert not {"_local_scalar_dense", "item", "nonzero"} & {*forward.names, *backward.names}


@pytest.mark.gpu
@pytest.mark.skipif(INTERPRETED, reason="a graph is captured on a device")
@pytest.mark.parametrize("ladder", [True, False])
def test_a_graph_captures_forward_and_backward(ladder):
    x, y = sides(64, 48, 32)

    def step():
        bandwidths = bandwidth_ladder(x.detach(), y.detach()) if ladder else [0.5, 1.0, 2.0]
        return torch.autograd.grad(mmd2(x, y, bandwidths=bandwidths), (x, y))

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        wanted = [step() for _ in range(3)][-1]
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        got = step()
    graph.replay()
    for ours, theirs in zip(got, wanted):
        assert torch.equal(ours, theirs)
