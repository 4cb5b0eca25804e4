"""What a training step of each method costs beside one of `source_only`, on the same network and rows.

    python benchmarks/step_cost.py run                 # into benchmarks/results/step_cost.csv; continued if stopped
    python benchmarks/step_cost.py page                # writes the table into docs/step_cost.md

Every method is trained in turn with `source_only`, so that a machine that slows down slows both. The figure is the
median step after a warm-up, by the clock of the run itself. On an accelerator the largest memory is compared as well.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import median

from cells import ROOT, append_lines, read_lines, write_between

from tl_research.config import compose
from tl_research.registry import METHODS, SOURCE_FREE
from tl_research.runs.experiment import run

OUT = ROOT / "benchmarks" / "results" / "step_cost.csv"
PAGE = ROOT / "docs" / "step_cost.md"
FIELDS = ("method", "family", "repeat", "step_ms", "source_only_ms", "ratio", "memory_ratio")
#: A network and a batch that a shop's table would have.
PROBLEM = {
    "data": {"name": "simulated_market", "n_source": 4000, "n_target": 4000, "batch_size": 256},
    "encoder": {"name": "mlp", "hidden": [256, 128], "batch_norm": True},
    "optimizer": {"lr": 1e-3},
    "selection": {"rule": "last", "every": 1000},
    "wandb": {"mode": "disabled"},
}


def methods() -> list[str]:
    """Methods that train by gradient steps on target rows without labels, of classes."""
    return [
        entry.name
        for entry in METHODS.entries()
        if {"unsupervised", SOURCE_FREE} & set(entry.settings)
        and "class" in entry.targets
        and entry.target.engine == "gradient"
        and entry.encoder is None
        and entry.name != "source_only"
    ]


def measured(method: str, epochs: int, accelerator: str) -> tuple[float, float]:
    """Milliseconds of the median step, and the largest memory in MB."""
    setting = "unsupervised" if "unsupervised" in METHODS.get(method).settings else SOURCE_FREE
    words = [f"method.name={method}", f"data.setting={setting}", f"trainer.max_epochs={epochs}"]
    words += [word for word in METHODS.get(method).problem if word.startswith("data.")]
    words += [f"trainer.accelerator={accelerator}", "trainer.threads=1"]
    with tempfile.TemporaryDirectory() as folder:
        record = run(compose(PROBLEM, [*words, f"output={folder}"]))
    return record.throughput["step_ms_p50"], record.resources["peak_memory_mb"]


def compared(method: str, repeat: int, epochs: int, accelerator: str) -> dict[str, object]:
    plain, memory = measured("source_only", epochs, accelerator)
    own, own_memory = measured(method, epochs, accelerator)
    # On the CPU the largest memory is that of the whole process, whatever ran before.
    share = "" if accelerator == "cpu" else round(own_memory / memory, 3)
    ratio = round(own / plain, 3)
    values = (method, METHODS.get(method).family, repeat, round(own, 3), round(plain, 3), ratio, share)
    return dict(zip(FIELDS, values, strict=True))


def table(lines: list[dict[str, str]]) -> str:
    """Median ratio of each method, the dearest last."""
    ratios: dict[tuple[str, str], list[float]] = {}
    for line in lines:
        ratios.setdefault((line["method"], line["family"]), []).append(float(line["ratio"]))
    rows = ["| method | family | step beside `source_only` |", "|---|---|---:|"]
    for (method, family), found in sorted(ratios.items(), key=lambda item: median(item[1])):
        rows.append(f"| `{method}` | {family} | {median(found):.2f} |")
    return "\n".join(rows) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "page"))
    parser.add_argument("--methods", nargs="+", default=methods())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--accelerator", default="cpu")
    parser.add_argument("--csv", type=Path, default=OUT)
    parser.add_argument("--page", type=Path, default=PAGE)
    arguments = parser.parse_args()
    if arguments.what == "page":
        write_between(arguments.page, table(read_lines(arguments.csv)))
        return
    done = {(line["method"], int(line["repeat"])) for line in read_lines(arguments.csv)}
    for repeat in range(arguments.repeats):
        for method in arguments.methods:
            if (method, repeat) not in done:
                line = compared(method, repeat, arguments.epochs, arguments.accelerator)
                append_lines(arguments.csv, FIELDS, [line])
                print(method, repeat, line["ratio"], flush=True)


if __name__ == "__main__":
    sys.exit(main())
