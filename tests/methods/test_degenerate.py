"""Degenerate files: every method trains on them or says in one message what it wants."""

import numpy as np
import pandas as pd
import pytest

from tests.contracts.chosen import chosen
from tl_research.config import compose
from tl_research.errors import ConfigError, DataError, UserError
from tl_research.methods.source_parts import SeveralSources
from tl_research.registry import METHODS
from tl_research.runs.experiment import run

CLASSES = [entry.name for entry in METHODS.entries() if "class" in entry.targets]
#: Those that take two files of the same classes.
OF_TWO_FILES = [
    name
    for name in CLASSES
    if "equal" in METHODS.get(name).label_sets and not issubclass(METHODS.get(name).target, SeveralSources)
]
ALONE = (
    "source_only",
    "dan",
    "deep_coral",
    "dann",
    "group_dro",
    "mcc",
    "cbst",
    "atdoc",
    "adamatch",
    "fine_tune",
    "relational_distillation",
    "shallow",
    "coral",
)


def frame(kind: str, seed: int) -> pd.DataFrame:
    random, n = np.random.default_rng(seed), 12
    label = np.where(np.arange(n) % 2, "yes", "no")
    if kind == "equal rows":
        return pd.DataFrame({"a": [1.0] * n, "b": [2.5] * n, "y": label})
    if kind == "one column":
        return pd.DataFrame({"a": random.normal(size=n), "y": label})
    if kind == "a lonely row of a class":
        label = np.where(np.arange(n), "no", "yes")
    return pd.DataFrame({"a": random.normal(size=n), "b": random.normal(size=n), "y": label})


def rated(lacking: int, seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    stars = np.array([star for star in (1, 2, 3) if star != lacking] * 12)
    return pd.DataFrame({"a": random.normal(size=len(stars)) + stars, "b": random.normal(size=len(stars)), "y": stars})


KINDS = {"old lacks a class": (2, 0), "new lacks a class": (0, 2)}


def tried(method: str, kind: str, tmp_path, *words: str):
    files = [tmp_path / name for name in ("old.csv", "new.csv")]
    for seed, file in enumerate(files):
        made = rated(KINDS[kind][seed], seed) if kind in KINDS else frame(kind, seed)
        made.to_csv(file, index=False)
    entry = METHODS.get(method)
    setting = entry.settings[0]
    words = ["data.shots=2", *words] if setting == "few_shot" else list(words)
    if entry.encoder is None:
        words.append("encoder={name: tabular, hidden: [4], batch_norm: true}")
    base = [
        "data.name=files", f"data.sources=[{files[0]}]", f"data.target={files[1]}", "data.label=y",
        f"output={tmp_path}", f"method.name={method}", f"data.setting={setting}", "data.test_fraction=0.3",
        "trainer.max_epochs=4", "trainer.accelerator=cpu", "wandb.mode=disabled",
    ]  # fmt: skip
    return run(compose({}, [*base, *words]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "kind"),
    [
        *((method, "a lonely row of a class") for method in CLASSES),
        *((method, kind) for method in chosen(CLASSES) for kind in ("equal rows", "one column")),
    ],
)
def test_every_method_trains_or_says_why_not(method, kind, tmp_path):
    try:
        record = tried(method, kind, tmp_path)
    except UserError as error:
        assert "\n" not in str(error)  # noqa: PT017 (either is right)
        assert len(str(error)) > 20  # noqa: PT017
    else:
        assert record.status == "ok"


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", chosen(OF_TWO_FILES))
def test_every_method_trains_where_a_side_lacks_a_class(method, kind, tmp_path):
    if (method, kind) == ("warm_start_logistic", "old lacks a class"):  # it begins at the source's model of each class
        with pytest.raises(DataError, match="class 1 has target labels but no source row"):
            tried(method, kind, tmp_path)
    else:
        assert tried(method, kind, tmp_path, "trainer.max_epochs=8").status == "ok"


@pytest.mark.parametrize("method", ALONE)
def test_a_batch_of_one_row_is_trained_on_or_refused_by_its_key(method, tmp_path):
    if METHODS.get(method).encoder is None:
        with pytest.raises(ConfigError, match=r"^data\.batch_size: a batch of .*1 .*row.* is too small"):
            tried(method, "plain", tmp_path, "data.batch_size=1")
    else:
        assert tried(method, "plain", tmp_path, "data.batch_size=1").status == "ok"
