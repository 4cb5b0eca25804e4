"""The tests that need a card, each result in a CSV line as soon as it is there.

    python benchmarks/gpu_tests.py [--files tests/kernels/test_triton.py] [--out benchmarks/results/gpu/tests.csv]

Without `--files`: every test with the mark `gpu`. With it: all tests of these files, which run on the card where there
is one. A test that has passed is not run again while card, versions, kernels and its file are the same.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
from card import IDENTITY, identity, is_here, kernels_digest
from cells import ROOT, Table

KEY = ["test", "device", *IDENTITY, "code"]
FIELDS = [*KEY, "outcome", "seconds", "message"]


def marked_files() -> list[str]:
    """Files with a test that is marked `gpu`, so that no others are imported."""
    paths = sorted((ROOT / "tests").rglob("test_*.py"))
    return [str(path.relative_to(ROOT)) for path in paths if "pytest.mark.gpu" in path.read_text()]


class Recorder:
    """A pytest plugin: leaves out what has passed, and writes down what ends."""

    def __init__(self, table: Table):
        device = "cuda" if is_here("cuda") else "cpu"
        self.table, self.given, self.codes = table, {"device": device, **identity(device)}, {}
        self.counts: Counter[str] = Counter()

    def key(self, test: str) -> dict[str, str]:
        file = test.split("::")[0]
        if file not in self.codes:
            self.codes[file] = kernels_digest(ROOT / file)
        return {"test": test, **self.given, "code": self.codes[file]}

    def pytest_collection_modifyitems(self, config, items):
        passed = [item for item in items if self.table.find(**self.key(item.nodeid), outcome="passed")]
        config.hook.pytest_deselected(items=passed)
        items[:] = [item for item in items if item not in passed]
        self.counts["passed before"] = len(passed)

    def pytest_runtest_logreport(self, report):
        if report.when != "call" and report.passed:
            return
        self.counts[report.outcome] += 1
        line = {**self.key(report.nodeid), "outcome": report.outcome, "seconds": round(report.duration, 3)}
        self.table.replace({**line, "message": reason(report)})


def reason(report) -> str:
    """Why a test was skipped or failed, in one line."""
    if report.passed:
        return ""
    if report.skipped and isinstance(report.longrepr, tuple):
        return report.longrepr[-1]
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message if crash else report.longrepr).strip().splitlines()[0][:200]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--files", nargs="+", help="all tests of these, marked or not")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "gpu" / "tests.csv")
    arguments = parser.parse_args()
    out = arguments.out.resolve()
    os.chdir(ROOT)
    recorder = Recorder(Table(out, FIELDS, KEY, fresh=False))
    words = ["-m", "gpu or not gpu", *arguments.files] if arguments.files else ["-m", "gpu", *marked_files()]
    status = pytest.main([*words, "-q", "-p", "no:cacheprovider"], plugins=[recorder])
    print(", ".join(f"{count} {outcome}" for outcome, count in recorder.counts.items()), flush=True)
    nothing_left = status == pytest.ExitCode.NO_TESTS_COLLECTED and recorder.counts["passed before"]
    return 0 if nothing_left else int(status)


if __name__ == "__main__":
    sys.exit(main())
