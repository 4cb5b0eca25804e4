"""Resamples in several processes of one thread each; what one of them gives does not depend on their number."""

from __future__ import annotations

import os
import pickle
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import joblib
import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from tl_research.answer.measured import Item, Measured, Question, measure
from tl_research.parallel.freed_memory import keep_freed_memory
from tl_research.portfolio.head import PortfolioConfig
from tl_research.portfolio.study import rounds, said_in_repeat


def cores() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def begun(jobs: int) -> Iterator[None]:
    """Within it the processes of `measured` start and import what they need, while this one reads files.

    Args:
        jobs: as of `measured`; processes of this number are used again by it.
    """
    if jobs <= 1:
        yield
        return
    importing = _parallel(jobs)(joblib.delayed(_imported)() for _ in range(jobs))
    try:
        yield
    finally:
        # After a mistake in the files too: processes that are stopped while they import say so on the screen.
        for _ in importing:
            pass


def _imported() -> None:
    """Nothing: a process that can call it has imported this module."""


def _parallel(jobs: int) -> joblib.Parallel:
    with joblib.parallel_config(backend="loky", inner_max_num_threads=1):
        return joblib.Parallel(
            n_jobs=jobs, return_as="generator_unordered", pre_dispatch="all", batch_size=1, max_nbytes=None
        )


def measured(question: Question, items: Sequence[Item], *, jobs: int) -> Iterator[Measured]:
    """Yield each item's figures as it is done.

    The processes are new ones (loky), which import nothing of the caller's script. They end with the iterator.

    Args:
        question: sent to each process once.
        items: in the order in which they are begun.
        jobs: processes; 1: this one.
    """
    jobs = min(jobs, len(items))
    if jobs <= 1:
        for item in items:
            with one_thread():
                found = measure(question, item)
            yield found
        return
    with tempfile.TemporaryDirectory(prefix="tl-research-") as folder:
        path = Path(folder) / "question"
        path.write_bytes(pickle.dumps(question, protocol=pickle.HIGHEST_PROTOCOL))
        yield from _parallel(jobs)(joblib.delayed(_measure)(str(path), item) for item in items)


def cross_fitted(question: Question, config: PortfolioConfig, *, jobs: int) -> dict[tuple[int, str], Tensor] | None:
    """Return what `study` wants as `done`, for all labelled rows: each part in each repeat, in several processes.

    Args:
        question: with the source's learners, fitted.
        config: of the study.
        jobs: processes; 1: None, as the study does it itself.
    """
    all_rows = question.labelled
    work = rounds(config, question.outcome.kind, all_rows)
    if jobs <= 1 or not work:
        return None
    with tempfile.TemporaryDirectory(prefix="tl-research-") as folder:
        path = Path(folder) / "question"
        path.write_bytes(pickle.dumps(replace(question, config=config), protocol=pickle.HIGHEST_PROTOCOL))
        found = _parallel(jobs)(joblib.delayed(_cross_fit)(str(path), *each) for each in work)
        return {(repeat, name): torch.from_numpy(said) for repeat, name, said in found}


def _cross_fit(path: str, repeat: int, name: str) -> tuple[int, str, np.ndarray]:
    question = _question(path)
    sides = question.source, question.labelled, question.learners
    kind, width = question.outcome.kind, question.outcome.width
    with one_thread():
        said = said_in_repeat(
            question.config, kind, *sides, repeat=repeat, name=name, classes=width, seed=question.seed
        )
    return repeat, name, said.detach().numpy()


def _measure(path: str, item: Item) -> Measured:
    with one_thread():
        return measure(_question(path), item)


@lru_cache(maxsize=1)
def _question(path: str) -> Question:
    return pickle.loads(Path(path).read_bytes())


@contextmanager
def one_thread() -> Iterator[None]:
    """Within it, every library computes with one thread; the process keeps memory that it has freed."""
    keep_freed_memory()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(limits=1):
            yield
    finally:
        torch.set_num_threads(threads)
