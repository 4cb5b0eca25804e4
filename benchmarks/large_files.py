"""How long, and in how much memory, the user's large files are read: makes two files, reads them, prints one line each.

    python benchmarks/large_files.py --rows 5000000 --columns 50 --format parquet
    python benchmarks/large_files.py --rows 1000000 --columns 30 --format csv --new-rows 1000000

A table as a shop's: numbers, whole numbers, money, dates, flags, a code of 20,000 values, a label. The reading runs in
a process of its own, whose largest resident set and seconds are printed.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

#: Rows that are made at a time.
BLOCK = 500_000


def block(rows: int, columns: int, seed: int) -> pa.Table:
    """Return rows with a label that depends on two of the columns."""
    rng = np.random.default_rng(seed)
    made: dict[str, np.ndarray] = {f"x{i}": np.round(rng.normal(size=rows), 4) for i in range(columns - 9)}
    made |= {f"count{i}": rng.poisson(20, rows) for i in range(2)}
    made["order_id"] = np.arange(rows) + seed * BLOCK
    made["price"] = np.char.add("$", np.round(rng.lognormal(3, 1, rows), 2).astype(str))
    made["signup"] = np.datetime_as_string(np.datetime64("2021-01-01") + rng.integers(0, 900, rows))
    made["member"] = rng.choice(["true", "false"], rows)
    made["country"] = rng.choice(["DE", "FR", "IT", "ES", "NL", "PL"], rows)
    made["article"] = np.char.add("A-", rng.integers(0, 20_000, rows).astype(str))
    made["y"] = np.where(made["x0"] + made["x1"] + rng.logistic(size=rows) > 0, "yes", "no")
    return pa.table({name: pa.array(values) for name, values in made.items()})


def write(path: Path, rows: int, columns: int, seed: int) -> None:
    """Write a file of so many rows, block by block."""
    made = (block(min(BLOCK, rows - at), columns, seed + at // BLOCK) for at in range(0, rows, BLOCK))
    first = next(made)
    if path.suffix == ".csv":
        writer = pa.csv.CSVWriter(path, first.schema)
    else:
        writer = pq.ParquetWriter(path, first.schema)
    with writer:
        writer.write_table(first)
        for table in made:
            writer.write_table(table)


def read(old: str, new: str, rows: int | None) -> None:
    """Read both files as `data.name=files` does, and print what it took."""
    from tl_research.data.catalog.files import FilesConfig, load

    before = time.perf_counter()
    more = {} if rows is None else {"rows": rows}
    domains = load(FilesConfig(sources=[old], target=new, label="y", **more), [old, new])
    seconds = time.perf_counter() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    sizes = ", ".join(f"{len(domain):,} rows x {domain.inputs.shape[1]}" for domain in domains.values())
    print(f"{seconds:.0f} s, {peak:.2f} GiB at most: {sizes} read")


def main() -> None:
    """Make the files, and read them in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000, help="of the old file")
    parser.add_argument("--new-rows", type=int, default=20_000, help="of the new file, all labelled")
    parser.add_argument("--columns", type=int, default=50)
    parser.add_argument("--format", choices=("parquet", "csv"), default="parquet")
    parser.add_argument("--sample", type=int, default=200_000, help="data.rows; 0: all")
    parser.add_argument("--read", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.read:
        read(*given.read, given.sample or None)
        return
    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder) / f"{name}.{given.format}") for name in ("old", "new")]
        write(Path(files[0]), given.rows, given.columns, 0)
        write(Path(files[1]), given.new_rows, given.columns, 1000)
        size = Path(files[0]).stat().st_size / 2**20
        print(f"{given.rows:,} rows x {given.columns} columns, {given.format}, {size:,.0f} MiB", flush=True)
        subprocess.run([sys.executable, __file__, "--read", *files, "--sample", str(given.sample)], check=True)


if __name__ == "__main__":
    main()
