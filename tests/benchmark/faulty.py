"""A run without training, in many small writes, that notes every execution in a journal; what workers carry out."""

import json
import os
import time
from pathlib import Path

from tl_research.runs.record import Record, read_record, write_history, write_record
from tl_research.storage.files import write_atomically

STEPS, PRIME = 12, 9973

if os.environ.get("FAULTY_CLOCK"):
    steady, jumps = time.time, iter(range(10**9))
    # An hour back, an hour forward, ...
    time.time = lambda: steady() + (3600 if next(jumps) % 2 else -3600)


def result(seed: int) -> float:
    """The metric of an undisturbed run."""
    total = seed
    for step in range(STEPS):
        total = following(total, step)
    return total / PRIME


def following(total: int, step: int) -> int:
    return (total * 31 + step + 1) % PRIME


def note(output: Path, *words: object) -> None:
    """Append one line, whole or not at all."""
    handle = os.open(output / "journal", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(handle, (" ".join(map(str, words)) + "\n").encode())
    os.close(handle)


def is_at_work(pid: str) -> bool:
    try:
        if Path(f"/proc/{pid}/stat").read_text().rsplit(")")[-1].split()[0] == "Z":
            return False
        return b"benchmark.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def run(config, *, suite=""):
    folder = Path(os.readlink("/proc/self/fd/1")).parent  # the log is stdout
    output = Path(config["output"])
    note(output, "start", folder.name)
    present = read_record(folder)
    if present is not None and present.status == "ok":
        note(output, "again", folder.name)
    owner, state = folder / "owner", folder / "state.json"
    if owner.exists() and (pid := owner.read_text()) != str(os.getpid()) and is_at_work(pid):
        note(output, "overlap", folder.name)
    write_atomically(owner, str(os.getpid()))
    now = json.loads(state.read_text()) if state.exists() else {"step": 0, "total": config["seed"]}
    while now["step"] < STEPS:
        time.sleep(float(os.environ.get("FAULTY_PAUSE", "0.01")))
        now = {"total": following(now["total"], now["step"]), "step": now["step"] + 1}
        write_atomically(state, json.dumps(now | {"padding": "x" * 20_000}))
        write_history(folder, [{"epoch": step, "padding": "x" * 1000} for step in range(now["step"])])
        note(output, "step", folder.name)
    if config["seed"] == int(os.environ.get("FAULTY_FILLS", "-1")):
        fill(output)
    data = config["data"]
    task = {"suite": suite, "dataset": data["name"], "sources": data["sources"], "target": data["target"]}
    record = Record(
        folder.name, "ok", config["method"]["name"], "baseline", "unsupervised", task, config["seed"], config
    )
    record.metrics = {"last": {"epoch": now["step"], "target_test/accuracy": now["total"] / PRIME}}
    record.selection_rule = "last"
    write_record(folder, record)
    note(output, "ok", folder.name)


def fill(folder: Path) -> None:
    """Write until nothing more fits."""
    with open(folder / "filler", "ab", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                pass
