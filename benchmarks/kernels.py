"""Time, peak memory and error of the MMD, forward and backward to both sides, beside the forms in use.

    python benchmarks/kernels.py [--device cpu] [--rows 32 512] [--width 256] [--bandwidths 5] [--dtype fp32]
                                 [--limit 60] [--threads 2] [--out benchmarks/results/kernels.csv]
    python benchmarks/kernels.py --bars
    python benchmarks/kernels.py --memory [--rows 32 512] [--width 256] ...

A cell is (rows per side, width, bandwidths, dtype). Its forms are timed in turn in one process, best of at least three
rounds and of as many as fit into a second, with one full Gram product `z @ z.T` among them for the ratio. Peak memory
is what a form needs beyond its inputs: on CUDA `max_memory_allocated`; on a CPU how far the peak resident set of a
fresh process grows over the resident set before the call (so small cells read as noise of some hundred KB). Errors are
those of the value (over the kernel's mean) and of the gradient (norm over norm) against dense float64 on the same
inputs, where that fits.

Beside a card's figures stand the shares that they reach of its measured rates (`device_rates.py`).

Cells in the CSV are not run again; `--fresh` begins anew. A card's cells are run again where card, versions or the code
of the kernels differ. A form that is not run says why: `does not fit` (estimated memory), `over the limit` (estimated
seconds), `not installed`, `failed`.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import itertools
import os
import platform
import subprocess
import sys
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent))
from card import IDENTITY, identity, is_here, kernels_digest
from cells import read_lines, write_lines
from device_rates import COPY_MB, SIDE, copy_rate, product_rate
from peers.mmd_forms import FORMS, gram_form
from rounds import best_of_rounds

from tl_research.kernels import bandwidth_ladder

GRID = {"rows": [32, 128, 512, 1024, 4096, 16384, 65536], "width": [64, 256, 2048], "bandwidths": [1, 5]}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
KEY = ["device", "rows", "width", "bandwidths", "dtype", "form"]
FIELDS = [*KEY, "status", "seconds", "gram_products", "peak_mb", "value_error", "gradient_error"]
FIELDS += ["matrix_rate_fraction", "copy_rate_fraction", "machine", "torch", "card", "triton", "kernels"]
#: Products of all rows with all rows that a forward and backward need: multiplications and additions over N² d.
NEEDED_PRODUCTS = 3


def inputs(rows: int, width: int, bandwidths: int, dtype: str, device: str) -> tuple[Tensor, Tensor, list[float]]:
    """ReLU-like features of two domains a little apart, and a ladder around their mean squared distance."""
    generator = torch.Generator().manual_seed(0)
    mix = torch.randn(width, width, generator=generator) / width**0.5
    x = (torch.randn(rows, width, generator=generator).relu() @ mix).relu()
    y = (torch.randn(rows, width, generator=generator).relu() @ mix).relu() * 1.1
    sigmas = bandwidth_ladder(x, y, count=bandwidths).sigmas.tolist()
    x, y = (side.to(device, DTYPES[dtype]).requires_grad_() for side in (x, y))
    return x, y, sigmas


def step(function, x: Tensor, y: Tensor, sigmas: list[float]) -> Tensor:
    """Forward and backward."""
    x.grad = y.grad = None
    value = function(x, y, sigmas)
    value.backward()
    return value.detach()


# Peak memory -----------------------------------------------------------------------------------------------------


def resident(field: str) -> int:
    """`VmRSS` now, or `VmHWM`, its peak, in bytes."""
    status = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in status if line.startswith(field))


def print_cpu_peak(form: str, cell: tuple) -> None:
    """In a fresh process: growth of the peak resident set, in bytes."""
    function = FORMS[form].build()
    x, y, sigmas = inputs(*cell, "cpu")
    # libraries and thread pools are no part of it, nor is the compiler, which must see the true size
    head = None if form == "gram_compiled" else 32
    step(function, x[:head].detach().requires_grad_(), y[:head].detach().requires_grad_(), sigmas)
    x.grad, y.grad = torch.zeros_like(x), torch.zeros_like(y)  # the answer is no extra
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = resident("VmRSS")
    function(x, y, sigmas).backward()
    print("peak", max(0, resident("VmHWM") - before))


def cpu_peak(form: str, cell: tuple, threads: int, limit: float) -> float | None:
    command = [sys.executable, __file__, "--peak-of", form, *map(str, cell), "--threads", str(threads)]
    path = os.pathsep.join(filter(None, [str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH")]))
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=10 * limit + 120, env={**os.environ, "PYTHONPATH": path}
        )
    except subprocess.TimeoutExpired:
        return None
    lines = [line for line in done.stdout.splitlines() if line.startswith("peak ")]
    return int(lines[-1].split()[1]) if lines else None


def cuda_peak(function, x: Tensor, y: Tensor, sigmas: list[float]) -> int:
    x.grad, y.grad = torch.zeros_like(x), torch.zeros_like(y)
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    function(x, y, sigmas).backward()
    return torch.cuda.max_memory_allocated() - before


# Error -----------------------------------------------------------------------------------------------------------


def exact(x: Tensor, y: Tensor, sigmas: list[float]) -> tuple[float, Tensor, float]:
    """Value, gradient of both sides and mean of the kernel, dense float64 where the rows are."""
    a, b = x.detach().double(), y.detach().double()
    centre = torch.cat([a, b]).mean(dim=0)
    a, b = (a - centre).requires_grad_(), (b - centre).requires_grad_()
    value = step(gram_form, a, b, sigmas)
    with torch.no_grad():
        part = torch.cat([a, b])[:: max(1, 2 * len(a) // 1024)]
        mean = sum(torch.exp(-torch.cdist(part, part).square() / (2 * s * s)).mean() for s in sigmas)
    return value.item(), torch.cat([a.grad, b.grad]), mean.item()


def errors(value: Tensor, x: Tensor, y: Tensor, truth: tuple[float, Tensor, float]) -> tuple[float, float]:
    grad = torch.cat([x.grad, y.grad]).double()
    return abs(value.item() - truth[0]) / truth[2], ((grad - truth[1]).norm() / truth[1].norm()).item()


# The machine -----------------------------------------------------------------------------------------------------


def free_bytes(device: str) -> int:
    if device == "cuda":
        kept = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()  # by PyTorch, for its next tensors
        return torch.cuda.mem_get_info()[0] + kept
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def rate_shares(rows: int, width: int, dtype: str, device: str, side: int, seconds: float) -> dict[str, float]:
    """Of the measured rates of a matrix product and of a copy, what so many seconds reach."""
    # what must be done: half a Gram matrix and one gradient product; rows read, gradients written
    needed = NEEDED_PRODUCTS * (2 * rows) ** 2 * width
    moved = 2 * (2 * rows) * width * DTYPES[dtype].itemsize
    return {
        "matrix_rate_fraction": needed / seconds / product_rate(dtype, device, side),
        "copy_rate_fraction": moved / seconds / copy_rate(device, max(1, COPY_MB * side**2 // SIDE**2)),
    }


def measured_with(device: str) -> dict[str, str]:
    return {"machine": machine(device), "kernels": kernels_digest(), **identity(device)}


def machine(device: str) -> str:
    if device == "cuda":
        return torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    return f"{platform.machine()}, {torch.get_num_threads()} threads"


# A cell ----------------------------------------------------------------------------------------------------------


class Bench:
    def __init__(self, arguments):
        self.device, self.limit, self.threads = arguments.device, arguments.limit, arguments.threads
        self.memory, self.forms, self.rate_side = not arguments.no_memory, arguments.form, arguments.rate_side
        self.timed: dict[tuple, tuple[int, float]] = {}  # (form, width, bandwidths, dtype) -> largest rows, seconds

    def estimate(self, form: str, rows: int, rest: tuple, product: float) -> float:
        smaller, seconds = self.timed.get((form, *rest), (0, 0.0))
        return seconds * (rows / smaller) ** 2 if smaller else FORMS[form].cost * product

    def reason_not_to_run(self, form: str, rows: int, rest: tuple, product: float) -> str | None:
        width, bandwidths, _ = rest
        if 4 * FORMS[form].floats(2 * rows, width, bandwidths) > 0.8 * free_bytes(self.device):
            return "does not fit"
        return "over the limit" if self.estimate(form, rows, rest, product) > self.limit else None

    def gram_product_seconds(self, z: Tensor) -> tuple[float, bool]:
        """Of `z @ z.T`, and whether it was timed at this size rather than scaled from 4,096 rows."""
        fits = 4 * len(z) ** 2 < 0.5 * free_bytes(self.device)
        part = z if fits and len(z) <= 32768 else z[:4096]
        best = best_of_rounds({"product": lambda: part @ part.T}, self.device, 0.2, least=2, most=10)["product"]
        return best * (len(z) / len(part)) ** 2, part is z

    def cell(self, rows: int, width: int, bandwidths: int, dtype: str) -> list[dict]:
        cell, rest = (rows, width, bandwidths, dtype), (width, bandwidths, dtype)
        base = dict(zip(KEY, (self.device, *cell)))
        base |= measured_with(self.device)
        x, y, sigmas = inputs(*cell, self.device)
        z = torch.cat([x, y]).detach()
        product, timed_here = self.gram_product_seconds(z)
        truth = None
        if rows <= 4096 and self.estimate("gram", rows, rest, 3 * product) < self.limit:
            truth = exact(x, y, sigmas)
        lines, calls = {}, {"z @ z.T": lambda: z @ z.T} if timed_here else {}
        for form in self.forms:
            lines[form] = line = {**base, "form": form, "status": "ok"}
            reason = self.reason_not_to_run(form, rows, rest, product)
            if reason:
                line["status"] = reason
                continue
            try:
                function = FORMS[form].build()
                value = step(function, x, y, sigmas)  # compiles, and warms up
            except ImportError:
                line["status"] = "not installed"
                continue
            except Exception as error:  # a peer that breaks is a result
                out_of_memory = isinstance(error, torch.OutOfMemoryError)
                line["status"] = "does not fit" if out_of_memory else f"failed: {type(error).__name__}"
                continue
            if truth and FORMS[form].exact:
                line["value_error"], line["gradient_error"] = errors(value, x, y, truth)
            if self.memory:
                peak = (
                    cuda_peak(function, x, y, sigmas)
                    if self.device == "cuda"
                    else cpu_peak(form, cell, self.threads, self.limit)
                )
                line["peak_mb"] = "" if peak is None else round(peak / 2**20, 1)
            calls[form] = lambda function=function: step(function, x, y, sigmas)
        best = best_of_rounds(calls, self.device, 1.0)
        product = best.get("z @ z.T", product)
        for form, line in lines.items():
            if form in best:
                self.timed[(form, *rest)] = (rows, best[form])
                line["seconds"], line["gram_products"] = best[form], best[form] / product
                if self.rate_side:
                    line |= rate_shares(rows, width, dtype, self.device, self.rate_side, best[form])
        total = {"form": "z @ z.T", "status": "ok" if timed_here else "scaled", "seconds": product, "gram_products": 1}
        return [{**base, **total}, *lines.values()]


# The table -------------------------------------------------------------------------------------------------------


def show(line: dict) -> None:
    def figure(name: str, form: str) -> str:
        value = line.get(name, "")
        return "" if value in ("", None) else format(float(value), form)

    seconds = figure("seconds", ".3e") or line["status"]
    print(
        f"{line['device']:4s} {line['rows']:>6} {line['width']:>5} {line['bandwidths']:>2} {line['dtype']:4s} "
        f"{line['form']:14s} {seconds:>14s} {figure('gram_products', '.2f'):>9s} {figure('peak_mb', '.1f'):>9s} "
        f"{figure('value_error', '.1e'):>8s} {figure('gradient_error', '.1e'):>8s} "
        f"{figure('matrix_rate_fraction', '.3f'):>6s} {figure('copy_rate_fraction', '.4f'):>7s}",
        flush=True,
    )


#: Of `show`.
HEADER = (
    "dev    rows width  b type form                  seconds   z@z.T's   peak MB  value ±   grad ±   rate    copy\n"
    "(rows per side; peak beyond the inputs; errors against float64; shares of the measured matrix and copy rates)"
)


def run_grid(arguments) -> int:
    path = Path(arguments.out)
    lines = [] if arguments.fresh else read_lines(path)
    here = is_here(arguments.device)
    # a card's figures are of its own versions; those of a CPU are of one machine, which the page names
    names = [*KEY[:-1], "kernels", *IDENTITY] if here and arguments.device == "cuda" else KEY[:-1]
    given = {name: value for name, value in measured_with(arguments.device).items() if name in names} if here else {}
    done = {tuple(line.get(name, "") for name in names) for line in lines if line["status"] != "not measured"}
    bench = Bench(arguments)
    print(f"torch {torch.__version__}, {machine(arguments.device) or 'no CUDA device'}")
    if arguments.device == "cuda" and not here:
        print("no CUDA device is here: not measured")
        return 0
    print(HEADER)
    # rows vary first, so that a cell's time is estimated from the next smaller one's
    for width, bandwidths, dtype, rows in itertools.product(
        arguments.width, arguments.bandwidths, arguments.dtype, arguments.rows
    ):
        cell = dict(zip(KEY, (arguments.device, str(rows), str(width), str(bandwidths), dtype))) | given
        if tuple(cell[name] for name in names) in done:
            continue
        for line in bench.cell(rows, width, bandwidths, dtype):
            show(line)
            lines.append(line)
        write_lines(path, FIELDS, lines)
    return 0


def run_memory(arguments) -> int:
    """Peak memory of the timed cells that have none yet."""
    path = Path(arguments.out)
    lines = read_lines(path)
    for line in lines:
        cell = tuple(line[name] for name in KEY[1:-1])
        asked = all(
            line[name] in map(str, getattr(arguments, name)) for name in ("rows", "width", "bandwidths", "dtype")
        )
        known = line["peak_mb"] or line["status"] != "ok" or line["form"] not in arguments.form
        if line["device"] == "cpu" and asked and not known:
            peak = cpu_peak(line["form"], cell, arguments.threads, arguments.limit)
            line["peak_mb"] = "" if peak is None else round(peak / 2**20, 1)
            show(line)
            write_lines(path, FIELDS, lines)
    return 0


# The bars --------------------------------------------------------------------------------------------------------


def bars(arguments) -> int:
    """The CPU bars: float32, 5 bandwidths, width 256. Every ratio is of two figures taken in turn."""
    met = []

    def judge(what: str, got: float, bar: float, most: bool = True) -> None:
        met.append(got <= bar if most else got >= bar)
        print(
            f"{what:58s} {got:8.2f}   bar {'<=' if most else '>='} {bar:<7g} {'met' if met[-1] else 'NOT MET'}",
            flush=True,
        )

    def ratio(rows: int, first, second, budget: float) -> float:
        x, y, sigmas = inputs(rows, 256, 5, "fp32", "cpu")
        z = torch.cat([x, y]).detach()
        functions = {form: FORMS[form].build() for form in (first, second) if form in FORMS}
        calls = {form: lambda f=function: step(f, x, y, sigmas) for form, function in functions.items()}
        calls.setdefault(second, lambda: z @ z.T)
        for call in calls.values():
            call()
        best = best_of_rounds(calls, "cpu", budget)
        return best[first] / best[second]

    print(f"torch {torch.__version__}, {machine('cpu')}, float32, 5 bandwidths, width 256")
    judge("1,024 per side, in Gram products z @ z.T", ratio(1024, "ours", "z @ z.T", 2.5), 2.0)
    judge("4,096 per side, in Gram products z @ z.T", ratio(4096, "ours", "z @ z.T", 4), 1.6)
    judge("512 per side, times faster than the broadcast form", ratio(512, "broadcast", "ours", 2), 250, most=False)
    for rows in (32, 128, 512, 1024, 4096):
        judge(f"{rows:,} per side, times faster than the Gram form", ratio(rows, "gram", "ours", 2), 1.0, most=False)
    peak = cpu_peak("ours", (16384, 256, 5, "fp32"), arguments.threads, 600)
    allowed = 4 * (2 * 16384) * 256 * 4 / 2**20 + 64
    judge("16,384 per side, peak extra memory in MB", float("inf") if peak is None else peak / 2**20, allowed)
    return 0 if all(met) else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    for name, values in GRID.items():
        parser.add_argument(f"--{name}", type=int, nargs="+", default=values)
    parser.add_argument("--dtype", nargs="+", choices=list(DTYPES), default=list(DTYPES))
    parser.add_argument("--form", nargs="+", choices=list(FORMS), default=list(FORMS))
    parser.add_argument("--limit", type=float, default=60.0, help="seconds that one forward and backward may take")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--rate-side", type=int, help="of the matrix product whose rate figures are a share of; 0: none (CPU)"
    )
    parser.add_argument("--no-memory", action="store_true", help="leave out peak memory")
    parser.add_argument(
        "--memory", action="store_true", help="only the peak memory of timed cells that have none (CPU)"
    )
    parser.add_argument("--fresh", action="store_true", help="do not continue the CSV")
    parser.add_argument("--bars", action="store_true", help="check the CPU bars instead")
    parser.add_argument("--out", default=str(Path(__file__).parent / "results" / "kernels.csv"))
    parser.add_argument("--peak-of", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.rate_side is None:
        arguments.rate_side = SIDE if arguments.device == "cuda" else 0
    if arguments.peak_of:
        form, rows, width, bandwidths, dtype = arguments.peak_of
        print_cpu_peak(form, (int(rows), int(width), int(bandwidths), dtype))
        return 0
    job = bars if arguments.bars else run_memory if arguments.memory else run_grid
    return job(arguments)


if __name__ == "__main__":
    sys.exit(main())
