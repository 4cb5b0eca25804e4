"""Whether a change of the code leaves every figure as it was, bit for bit.

One short run of every method on its contract problem, and three runs of every committed suite (the first row, the
middle one and the last, on the first task and seed), shortened to two epochs:

    python -m tests.same_figures write before.json            # at the commit before, in a checkout of its own
    python -m tests.same_figures check before.json            # at the commit after, on the same machine

`--only dann bitgcf` and `--suites demo` choose some; `--no-suites` leaves the suites out. Exit code 1 where a number
differs. What is measured in time is not compared.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from tests.contracts.problem import LABELLED, method_config
from tl_research.config import compose
from tl_research.runs.experiment import run
from tl_research.suites.suite import load_suite

ROOT = Path(__file__).resolve().parents[1]
EPOCHS = 2
Figures = dict[str, Any]


def figures(config: DictConfig) -> Figures:
    """Metrics of the record, with numbers as `repr` has them; the message where the run cannot be carried out."""
    try:
        record = run(config)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}".split("\n")[0]}
    return {"run_id": record.run_id, "metrics": json.loads(json.dumps(record.metrics))}


def of_methods(names: list[str], folder: str) -> dict[str, Figures]:
    found = {}
    for name in names:
        print(name, file=sys.stderr, flush=True)
        epochs = f"trainer.max_epochs={4 * EPOCHS}"  # a source stage and one after it
        found[f"method {name}"] = figures(method_config(name, folder, epochs))
    return found


def of_suite(path: Path, folder: str) -> dict[str, Figures]:
    suite = load_suite(path)
    rows = suite.methods
    found = {}
    for row in {id(row): row for row in (rows[0], rows[len(rows) // 2], rows[-1])}.values():
        print(path.stem, row.label, file=sys.stderr, flush=True)
        cell = next(cell for cell in suite.cells(folder) if cell.label == row.label)
        tree = OmegaConf.to_container(cell.config, resolve=True)
        tree["trainer"]["max_epochs"] = min(2 * EPOCHS, tree["trainer"]["max_epochs"])
        tree["wandb"]["mode"] = "disabled"
        found[f"suite {path.stem}: {row.label}"] = figures(compose(tree, resolved=True))
    return found


def differences(before: Any, after: Any, where: str) -> list[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        missing = [f"{where}: {key} is gone" for key in before if key not in after]
        shared = [key for key in before if key in after]
        return missing + [line for key in shared for line in differences(before[key], after[key], f"{where} {key}")]
    same = before == after or (before != before and after != after)
    return [] if same or where.endswith("_s") else [f"{where}: {before!r} before, {after!r} now"]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("action", choices=("write", "check"))
    parser.add_argument("file", type=Path)
    parser.add_argument("--only", nargs="*", help="methods (default: all)")
    parser.add_argument("--suites", nargs="*", help="names of suites (default: all)")
    parser.add_argument("--no-suites", action="store_true")
    options = parser.parse_args(argv)
    suites = [] if options.no_suites else sorted(ROOT.glob("benchmarks/suites/*.yaml"))
    if options.suites is not None:
        suites = [path for path in suites if path.stem in options.suites]
    with tempfile.TemporaryDirectory() as folder:
        found = of_methods(LABELLED if options.only is None else options.only, folder)
        for path in suites:
            found |= of_suite(path, folder)
    if options.action == "write":
        options.file.write_text(json.dumps(found, indent=1, allow_nan=True), encoding="utf-8")
        return 0
    before = json.loads(options.file.read_text(encoding="utf-8"))
    lines = [line for name in found for line in differences(before.get(name, {}), found[name], name)]
    print("\n".join(lines) or f"{len(found)} runs, every figure the same")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
