"""What a suite costs that shares its pre-training (`method.start=cached`), against its adaptation stages alone.

    python benchmarks/pretraining.py [--problem digits] [--epochs 20] [--source-share 0.5] [--repeats 3] [--threads 1]
                                     [--out benchmarks/results/pretraining.csv]

Three times the same ten methods, one run after another in one process, each pass in an empty folder:

    shared      from nothing: the first run trains the source stage, the nine others take it from there
    adaptation  the source stage's run lies there already: the adaptation stages alone
    in_one_fit  `method.start=phases`: every run trains the source stage again

The bar: shared <= 1.25 × adaptation. Seconds are wall clock around `experiment.run`, data, evaluation and checkpoints
included; processor seconds stand beside them, because a loaded machine changes them less. Passes take turns
`--repeats` times, after one untimed run; the best of each cell counts.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import sys
import tempfile
from pathlib import Path
from time import perf_counter, process_time

METHODS = (
    "fine_tune", "linear_probe", "lp_ft", "discriminative_lr", "gradual_unfreezing", "surgical", "bitfit", "norm_only",
    "l2_sp", "wise_ft",
)  # fmt: skip
PROBLEMS = {
    "digits": {"name": "digits", "sources": ["upright"], "target": "shifted", "shots": 5},
    "simulated_market": {"name": "simulated_market", "sources": ["old_market"], "target": "new_market", "shots": 20},
}
PASSES = ("shared", "adaptation", "in_one_fit")
BAR = 1.25
COLUMNS = ("problem", "epochs", "source_share", "pass", "method", "seconds", "processor_seconds", "load", "threads")


def configuration(method: str, start: str, output: str, options: argparse.Namespace):
    from tl_research.config import compose

    return compose(
        {
            "data": {**PROBLEMS[options.problem], "setting": "few_shot", "batch_size": 64},
            # norm_only needs a norm, and all need one encoder
            "encoder": {"name": "mlp", "hidden": [100, 100], "batch_norm": True},
            "method": {"name": method, "start": start, "source_share": options.source_share},
            "trainer": {"max_epochs": options.epochs, "accelerator": "cpu", "threads": options.threads},
            "wandb": {"mode": "disabled"},
            "output": output,
        }
    )


def one_pass(kind: str, source: Path | None, options: argparse.Namespace) -> tuple[dict, Path | None]:
    """Seconds and processor seconds of each method; and the folder of the source stage's run, kept for `adaptation`."""
    from tl_research.runs.experiment import run

    seconds, kept = {}, source
    with tempfile.TemporaryDirectory() as output:
        if kind == "adaptation":
            shutil.copytree(source, Path(output) / source.name)
        for method in options.methods:
            config = configuration(method, "phases" if kind == "in_one_fit" else "cached", output, options)
            wall, processor = perf_counter(), process_time()
            record = run(config)
            seconds[method] = (perf_counter() - wall, process_time() - processor)
        if kind == "shared":
            kept = Path(tempfile.mkdtemp()) / record.data["method"]["start"]["source_run_id"]
            shutil.copytree(Path(output) / kept.name, kept)
    return seconds, kept


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problem", choices=PROBLEMS, default="digits")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS, metavar="NAME")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--source-share", type=float, default=0.5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "pretraining.csv")
    options = parser.parse_args(arguments)

    from tl_research.runs.experiment import run

    with tempfile.TemporaryDirectory() as output:  # imports, and whatever the first run of a process pays
        run(configuration("fine_tune", "phases", output, options))
    best: dict[tuple[str, str], tuple[float, float]] = {}
    for repeat in range(options.repeats):
        source = None
        for kind in PASSES:
            seconds, source = one_pass(kind, source, options)
            for method, cell in seconds.items():
                best[kind, method] = min(best.get((kind, method), cell), cell)
        shutil.rmtree(source.parent)
        print(f"turn {repeat + 1} of {options.repeats} done", flush=True)

    totals = {
        kind: tuple(sum(cell[i] for (k, _), cell in best.items() if k == kind) for i in range(2)) for kind in PASSES
    }
    print(f"\n{'method':<20}" + "".join(f"{kind:>14}" for kind in PASSES))
    for method in options.methods:
        print(f"{method:<20}" + "".join(f"{best[kind, method][0]:>12.3f} s" for kind in PASSES))
    print(f"{'sum':<20}" + "".join(f"{totals[kind][0]:>12.3f} s" for kind in PASSES))
    wall, processor = (totals["shared"][i] / totals["adaptation"][i] for i in range(2))
    print(f"\nshared / adaptation: {wall:.3f} (processor seconds {processor:.3f}); bar {BAR}")
    print(f"in_one_fit / shared: {totals['in_one_fit'][0] / totals['shared'][0]:.3f}")
    write(options, best, totals)
    return 0 if wall <= BAR else 1


def write(options: argparse.Namespace, best: dict, totals: dict) -> None:
    load = round(os.getloadavg()[0], 2)
    rows = [(kind, method, *cell) for (kind, method), cell in best.items()]
    rows += [(kind, "sum", *cell) for kind, cell in totals.items()]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with open(options.out, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for kind, method, seconds, processor in rows:
            setting = (options.problem, options.epochs, options.source_share, kind, method)
            writer.writerow((*setting, f"{seconds:.4f}", f"{processor:.4f}", load, options.threads))


if __name__ == "__main__":
    sys.exit(main())
