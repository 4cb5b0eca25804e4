"""`benchmarks/gpu.sh` in miniature, and the tables of a card: nothing here needs one."""

import csv
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "benchmarks" / "gpu.sh"
FILES = ("tests", "rates", "kernels", "host_time", "paths", "scaling", "closed_form")
IDENTITY = {"card": "NVIDIA H200", "torch": "2.11.0", "triton": "3.6.0"}


def gpu_sh(*words: str) -> subprocess.CompletedProcess:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    command = ["bash", str(SCRIPT), *words]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PATH": path})


def read(path: Path) -> list[dict]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def tables(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("gpu_tables")


def test_a_dry_run_takes_each_step_and_leaves_the_results_alone(tmp_path):
    results, page = contents(ROOT / "benchmarks" / "results"), (ROOT / "docs" / "kernels.md").read_text()
    ended = gpu_sh("--dry-run", "--out", str(tmp_path))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert contents(ROOT / "benchmarks" / "results") == results
    assert (ROOT / "docs" / "kernels.md").read_text() == page
    for name in FILES:
        lines = read(tmp_path / f"{name}.csv")
        assert lines, name
        assert all(line["card"].startswith("CPU") and line["torch"] and line["triton"] for line in lines), name
    assert {line["method"] for line in read(tmp_path / "scaling.csv")} == {"dann", "dan"}
    written = (tmp_path / "kernels.md").read_text()
    assert "### CPU " in written
    assert written.startswith(page.split("<!--")[0])


def test_what_does_not_fit_is_said(tmp_path):
    ended = gpu_sh("--dry-run", "--budget", "3", "--out", str(tmp_path))
    assert ended.returncode == 3
    assert "kernels: does not fit" in ended.stdout
    assert not list(tmp_path.glob("*.csv"))


def test_a_dry_run_does_not_write_among_the_results():
    ended = gpu_sh("--dry-run", "--out", str(ROOT / "benchmarks" / "results" / "gpu"))
    assert ended.returncode == 2


def write(path: Path, lines: list[dict]) -> None:
    names = list(dict.fromkeys(name for line in lines for name in line))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(lines)


def grid_line(form: str, seconds: float, **more) -> dict:
    cell = {"device": "cuda", "rows": 16384, "width": 256, "bandwidths": 5, "dtype": "bf16", "form": form}
    figures = {"matrix_rate_fraction": "0.45", "copy_rate_fraction": "0.01", "peak_mb": "130.0"}
    blank = {"value_error": "", "gradient_error": "", "status": "ok", "seconds": seconds}
    return {**cell, **blank, **figures, **IDENTITY, **more}


def test_the_figures_of_a_card_become_tables(tables, tmp_path):
    lines = [grid_line("gram_compiled", 0.006), grid_line("ours", 0.003), grid_line("ours", 0.002)]
    lines += [grid_line("ours", 9.0, device="cpu", card="CPU", dtype="fp32")]
    write(tmp_path / "kernels.csv", lines)
    host = {"device": "cuda", **IDENTITY, "rows": 32, "dtype": "bf16", "bandwidths": "ladder", "status": "ok"}
    plain, graph = {**host, "graph": "no", "host_us": 150, "step_us": 160}, {**host, "graph": "yes", "host_us": 9}
    write(tmp_path / "host_time.csv", [plain, {**graph, "step_us": 20}])
    written = tables.text(tmp_path, "cuda")
    assert "### NVIDIA H200: torch 2.11.0, triton 3.6.0" in written
    # The newest line counts: 2 ms, three times as fast, 45 % of the rate by what is needed and 60 % by what tiles do.
    assert (
        "| 256 | 5 | bf16 | 16,384 | not measured | 6 | not measured | 2 | 3 | 45 % | 60 % | 1 % | 130.0 |" in written
    )
    assert "| bf16 | 32 | `Ladder` | 150.0 | 160.0 | 9.0 | 20.0 |" in written
    assert "fp32" not in written


def test_a_fold_changes_nothing_but_the_tables(tables, tmp_path, monkeypatch):
    page = (ROOT / "docs" / "kernels.md").read_text()
    assert tables.text(tmp_path, "cuda") == "not measured"
    folded = tables.folded(page, "a table")
    before, after = page.split(tables.BEGIN)[0], page.split(tables.END)[1]
    assert folded == f"{before}{tables.BEGIN}\n\na table\n\n{tables.END}{after}"
    assert tables.folded(folded, "a table") == folded
    with pytest.raises(SystemExit, match="marks"):
        tables.folded("no marks", "a table")
