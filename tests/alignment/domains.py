"""Two small domains that differ in mean, covariance and a little in their classes' places."""

from __future__ import annotations

import torch

from tl_research.alignment.base import Alignment, Rows

CLASSES = 3


def two_domains(n: int = 60, m: int = 45, d: int = 7, *, seed: int = 0, offset: float = 0.0) -> tuple[Rows, Rows]:
    generator = torch.Generator().manual_seed(seed)

    def rows(count: int, moved: bool) -> Rows:
        label = torch.arange(count) % CLASSES
        x = torch.randn(count, d, generator=generator, dtype=torch.float64)
        x[:, :CLASSES] += 2 * torch.nn.functional.one_hot(label, CLASSES)
        mix = torch.randn(d, d, generator=generator, dtype=torch.float64) / d**0.5 + torch.eye(d)
        return Rows(x @ mix + (1.5 if moved else 0.0) + offset, label)

    source, target = rows(n, False), rows(m, True)
    return source, Rows(target.x)


def fitted(alignment: Alignment, source: Rows, target: Rows) -> Alignment:
    alignment.fit(source, target, classes=CLASSES, seed=0)
    return alignment
