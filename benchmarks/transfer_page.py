"""The page of `tabular_transfer.py`: ranks, mean gains with their intervals, and the cells that miss a bar."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy.stats import rankdata, t

METHODS = {"answer": "the answer", "new_only": "new data only", "script": "the script"}
ORDER = ("20", "50", "200", "1000", "all")
#: Points that a cell, a mean over the seeds, may be below the script, and below new data only.
BELOW_SCRIPT, BELOW_NEW_ONLY = 1.0, 0.5


def interval(values: Iterable[float]) -> str:
    """Return the mean of one value per task and its 95 % interval by Student's t over the tasks."""
    values = np.array(list(values))
    mean = values.mean()
    if len(values) < 2:
        return f"{mean:+.2f}"
    half = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return f"{mean:+.2f} [{mean - half:+.2f}, {mean + half:+.2f}]"


def cells(lines: list[dict]) -> dict[tuple[str, str], dict[str, float]]:
    """Return (task, labels) -> means over the seeds, in points."""
    grouped: dict[tuple[str, str], list[dict]] = {}
    for line in lines:
        grouped.setdefault((line["task"], line["labels"]), []).append(line)
    found = {}
    for key, own in grouped.items():
        found[key] = {name: 100 * float(np.mean([float(line[name]) for line in own])) for name in METHODS}
        found[key]["seeds"] = len(own)
    return found


def _over_tasks(of: dict, labels: list[str], other: str) -> list[float]:
    tasks = dict.fromkeys(task for task, _ in of)
    gains = []
    for task in tasks:
        own = [of[task, each]["answer"] - of[task, each][other] for each in labels if (task, each) in of]
        if own:
            gains.append(float(np.mean(own)))
    return gains


def page(lines: list[dict]) -> str:
    """Return the page, of the lines of the CSV file."""
    of = cells(lines)
    labels = [each for each in ORDER if any(key[1] == each for key in of)]
    tasks = list(dict.fromkeys(task for task, _ in of))
    text = [
        "# The answer against a plain script", "",
        "Made by `python benchmarks/tabular_transfer.py page` from the CSV file beside it. AUROC, of used cars R², in",
        f"points; means over the seeds of a cell. {len(lines)} runs, {len(of)} cells, {len(tasks)} tasks. Intervals:",
        "Student's t over the tasks.", "",
        "| labels | tasks | mean rank: answer | new data only | script | answer − script | answer − new data only |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]  # fmt: skip
    for name, some in [*((each, [each]) for each in labels), ("together", labels)]:
        own = [of[key] for key in of if key[1] in some]
        ranks = np.mean([rankdata([-cell[method] for method in METHODS]) for cell in own], axis=0)
        gains = [interval(_over_tasks(of, some, other)) for other in ("script", "new_only")]
        count = len({key[0] for key in of if key[1] in some})
        text.append(f"| {name} | {count} | " + " | ".join([*(f"{rank:.2f}" for rank in ranks), *gains]) + " |")
    for other, below in (("script", BELOW_SCRIPT), ("new_only", BELOW_NEW_ONLY)):
        missed = {key: cell["answer"] - cell[other] for key, cell in of.items() if cell["answer"] < cell[other] - below}
        text += [
            "",
            f"Cells where the answer is more than {below:g} below {METHODS[other]}: {len(missed)} of {len(of)}.",
        ]
        for (task, each), gap in sorted(missed.items(), key=lambda item: item[1]):
            text.append(f"- {task}, {each} labels ({of[task, each]['seeds']} seeds): {gap:+.2f}")
    text += ["", "| task | labels | seeds | the answer | new data only | the script |", "|---|---|---:|---:|---:|---:|"]
    for task in tasks:
        for each in labels:
            if (task, each) in of:
                cell = of[task, each]
                figures = " | ".join(f"{cell[method]:.1f}" for method in METHODS)
                text.append(f"| {task} | {each} | {cell['seeds']} | {figures} |")
    return "\n".join(text) + "\n"
