"""The run ids of what is committed. `python -m tests.run_ids` writes `run_ids.csv` again, after a default was changed
on purpose: the diff then says which runs are other ones, whose tables are to be made again.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from tl_research.config import compose, run_id
from tl_research.suites.suite import load_suite

ROOT = Path(__file__).resolve().parents[1]
TABLE = Path(__file__).with_name("run_ids.csv")


def recipes() -> list[Path]:
    """Committed recipes, but for the bases that they extend."""
    return sorted(path for path in ROOT.glob("configs/**/*.yaml") if path.stem != "base")


def suites() -> list[Path]:
    return sorted(ROOT.glob("benchmarks/suites/*.yaml"))


def ids_of_recipe(path: Path) -> dict[str, str]:
    return {path.relative_to(ROOT).as_posix(): run_id(compose(path))}


def ids_of_suite(path: Path) -> dict[str, str]:
    """Runs of the suite's first seed."""
    suite = load_suite(path)
    cells = dataclasses.replace(suite, seeds=suite.seeds[:1]).cells()
    return {f"{path.relative_to(ROOT).as_posix()} {cell.task} {cell.label}": cell.run_id for cell in cells}


def committed() -> dict[str, str]:
    """The table: what names a configuration -> its run id."""
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    return dict(line.rsplit(",", 1) for line in lines[1:])


def main() -> None:
    found: dict[str, str] = {}
    for path in recipes():
        found |= ids_of_recipe(path)
    for path in suites():
        found |= ids_of_suite(path)
    TABLE.write_text("configuration,run_id\n" + "".join(f"{key},{value}\n" for key, value in found.items()), "utf-8")


if __name__ == "__main__":
    main()
