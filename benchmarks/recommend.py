"""Speed of recommenders, as ratios in one run.

    python benchmarks/recommend.py [--case als bpr lightgcn ranking ease large] [--peer-python PATH] [--threads 2]
                                   [--peer-rate 0.01] [--users 20000] [--items 10000] [--rows 1000000]
                                   [--repeats 3] [--out CSV]

als, bpr   one sweep or epoch of ours beside `implicit` in `--peer-python`, and NDCG@10 of both on the same test rows
lightgcn   one epoch of ours beside a plain loop: torch.sparse on one adjacency matrix, Adam on all vectors
ranking    ranks of one held-out item per user among all items beside `topk` user by user
ease       the fit for `--ease-items` items beside one Cholesky factorisation of a matrix of that size
large      1 million users, 200,000 items, 50 million interactions: one epoch of bpr_mf, one sweep of ALS, ranks of
           10,000 users; each in a process of its own with its peak memory

Shops are synthetic: power laws of users and items, 50 groups of users that buy 70 % from their own group of items.
The best of `--repeats` counts, ours and the other in turns; `ease` and `large` run once. Processor seconds stand beside
the seconds, because a loaded machine changes them less.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import torch
import torch.nn.functional as F
from scipy.linalg import get_lapack_funcs

from tl_research.config import at_least, compose
from tl_research.interactions.log import Log
from tl_research.interactions.module import InteractionConfig, InteractionModule, LoadedTask
from tl_research.interactions.ranks import full_ranks
from tl_research.interactions.task import Task
from tl_research.interactions.training import Training
from tl_research.metrics.ranking import UserRanks, ndcg
from tl_research.recommenders.als import ImplicitALS
from tl_research.recommenders.ease import Ease
from tl_research.registry import register_dataset
from tl_research.runs.experiment import run

HERE = Path(__file__).resolve().parent
GROUPS, OWN_SHARE, POWER, RANK = 50, 0.7, 0.8, 64
FIELDS = (
    "case", "users", "items", "rows", "threads", "ours_s", "other_s", "ratio", "ours_cpu_s", "other_cpu_s",
    "ours_ndcg10", "other_ndcg10", "peak_gib", "other", "load",
)  # fmt: skip
CASES = ("als", "bpr", "lightgcn", "ranking", "ease", "large")
LARGE = {"users": 1_000_000, "items": 200_000, "rows": 50_000_000}
PARTS_OF_LARGE = ("als", "ranking", "bpr")


@dataclass
class PowerLawConfig(InteractionConfig):
    """Group `data` of the synthetic shop."""

    name: str = "power_law_shop"
    users: int = at_least(100, default=20_000)
    items: int = at_least(100, default=10_000)
    rows: int = at_least(1_000, default=1_000_000)
    tested: int = at_least(1, default=2_000)  # users with one row to validate and one to test on


@lru_cache(maxsize=1)
def shop(users: int, items: int, rows: int, tested: int, seed: int = 0) -> Task:
    """Return a shop without twins, and an old one of a few rows that nobody reads."""
    draw = np.random.default_rng(seed)

    def by_power(count: int, size: int) -> np.ndarray:
        weight = np.cumsum((np.arange(count) + 10.0) ** -POWER)
        return np.searchsorted(weight, draw.random(size) * weight[-1]).clip(0, count - 1)

    keys = np.empty(rows, dtype=np.int64)
    for first in range(0, rows, 1 << 22):
        size = min(1 << 22, rows - first)
        user = by_power(users, size)
        group = np.where(draw.random(size) < OWN_SHARE, user % GROUPS, draw.integers(0, GROUPS, size))
        item = by_power(items // GROUPS, size) * GROUPS + group
        keys[first : first + size] = user * items + item
    keys = np.unique(keys)
    user, item = keys // items, keys % items
    start = np.searchsorted(user, np.arange(users + 1))
    able = np.flatnonzero(np.diff(start) >= 4)
    chosen = np.sort(draw.permutation(able)[:tested])
    test = start[chosen] + draw.integers(0, 2, len(chosen))
    held_out = {"val": test + 2, "test": test}
    trains = np.ones(len(user), dtype=bool)
    trains[np.concatenate(list(held_out.values()))] = False
    whole = Log("new", user, item, users, items)
    parts = (whole.take(trains), *(whole.take(held_out[part]) for part in ("val", "test")))
    old = Log("old", user[:10], item[:10], users, items)
    return Task(*parts, (old,), None, None, *(np.zeros(len(part), dtype=bool) for part in parts[1:]))


@register_dataset(
    "power_law_shop", config=PowerLawConfig, domains=("old", "new"), default=("old", "new"), metric="ndcg10",
    encoder="embedding", task="preference", module=InteractionModule, paper="none: power laws",
)  # fmt: skip
def load(config: PowerLawConfig, seed: int) -> LoadedTask:
    """Return the shop."""
    return LoadedTask(shop(config.users, config.items, config.rows, config.tested))


class Clock:
    """Seconds, and processor seconds, of the best of several calls."""

    def __init__(self) -> None:
        self.seconds = self.processor = float("inf")

    def __call__(self, act: Callable[[], object], *, per: int = 1) -> object:
        """Call once, and take the time per `per`."""
        clock, processor = perf_counter(), process_time()
        found = act()
        self.take((perf_counter() - clock) / per, (process_time() - processor) / per)
        return found

    def take(self, seconds: float, processor: float) -> None:
        """Count a time that was taken elsewhere."""
        self.seconds, self.processor = min(self.seconds, seconds), min(self.processor, processor)


def trained(given: argparse.Namespace, method: dict, optimizer: dict, epochs: int, batch_size: int):
    """Return the record of a run on the shop."""
    data = {"name": "power_law_shop", "users": given.users, "items": given.items, "rows": given.rows}
    with tempfile.TemporaryDirectory() as folder:
        tree = {
            "data": data | {"sources": ["old"], "target": "new", "tested": given.tested, "batch_size": batch_size},
            "method": method, "optimizer": optimizer,
            "encoder": {"name": "embedding", "width": RANK}, "output": folder, "wandb": {"mode": "disabled"},
            "trainer": {
                "max_epochs": epochs, "accelerator": "cpu", "threads": given.threads,
                "checkpoint_every_seconds": 1e9,
            },
        }  # fmt: skip
        return run(compose(tree))


def epoch_seconds(record, task: Task) -> float:
    """Return what the training steps of an epoch take; nan of a run too short to say."""
    return len(task.train) / record.throughput.get("train_samples_per_s", float("nan"))


def figure(task: Task, score: Callable[[np.ndarray], np.ndarray]) -> float:
    """Return the mean NDCG@10 of test users."""
    training = task.to_choose
    found = full_ranks(score, task.test, training.own, training.catalogue)
    return float(ndcg(UserRanks.group(found.user, found.rank), 10).mean())


def of_factors(users: np.ndarray, items: np.ndarray, catalogue: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return the scorer of factors (U, d) and (I, d)."""
    own = np.ascontiguousarray(items[catalogue]).T
    return lambda codes: users[codes] @ own


def peer(given: argparse.Namespace, kind: str, task: Task, epochs: int) -> tuple[dict, float]:
    """Return what `implicit` takes per epoch, and its NDCG@10."""
    with tempfile.TemporaryDirectory() as folder:
        own = task.to_choose.own
        np.savez(f"{folder}/in.npz", start=own.indptr, item=own.indices, shape=own.shape)
        names = kind, f"{folder}/in.npz", f"{folder}/out.npz"
        numbers = {"--factors": RANK, "--epochs": epochs, "--threads": given.threads, "--rate": given.peer_rate}
        options = [str(part) for pair in numbers.items() for part in pair]
        command = [given.peer_python, str(HERE / "peers" / "implicit_models.py"), *names, *options]
        variables = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": ""}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=variables)
        factors = np.load(f"{folder}/out.npz")
        score = of_factors(factors["users"], factors["items"], task.to_choose.catalogue)
        return json.loads(done.stdout.strip().splitlines()[-1]), figure(task, score)


# The cases ---------------------------------------------------------------------------------------------------------


def als(given: argparse.Namespace) -> dict:
    """One sweep over users and items, ten in all."""
    task, ours, other, found = given.task, Clock(), Clock(), {}
    task.to_choose.own  # noqa: B018  # made before the clock starts
    for _ in range(given.repeats):
        training = Training(task.train)
        training.own  # noqa: B018
        model = ours(
            lambda training=training: ImplicitALS(rank=RANK, sweeps=given.epochs).fit(training), per=given.epochs
        )
        if given.peer_python:
            timed, quality = peer(given, "als", task, given.epochs)
            other.take(timed["seconds"], timed["processor"])
            found = {"other_ndcg10": quality, "other": f"implicit {timed['version']}"}
    return compared(ours, other) | found | {"ours_ndcg10": figure(task, model.score)}


def bpr(given: argparse.Namespace) -> dict:
    """One epoch; training alone, without the evaluation after it. Quality after ten epochs by either's own rule."""
    task, ours, other, found = given.task, Clock(), Clock(), {}
    for _ in range(given.repeats):
        record = trained(
            given, {"name": "bpr_mf", "use_sources": False, "penalty": 0.0},
            {"name": "lazy_adam", "lr": 0.01}, given.epochs, given.batch_size,
        )  # fmt: skip
        ours.take(epoch_seconds(record, task), float("nan"))
        if given.peer_python:
            timed, quality = peer(given, "bpr", task, given.epochs)
            other.take(timed["seconds"], timed["processor"])
            found = {"other_ndcg10": quality, "other": f"implicit {timed['version']}"}
    return compared(ours, other) | found | {"ours_ndcg10": record.metrics["last"]["target_test/ndcg10"]}


def lightgcn(given: argparse.Namespace) -> dict:
    """One epoch of three layers."""
    task, ours, other = given.task, Clock(), Clock()
    for _ in range(given.repeats):
        record = trained(
            given, {"name": "lightgcn", "use_sources": False, "penalty": 0.0}, {"name": "adam", "lr": 0.01}, 1,
            given.batch_size,
        )  # fmt: skip
        ours.take(epoch_seconds(record, task), float("nan"))
        other(lambda: plain_lightgcn(task.train, given.batch_size))
    return compared(ours, other) | {"other": "a plain loop, torch.sparse"}


def plain_lightgcn(log: Log, batch_size: int, layers: int = 3) -> None:
    """An epoch as papers' code has it: one matrix of users and items, all vectors in each step."""
    size = log.users + log.items
    user, item = torch.from_numpy(log.user), torch.from_numpy(log.item)
    degree = torch.bincount(torch.cat([user, item + log.users]), minlength=size).clamp_min(1).float().rsqrt()
    at = torch.stack([torch.cat([user, item + log.users]), torch.cat([item + log.users, user])])
    graph = torch.sparse_coo_tensor(at, degree[at[0]] * degree[at[1]], (size, size)).coalesce()
    vectors = torch.nn.Parameter(0.01 * torch.randn(size, RANK))
    optimizer = torch.optim.Adam([vectors], lr=0.01)
    for rows in torch.randperm(len(user)).split(batch_size):
        drawn = torch.randint(log.items, (len(rows),))
        every = [vectors]
        for _ in range(layers):
            every.append(torch.sparse.mm(graph, every[-1]))
        mean = torch.stack(every).mean(0)
        own, bought, other = mean[user[rows]], mean[log.users + item[rows]], mean[log.users + drawn]
        loss = F.softplus((own * (other - bought)).sum(1)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def ranking(given: argparse.Namespace) -> dict:
    """Ranks, and the first 10, of the test users."""
    task, ours, other = given.task, Clock(), Clock()
    training, draw = task.to_choose, np.random.default_rng(0)
    users, items = (draw.normal(size=(size, RANK)).astype(np.float32) for size in (task.train.users, task.train.items))
    score, own = of_factors(users, items, training.catalogue), training.own
    vectors = torch.from_numpy(items[training.catalogue])
    place = np.full(task.train.items, -1)
    place[training.catalogue] = np.arange(len(training.catalogue))

    def naive() -> None:
        for user in task.test.user:
            scores = vectors @ torch.from_numpy(users[user])
            seen = place[own.indices[own.indptr[user] : own.indptr[user + 1]]]
            scores[torch.from_numpy(seen[seen >= 0])] = -torch.inf
            scores.topk(len(scores))

    for _ in range(given.repeats):
        ours(lambda: full_ranks(score, task.test, own, training.catalogue))
        other(naive)
    return compared(ours, other) | {"other": "topk of all items, user by user", "rows": len(task.test)}


def ease(given: argparse.Namespace) -> dict:
    """EASE of as many items beside one Cholesky factorisation in the same precision."""
    ours, other, items = Clock(), Clock(), given.ease_items
    task = shop(items + items // 4, items, 40 * items, given.tested)
    training = Training(task.train)
    training.own  # noqa: B018
    ours(lambda: Ease(ridge=50.0).fit(training))
    size = min(len(training.catalogue), len(np.unique(task.train.user)))
    matrix = np.random.default_rng(0).normal(size=(size, 8)).astype(np.float32)
    matrix = matrix @ matrix.T
    matrix[np.diag_indices_from(matrix)] += size
    (factorise,) = get_lapack_funcs(("potrf",), (matrix,))
    other(lambda: factorise(matrix.T, lower=True, overwrite_a=True, clean=False))
    found = {"users": task.train.users, "items": size, "rows": len(task.train)}
    return compared(ours, other) | found | {"other": f"Cholesky of {size} x {size}, float32"}


def part_of_large(given: argparse.Namespace) -> dict:
    """One part of `large`, in this process."""
    clock, task = Clock(), given.task
    if given.part == "bpr":
        record = trained(
            given,
            {"name": "bpr_mf", "use_sources": False, "penalty": 0.0},
            {"name": "lazy_adam", "lr": 0.01},
            1,
            65_536,
        )
        clock.take(epoch_seconds(record, task), float("nan"))
    elif given.part == "als":
        training = Training(task.train)
        training.own  # noqa: B018
        clock(lambda: ImplicitALS(rank=RANK, sweeps=1).fit(training))
    else:
        draw = np.random.default_rng(0)
        sizes = task.train.users, task.train.items
        users, items = (draw.normal(size=(size, RANK)).astype(np.float32) for size in sizes)
        training = task.to_choose
        clock(
            lambda: full_ranks(
                of_factors(users, items, training.catalogue), task.test, training.own, training.catalogue
            )
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"case": f"large {given.part}", "ours_s": clock.seconds, "ours_cpu_s": clock.processor, "peak_gib": peak}


def compared(ours: Clock, other: Clock) -> dict:
    """Return the times of both; ratio = other / ours, above 1 where ours is faster."""
    known = other.seconds < float("inf")
    return {
        "ours_s": ours.seconds, "other_s": other.seconds if known else "", "ours_cpu_s": ours.processor,
        "other_cpu_s": other.processor if known else "", "ratio": other.seconds / ours.seconds if known else "",
    }  # fmt: skip


def write(path: Path, given: argparse.Namespace, line: dict) -> None:
    load = Path("/proc/loadavg").read_text().split()[0] if Path("/proc/loadavg").exists() else ""
    common = {"users": given.users, "items": given.items, "rows": given.rows, "threads": given.threads, "load": load}
    known = {
        name: value for name, value in (common | line).items() if not isinstance(value, float) or np.isfinite(value)
    }
    short = {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in known.items()}
    is_new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerow(short)
    print(short, flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", nargs="*", default=CASES, choices=CASES)
    parser.add_argument("--part", choices=PARTS_OF_LARGE, help="one part of `large`, in this process")
    parser.add_argument("--peer-python", default="", help="interpreter that has implicit")
    parser.add_argument("--peer-rate", type=float, default=0.01, help="learning rate of implicit's BPR")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--tested", type=int, default=2_000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=16_384)
    parser.add_argument("--ease-items", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--large", type=int, nargs=3, default=tuple(LARGE.values()), metavar=("USERS", "ITEMS", "ROWS"))
    parser.add_argument("--large-tested", type=int, default=10_000)
    parser.add_argument("--out", default=str(HERE / "results" / "recommend.csv"))
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    path = Path(given.out)
    if given.part:
        given.task = shop(given.users, given.items, given.rows, given.tested)
        write(path, given, part_of_large(given))
        return
    for case in given.case:
        if case == "large":
            sizes = dict(zip(("--users", "--items", "--rows"), map(str, given.large), strict=True))
            sizes |= {"--tested": str(given.large_tested), "--threads": str(given.threads), "--out": given.out}
            options = [part for pair in sizes.items() for part in pair]
            for part in PARTS_OF_LARGE:
                subprocess.run([sys.executable, __file__, "--part", part, *options], check=True)
            continue
        if case != "ease":
            given.task = shop(given.users, given.items, given.rows, given.tested)
        line = {"als": als, "bpr": bpr, "lightgcn": lightgcn, "ranking": ranking, "ease": ease}[case](given)
        write(path, given, {"case": case} | line)


if __name__ == "__main__":
    main()
