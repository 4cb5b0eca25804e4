"""The processes of one run: what is returned, and what a death costs before and after the work is done."""

from __future__ import annotations

import atexit
import os

import pytest
import torch.distributed as dist

from tl_research.parallel.launch import ProcessDied, on_every_device, process_rank


def _meets(number: int) -> int:
    """Meet the other process, as a Trainer lets it."""
    dist.init_process_group("gloo")
    dist.barrier()
    return number + process_rank()


def _dies_of_its_exit(number: int) -> int:
    if process_rank() == 1:
        atexit.register(os.abort)
    return _meets(number)


def _dies_of_its_work(number: int) -> int:
    if process_rank() == 1:
        os.abort()
    return _meets(number)


def test_the_result_of_the_first_process_is_returned_though_another_dies_of_its_exit():
    assert on_every_device(_dies_of_its_exit, (7,), devices=2) == 7


def test_an_abort_before_the_work_is_done_is_a_death():
    with pytest.raises(ProcessDied, match="the process of rank 1 ended by SIGABRT"):
        on_every_device(_dies_of_its_work, (7,), devices=2)
