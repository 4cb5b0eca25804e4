"""Panels against tiles: the MMD of bfloat16 rows just within the widest tile and just beyond it, by number of rows.

    python benchmarks/kernel_paths.py [--device cuda] [--rows 2048 4096 8192 16384] [--widths 256 272]
                                      [--out benchmarks/results/gpu/paths.csv]

The Triton backend takes panels beyond 256 columns and chooses by the number of rows up to there (docs/kernels.md), and
no argument chooses otherwise. So two widths are timed in turn, forward and backward, and compared per multiplication:
where the wider one is faster by that measure, tiles come too early. `--rows` are of both sides together. Lines in the
CSV are not measured again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from card import IDENTITY, identity, is_here, kernels_digest
from cells import Table
from kernels import NEEDED_PRODUCTS, inputs, step
from peers.mmd_forms import ours
from rounds import best_of_rounds

ROWS = [2048, 3072, 4096, 6144, 8192, 12288, 16384]
KEY = ["device", *IDENTITY, "kernels", "dtype", "all_rows", "width"]
FIELDS = [*KEY, "seconds", "flops"]


def timed(all_rows: int, widths: list[int], dtype: str, device: str) -> dict[int, float]:
    """Seconds by width."""
    calls = {}
    for width in widths:
        x, y, sigmas = inputs(all_rows // 2, width, 5, dtype, device)
        calls[width] = lambda x=x, y=y, sigmas=sigmas: step(ours(), x, y, sigmas)
        calls[width]()  # compiles
    return best_of_rounds(calls, device, 0.5)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS, help="of both sides together")
    parser.add_argument("--widths", type=int, nargs=2, default=[256, 272], help="within the widest tile, and beyond it")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "gpu" / "paths.csv")
    arguments = parser.parse_args()
    device = arguments.device
    if not is_here(device):
        print("no CUDA device is here: not measured")
        return 0
    table = Table(arguments.out, FIELDS, KEY, fresh=False)
    given = {"device": device, **identity(device), "kernels": kernels_digest(), "dtype": "bf16"}
    for all_rows in arguments.rows:
        keys = [{**given, "all_rows": all_rows, "width": width} for width in arguments.widths]
        if any(table.find(**key) is None for key in keys):
            seconds = timed(all_rows, arguments.widths, "bf16", device)
            for key in keys:
                work = NEEDED_PRODUCTS * all_rows**2 * key["width"]
                table.replace({**key, "seconds": seconds[key["width"]], "flops": work / seconds[key["width"]]})
        lines = [table.find(**key) for key in keys]
        figures = [f"{line['width']} columns {float(line['flops']) / 1e12:.3g} TFLOP/s" for line in lines]
        print(f"{all_rows:>6} rows: {', '.join(figures)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
