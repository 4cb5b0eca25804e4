"""The practitioner's question as a suite: at equal target labels, did the old domains' data help the new one?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tl_research.config import check
from tl_research.results import write_atomically

#: Rows that see no target label, and rows that see the shown ones.
UNLABELLED = ("source_only", "dann", "dan", "deep_coral")
LABELLED = ("target_only", "union", "fine_tune")


def comparison(
    sources: Sequence[str], target: str, *, label: str, shots: float, seeds: int, metric: str, overrides: dict[str, Any]
) -> dict[str, Any]:
    """Return a suite of the common methods over the user's files, with `target_only` as the baseline.

    Args:
        sources, target: files, as in `data.sources` and `data.target`.
        label: label column.
        shots: target labels a class (or a share) that the labelled rows see.
        seeds: number of seeds.
        metric: shown first.
        overrides: nested keys put under every run.

    Raises:
        ConfigError: a number out of range.
    """
    check(seeds >= 1, "--seeds", seeds, "at least 1")
    check(shots > 0, "--shots", shots, "a number of labels a class, or a share of the rows (below 1)")
    data = {"name": "files", "sources": list(sources), "target": target, "label": label}
    shown = {"data": {"setting": "few_shot", "shots": shots}}
    return {
        "name": "compare",
        "metric": metric,
        "common": overrides,
        "tasks": [{"name": "old->new", "data": data}],
        "methods": [*UNLABELLED, *({"name": name, "with": shown} for name in LABELLED)],
        "baseline": "target_only",
        "seeds": seeds,
        "metrics": [metric, "log_loss"] if metric != "log_loss" else [metric],
        "notes": (
            f"Differences are taken to target_only, which sees {shots:g} target labels "
            f"{'a class' if shots >= 1 else '(a share of the rows)'} and none of the old data: ▲ in a row says "
            f"that the old data helped, ▼ that they hurt. {', '.join(UNLABELLED)} see no target label."
        ),
    }


def write_comparison(path: str | Path, suite: dict[str, Any]) -> Path:
    """Write the suite where `tl-research benchmark` and `table` can read it again."""
    write_atomically(path, yaml.safe_dump(suite, sort_keys=False, allow_unicode=True))
    return Path(path)
