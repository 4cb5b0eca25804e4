"""The answer in one sentence, from records whose truth is known."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest

from tl_research.report.verdict import best_of, verdict
from tl_research.suites.compare import NEW_DATA_ONLY, WITH_OLD_DATA


def frame_of(metric: str, old: list[float], new: list[float]) -> pd.DataFrame:
    rows = [
        {"split": "target_test", "metric": metric, "selected": True, "rule": "last", "label": label, "task": "old->new",
         "seed": seed, "value": value, "evidence": None, "dataset": "files", "target": "new"}
        for label, values in ((WITH_OLD_DATA, old), (NEW_DATA_ONLY, new))
        for seed, value in enumerate(values)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def suite_of(metric: str):
    labels = [SimpleNamespace(label=label) for label in (NEW_DATA_ONLY, WITH_OLD_DATA)]
    return SimpleNamespace(metric=metric, methods=labels, tasks=[SimpleNamespace(name="old->new")], seeds=range(3))


CASES = [
    (
        "auroc",
        [0.70, 0.71, 0.72],
        [0.60, 0.61, 0.62],
        "The old data helped: auroc 71.0 with them against 61.0",
        "+10.0",
    ),
    ("auroc", [0.60, 0.61, 0.62], [0.70, 0.71, 0.72], "The old data hurt: auroc 61.0", "−10.0"),
    ("auroc", [0.60, 0.72, 0.62], [0.61, 0.61, 0.62], "No gain or loss from the old data could be shown", "+3.3 ["),
    ("rmse", [1.0, 1.1, 1.2], [2.0, 2.1, 2.2], "The old data helped: rmse 1.100", "+1.000"),
]


@pytest.mark.parametrize(("metric", "old", "new", "begin", "gain"), CASES)
def test_the_sentence_says_what_the_interval_says(metric, old, new, begin, gain):
    frame, suite = frame_of(metric, old, new), suite_of(metric)
    said = verdict(frame, suite, test_share=0.25)
    assert said.startswith(begin)
    assert f"from the new data alone, better by {gain}" in said
    wanted = NEW_DATA_ONLY if "hurt" in begin else WITH_OLD_DATA
    assert best_of(frame, suite) == wanted
    assert said.endswith(f"; use `{wanted}`.")


def test_one_seed_decides_nothing_and_none_says_nothing():
    one = frame_of("auroc", [0.9], [0.5])
    assert verdict(one, suite_of("auroc"), test_share=0.25) == (
        "No gain or loss from the old data could be shown: auroc 90.0 with them against 50.0 from the new data alone, "
        "better by +40.0; use `portfolio`."
    )
    assert verdict(frame_of("auroc", [0.9], []), suite_of("auroc"), test_share=0.25) is None
