"""The step timer under an injected clock, its overhead, and the memory peak."""

import time

import numpy as np
import pytest
import torch

from tl_research.evaluation.throughput import StepTimer, peak_memory_mb, reset_peak_memory


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def run(timer, clock, seconds, samples=10, pause=0.0):
    for duration in seconds:
        clock.now += pause
        timer.start()
        clock.now += duration
        timer.stop(samples)


def test_warm_up_and_pauses_are_left_out():
    clock = Clock()
    timer = StepTimer(warmup=3, clock=clock)
    run(timer, clock, [50, 60, 70], samples=999)
    durations = [0.1, 0.2, 0.3, 0.4]
    run(timer, clock, durations, samples=10, pause=7.0)
    summary = timer.summary()
    assert summary["train_samples_per_s"] == pytest.approx(40 / 1.0)
    assert summary["step_ms_p50"] == pytest.approx(250)
    assert summary["step_ms_p95"] == pytest.approx(1000 * np.percentile(durations, 95))
    assert timer.summary() == summary


def test_short_steps_count_their_own_rows():
    clock = Clock()
    timer = StepTimer(warmup=0, clock=clock)
    run(timer, clock, [1.0], samples=64)
    run(timer, clock, [1.0], samples=6)
    assert timer.summary()["train_samples_per_s"] == pytest.approx(35)


def test_without_a_counted_step_there_is_no_value():
    clock = Clock()
    timer = StepTimer(warmup=2, clock=clock)
    assert timer.summary() == {}
    run(timer, clock, [1, 1])
    assert timer.summary() == {}


def test_stop_needs_a_start_and_an_abandoned_step_is_forgotten():
    clock = Clock()
    timer = StepTimer(warmup=0, clock=clock)
    with pytest.raises(RuntimeError, match="without start"):
        timer.stop(1)
    timer.start()
    clock.now += 1000
    run(timer, clock, [2.0], samples=4)
    assert timer.summary()["train_samples_per_s"] == pytest.approx(2)
    with pytest.raises(RuntimeError, match="without start"):
        timer.stop(1)
    with pytest.raises(ValueError, match="warmup: got -1"):
        StepTimer(warmup=-1)


def test_overhead_on_a_cpu():
    timer, best = StepTimer(warmup=0), float("inf")
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(2000):
            timer.start()
            timer.stop(64)
        best = min(best, (time.perf_counter() - began) / 2000)
    assert best < 3e-6


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_steps_are_timed_to_their_end():
    timer = StepTimer("cuda", warmup=3)
    a = torch.randn(4096, 4096, device="cuda")
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(303):
        timer.start()
        a @ a
        timer.stop(10)
    launched = time.perf_counter() - began
    summary = timer.summary()
    waited = time.perf_counter() - began
    busy = 3000 / summary["train_samples_per_s"]
    assert launched < waited
    assert busy == pytest.approx(waited, rel=0.3)


def test_peak_memory_rises_with_an_allocation_and_can_be_reset():
    was_reset = reset_peak_memory("cpu")
    before = peak_memory_mb("cpu")
    assert 20 < before < 100_000  # a Python with torch, in MB
    block = np.ones(200_000_000, dtype=np.uint8)
    held = peak_memory_mb("cpu")
    del block
    assert peak_memory_mb("cpu") == pytest.approx(held, rel=0.01)  # a peak outlives what made it
    if not was_reset:
        pytest.skip("this system does not allow a reset of the memory peak")
    assert held - before == pytest.approx(200, rel=0.1)
    reset_peak_memory("cpu")
    assert peak_memory_mb("cpu") < held - 150
