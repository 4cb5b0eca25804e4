"""The practitioner's question as a suite: at equal target labels, did the old domains' data help the new one?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from tl_research.config import REGRESSION_METRICS, check, compose
from tl_research.data.catalog.files import task_of_files
from tl_research.registry import METHODS
from tl_research.results import write_atomically

#: Rows that see no target label, and rows that see the shown ones.
UNLABELLED = ("source_only", "dann", "dan", "deep_coral")
LABELLED = ("target_only", "union", "fine_tune")


def comparison(
    sources: Sequence[str],
    target: str,
    *,
    label: str,
    shots: float,
    seeds: int,
    metric: str | None,
    overrides: dict[str, Any],
    also: Sequence[str] = (),
) -> dict[str, Any]:
    """Return a suite of the common methods over the user's files, with `target_only` as the baseline.

    Args:
        sources, target: files, as in `data.sources` and `data.target`.
        label: label column.
        shots: target labels a class (regression: in all; or a share) that the labelled rows see.
        seeds: number of seeds.
        metric: shown first; None: accuracy, or r2 where the label is a number to predict (the files are read for it).
        overrides: nested keys put under every run.
        also: names of further methods; one that can do without target labels sees none.

    Raises:
        ConfigError: a number out of range, or a method that there is not.
    """
    check(seeds >= 1, "--seeds", seeds, "at least 1")
    check(shots > 0, "--shots", shots, "a number of labels a class, or a share of the rows (below 1)")
    data = {"name": "files", "sources": list(sources), "target": target, "label": label}
    also = [name for name in dict.fromkeys(also) if name not in (*UNLABELLED, *LABELLED)]
    free = {name: "unsupervised" in METHODS.get(name).info["settings"] for name in also}
    unlabelled = [*UNLABELLED, *(name for name in also if free[name])]
    labelled = [*LABELLED, *(name for name in also if not free[name])]
    shown = {"data": {"setting": "few_shot", "shots": shots}}
    regression = _is_regression(data, overrides)
    metric = metric or ("r2" if regression else "accuracy")
    if (metric in REGRESSION_METRICS) != regression:
        wants = f"a metric of {'numbers' if regression else 'classes'}, as the label is one"
        check(False, "--metric", metric, wants)
    second = "rmse" if regression else "log_loss"
    of_what = "a share of the rows" if shots < 1 else "in all" if regression else "a class"
    return {
        "name": "compare",
        "metric": metric,
        "common": overrides,
        "tasks": [{"name": "old->new", "data": data}],
        "methods": [*unlabelled, *({"name": name, "with": shown} for name in labelled)],
        "baseline": "target_only",
        "seeds": seeds,
        "metrics": list(dict.fromkeys((metric, second))),
        "notes": (
            f"Differences are taken to target_only, which sees {shots:g} target labels "
            f"({of_what}) and none of the old data: ▲ in a row says "
            f"that the old data helped, ▼ that they hurt. {', '.join(unlabelled)} see no target label."
        ),
    }


def _is_regression(data: dict[str, Any], overrides: dict[str, Any]) -> bool:
    """Whether the files' label is a number to be predicted, as a run will find it."""
    config = compose({**overrides, "data": {**overrides.get("data", {}), **data}})
    return task_of_files(OmegaConf.to_object(config.data)) == "regression"


def write_comparison(path: str | Path, suite: dict[str, Any]) -> Path:
    """Write the suite where `tl-research benchmark` and `table` can read it again."""
    write_atomically(path, yaml.safe_dump(suite, sort_keys=False, allow_unicode=True))
    return Path(path)
