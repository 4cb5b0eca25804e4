"""What small batches cost the host: forward and backward of the MMD, with and without a CUDA graph.

    python benchmarks/kernel_host_time.py [--device cuda] [--rows 32 128 512] [--width 256] [--dtype fp32 bf16]
                                          [--out benchmarks/results/gpu/host_time.csv]

`host_us` is the time until the host may go on, per call; `step_us` the time until the device is done, per call of many.
Both are the best of several rounds. A graph is captured once and replayed; its value must be that of the plain call.
Bandwidths are a `Ladder` on the device, or a list of numbers. Where a capture fails the line says so. A CPU has no
graphs. Lines in the CSV are not measured again.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
from pathlib import Path
from time import perf_counter

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from card import IDENTITY, identity, is_here, kernels_digest
from cells import Table
from kernels import DTYPES, inputs
from rounds import synchronize

from tl_research.kernels import bandwidth_ladder, mmd2

#: Calls that are enqueued without waiting: few enough that the queue of the device is not full.
CALLS, ROUNDS, WARM_CALLS = 20, 10, 3
KEY = ["device", *IDENTITY, "kernels", "rows", "width", "dtype", "bandwidths", "graph"]
FIELDS = [*KEY, "status", "host_us", "step_us"]


def microseconds(call, device: str) -> dict[str, float]:
    best = {"host_us": math.inf, "step_us": math.inf}
    for _ in range(ROUNDS):
        synchronize(device)
        begun = perf_counter()
        for _ in range(CALLS):
            call()
        enqueued = perf_counter() - begun
        synchronize(device)
        seconds = {"host_us": enqueued, "step_us": perf_counter() - begun}
        best = {name: min(best[name], 1e6 * seconds[name] / CALLS) for name in best}
    return best


class Step:
    """Forward and backward; `value` is that of the last call."""

    def __init__(self, rows: int, width: int, dtype: str, bandwidths: str, device: str):
        self.x, self.y, sigmas = inputs(rows, width, 5, dtype, device)
        ladder = bandwidth_ladder(self.x.detach(), self.y.detach(), count=5)
        self.bandwidths = ladder if bandwidths == "ladder" else sigmas
        self.value = torch.zeros(())

    def __call__(self) -> None:
        self.x.grad = self.y.grad = None
        value = mmd2(self.x, self.y, bandwidths=self.bandwidths)
        value.backward()
        self.value = value.detach()


def replay_of(step: Step):
    """A captured step; whoever replays it finds the value in `step.value`."""
    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):  # kernels are compiled, and workspaces made, before the capture
        for _ in range(WARM_CALLS):
            step()
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def measure(key: dict) -> dict:
    step = Step(key["rows"], key["width"], key["dtype"], key["bandwidths"], key["device"])
    for _ in range(WARM_CALLS):
        step()
    if key["graph"] == "no":
        return {"status": "ok", **microseconds(step, key["device"])}
    wanted = step.value.item()
    try:
        replay = replay_of(step)
        replay()
        got = step.value.item()
    except Exception as error:  # that it cannot be captured is a result
        return {"status": f"failed: {type(error).__name__}"}
    if not math.isclose(got, wanted, rel_tol=1e-3, abs_tol=1e-6):
        return {"status": f"failed: {got:.3g} instead of {wanted:.3g}"}
    return {"status": "ok", **microseconds(replay, key["device"])}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    parser.add_argument("--rows", type=int, nargs="+", default=[32, 128, 512], help="per side")
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--dtype", nargs="+", choices=list(DTYPES), default=list(DTYPES))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "gpu" / "host_time.csv")
    arguments = parser.parse_args()
    device = arguments.device
    if not is_here(device):
        print("no CUDA device is here: not measured")
        return 0
    table = Table(arguments.out, FIELDS, KEY, fresh=False)
    given = {"device": device, **identity(device), "kernels": kernels_digest(), "width": arguments.width}
    # a capture that fails may leave the device unusable: plain calls come first, and the likelier failure last
    ways = [("no", "ladder"), ("no", "list"), ("yes", "ladder"), ("yes", "list")]
    for (graph, bandwidths), dtype, rows in itertools.product(ways, arguments.dtype, arguments.rows):
        if graph == "yes" and device == "cpu":
            continue
        key = {**given, "rows": rows, "dtype": dtype, "bandwidths": bandwidths, "graph": graph}
        if table.find(**key) is None:
            table.add({**key, **measure(key)})
        line = table.find(**key)
        figures = line["status"]
        if figures == "ok":
            figures = f"host {float(line['host_us']):7.1f} us, step {float(line['step_us']):7.1f} us per call"
        print(f"{rows:>5} {dtype} bandwidths {bandwidths:6s} graph {graph:3s} {figures}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
