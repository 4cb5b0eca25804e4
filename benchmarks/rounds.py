"""Best of several rounds: calls that are timed in turn, each to the end of the device's work."""

from __future__ import annotations

from time import perf_counter

import torch


def synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def seconds_of(call, device: str) -> float:
    synchronize(device)
    begun = perf_counter()
    call()
    synchronize(device)
    return perf_counter() - begun


def best_of_rounds(calls: dict, device: str, budget: float, least: int = 3, most: int = 50) -> dict[str, float]:
    """Best seconds of each call, taken in turn, each until it has used `budget` seconds: fast ones go more rounds."""
    best, spent = dict.fromkeys(calls, float("inf")), dict.fromkeys(calls, 0.0)
    for done in range(most):
        for name, call in calls.items():
            if done < least or spent[name] < budget:
                seconds = seconds_of(call, device)
                best[name], spent[name] = min(best[name], seconds), spent[name] + seconds
    return best
