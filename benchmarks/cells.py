"""Cells of a benchmark: each a process of its own, and a table in a CSV file that is continued."""

from __future__ import annotations

import csv
import json
import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MACHINE = f"{platform.machine()}, {os.cpu_count()} cores"


def load() -> str:
    return Path("/proc/loadavg").read_text().split()[0] if Path("/proc/loadavg").exists() else ""


def run_cell(command: list[str], limit: float, threads: int) -> dict:
    """JSON that a subprocess prints, or {"status": why there is none}."""
    variables = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    environment = {**os.environ, **dict.fromkeys(variables, str(threads)), "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    begun = {"load": load()}
    try:
        # imports and the warm-up are not the cell's, but they may not take for ever either
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit + 60, env=environment)
    except subprocess.TimeoutExpired:
        return {"status": f"> {limit:g} s", **begun}
    if done.returncode:
        reason = "out of memory" if done.returncode == -9 else (done.stderr.strip().splitlines() or ["no message"])[-1]
        return {"status": f"failed: {reason[:120]}", **begun}
    found = json.loads(done.stdout.strip().splitlines()[-1])
    if found.get("seconds", 0) > limit:
        return {"status": f"> {limit:g} s", **begun}
    return {"status": "ok", **begun, **found}


def append_lines(path: Path, fields: Sequence[str], lines: Iterable[dict]) -> None:
    """Write lines at the end of a CSV file, with its header where it is new."""
    is_new = not path.is_file()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fields, lineterminator=os.linesep)
        if is_new:
            writer.writeheader()
        writer.writerows(lines)


def read_lines(path: Path) -> list[dict]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write_lines(path: Path, fields: Sequence[str], lines: Iterable[dict]) -> None:
    """Write a CSV file whole; one that is killed while it writes leaves the file as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with part.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=fields)
        writer.writeheader()
        writer.writerows(lines)
    part.replace(path)


class Table:
    """A CSV that is continued."""

    def __init__(self, path: Path, fields: list[str], key: list[str], fresh: bool):
        self.path, self.fields, self.key = path, fields, key
        self.lines = [] if fresh else read_lines(path)

    def find(self, **key) -> dict | None:
        return next((line for line in self.lines if all(line.get(k, "") == str(v) for k, v in key.items())), None)

    def add(self, line: dict) -> None:
        self.lines.append({name: str(line.get(name, "")) for name in self.fields})
        write_lines(self.path, self.fields, self.lines)

    def remove(self, **key) -> None:
        """Take out the lines that `find` would find; the file changes with the next line."""
        while (line := self.find(**key)) is not None:
            self.lines.remove(line)

    def replace(self, line: dict) -> None:
        """Add a line in place of the one with its key."""
        self.remove(**{name: line[name] for name in self.key})
        self.add(line)


def write_between(
    page: Path, text: str, marks: tuple[str, str] = ("<!-- table: begin -->", "<!-- table: end -->")
) -> None:
    """Put text between two marks of a page, in place of what stands there; a page without them gets both at its end."""
    written = page.read_text(encoding="utf-8") if page.exists() else ""
    before, _, rest = written.partition(marks[0])
    after = rest.partition(marks[1])[2]
    page.write_text(f"{before}{marks[0]}\n{text}{marks[1]}{after}", encoding="utf-8")
