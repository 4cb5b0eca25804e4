"""The practitioner's question as a suite: at equal target labels, did the old domains' data help the new one?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from tl_research.config import check, check_choice, compose, typed_tree
from tl_research.config.groups import merge
from tl_research.config.tree import as_tree
from tl_research.config.values import Literal
from tl_research.config.yaml_text import dump_yaml
from tl_research.data.catalog.files import task_of_files
from tl_research.errors import ConfigError
from tl_research.outcomes import KINDS, Outcome
from tl_research.registry import METHODS, METRICS, SOURCE_FREE
from tl_research.runs.record import write_atomically

#: The best of simple learners without the old data, and with them where they help.
NEW_DATA_ONLY, WITH_OLD_DATA = "new data only", "portfolio"
#: Rows that see no target label, and further rows that see the shown ones.
UNLABELLED = ("source_only", "dann", "dan", "deep_coral")
LABELLED = ("target_ensemble", "union", "fine_tune")


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
    portfolio: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return a suite of the portfolio and the common methods over the user's files.

    The baseline is the portfolio without the old data: the best that simple learners have from the new labels alone.

    Args:
        sources, target: files, as in `data.sources` and `data.target`.
        label: label column.
        shots: target labels per class (regression: in all; or a share) that the labelled rows see.
        seeds: number of seeds.
        metric: shown first; None: accuracy, or r2 where the label is a number to predict (the files are read for it).
        overrides: nested keys put under every run.
        also: names of further methods; one that can do without target labels sees none.
        portfolio: options of the portfolio, such as `trees`.

    Raises:
        ConfigError: a number out of range, or a method that there is not.
    """
    check(seeds >= 1, "--seeds", seeds, "at least 1")
    if metric is not None:
        check_choice("--metric", metric, METRICS)
    check(0 < shots < math.inf, "--shots", shots, "a number of labels per class, or a share of the rows (below 1)")
    # Words of the command line are names of files and columns, whatever they look like.
    given = {
        "name": "files", "sources": [*map(Literal, sources)], "target": Literal(target), "label": Literal(label),
    }  # fmt: skip
    overrides = as_tree(overrides)
    refuse_owned(overrides, given)
    read = typed_tree(merge(overrides, {"data": given}))[0]
    common = {key: value for key, value in read.items() if key in overrides}
    data = {key: read["data"][key] for key in given}
    if "data" in common:
        common["data"] = {key: value for key, value in read["data"].items() if key not in given}
    also = [name for name in dict.fromkeys(also) if name not in (WITH_OLD_DATA, *UNLABELLED, *LABELLED)]
    settings = {name: METHODS.get(name).settings for name in also}
    unlabelled = [*UNLABELLED, *(name for name in also if "unsupervised" in settings[name])]
    source_free = [name for name in also if settings[name] == (SOURCE_FREE,)]
    labelled = [*LABELLED, *(name for name in also if name not in (*unlabelled, *source_free))]
    options = typed_tree({"method": {**(portfolio or {}), "name": "portfolio"}})[0]["method"]
    del options["name"]
    see_none = ", ".join([*unlabelled, *source_free])
    shown = {"data": {"setting": "few_shot", "shots": shots}}
    outcome = _outcome(read)
    metric = metric or outcome.main
    check(METRICS[metric].of == outcome.kind, "--metric", metric, f"a metric of {outcome.plural}, as the label is one")
    counted = "a share of the rows" if shots < 1 else outcome.shots
    return {
        "name": "compare",
        "metric": metric,
        "common": common,
        "tasks": [{"name": "old->new", "data": data}],
        "methods": [
            *_portfolios(shown, options),
            *({"name": name, "with": shown} for name in labelled),
            *unlabelled,
            *({"name": name, "with": {"data": {"setting": SOURCE_FREE}}} for name in source_free),
        ],
        "baseline": NEW_DATA_ONLY,
        "seeds": seeds,
        "metrics": list(dict.fromkeys((metric, outcome.second))),
        "notes": (
            f"Differences are taken to the row {NEW_DATA_ONLY!r}: linear models, forests and boosters on "
            f"{shots:g} target labels ({counted}) and none of the old data, combined by cross-fitting. "
            f"▲ in a row says that it is better, ▼ that it is worse. {see_none} see no target label."
        ),
    }


def _portfolios(shown: dict[str, Any], options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of the best of simple learners, without the old data and with them."""
    seen = {**shown, "encoder": "identity"}
    without = {**seen, "method": {**options, "old_data": "never"}}
    seen |= {"method": dict(options)} if options else {}
    return [{"name": "portfolio", "label": NEW_DATA_ONLY, "with": without}, {"name": WITH_OLD_DATA, "with": seen}]


def refuse_owned(overrides: dict[str, Any], given: dict[str, Any]) -> None:
    """Raise `ConfigError` where an override sets what the command's own words and options set."""
    owned = {"method": "the rows of the table", "seed": "--seeds", "output": "--output"}
    for key, owner in owned.items():
        if key in overrides:
            raise ConfigError(f"{key}: not in --set; {owner} set it")
    data = overrides.get("data")
    for key in given:
        if isinstance(data, dict) and key in data:
            owner = "--label sets it" if key == "label" else "the files on the command line set it"
            raise ConfigError(f"data.{key}: not in --set; {owner}")


def _outcome(tree: dict[str, Any]) -> type[Outcome]:
    """Return the kind of outcome of the files, as a run will find it."""
    return KINDS[task_of_files(OmegaConf.to_object(compose(tree).data))]


def write_comparison(path: str | Path, suite: dict[str, Any]) -> Path:
    """Write the suite where `tl-research benchmark` and `table` can read it again, every text as it is."""
    write_atomically(path, dump_yaml(suite))
    return Path(path)
