"""Weights that grow with progress."""

from __future__ import annotations

import math


def linear_ramp(progress: float, start: float, end: float) -> float:
    """0 up to `start`, then linearly up to 1 at `end` and after it.

    Args:
        progress: share of training that is done, 0 to 1.
        start, end: where the ramp begins and ends; a step where they are equal.

    Reference:
        Lee 2013, ICML workshop on challenges in representation learning, section 2.2 (its T1 and T2).
    """
    if progress >= end:
        return 1.0
    return max(0.0, progress - start) / (end - start) if progress > start else 0.0


def sigmoid_ramp(progress: float, length: float) -> float:
    """exp(-5 (1 - p / length)²) up to p = `length`, then 1: from exp(-5) = 0.0067.

    Args:
        progress: p, share of training that is done, 0 to 1.
        length: share of training that the ramp takes; 0: it is 1 at once.

    Reference:
        Laine & Aila 2017, ICLR, section 2.2; Tarvainen & Valpola 2017, NeurIPS, appendix B.
    """
    return math.exp(-5 * (1 - min(1.0, progress / length)) ** 2) if length else 1.0


def half_cosine_ramp(progress: float) -> float:
    """1/2 - cos(min(π, 2 π p)) / 2: from 0 at p = 0 to 1 at p = 1/2 and after it.

    Args:
        progress: p, share of training that is done, 0 to 1.

    Reference:
        Berthelot et al. 2022, ICLR, section 3 (AdaMatch's weight of the target's loss).
    """
    return 0.5 - math.cos(min(math.pi, 2 * math.pi * progress)) / 2
