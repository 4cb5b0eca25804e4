"""A closed-form method added as one file of at most 60 lines, by public names alone."""

from __future__ import annotations

import pytest
import torch

from tests.contracts.problem import method_config
from tl_research.alignment.base import ALIGNMENTS
from tl_research.config import compose
from tl_research.errors import ConfigError
from tl_research.registry import METHODS
from tl_research.runs.experiment import run
from tl_research.storage.checkpoints import load_model_file

#: CORAL without a rotation: each column of the source gets the target's mean and spread.
PLUGIN = '''
"""Columns of equal mean and spread."""

from dataclasses import dataclass

from tl_research.alignment.base import Alignment, register_alignment
from tl_research.config import check


@dataclass
class ColumnsConfig:
    ridge: float = 0.5  # added to both variances, in squared units of the features

    def __post_init__(self):
        check(self.ridge > 0, "ridge", self.ridge, "a number above 0")


@register_alignment("equal_columns", config=ColumnsConfig, paper="none", gain=0.02)
class EqualColumns(Alignment):
    """Give each column of the source the target's mean and spread; target rows stay."""

    def fit(self, source, target, *, labeled=None, classes, seed):
        spread = [(side.x.var(dim=0) + self.config.ridge).sqrt() for side in (source, target)]
        self.keep(mean=source.x.mean(dim=0), shift=target.x.mean(dim=0), scale=spread[1] / spread[0])
        self.found = {"largest_scale": float(self.scale.max())}

    def source(self, x):
        return (x - self.mean) * self.scale + self.shift

    def target(self, x):
        return x
'''
SMALL = ("data.n_source=300", "data.n_target=300", "trainer.threads=1")


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    file = tmp_path / "equal_columns.py"
    file.write_text(PLUGIN)
    monkeypatch.setenv("TL_RESEARCH_PLUGINS", str(file))
    yield
    for registry in (METHODS, ALIGNMENTS):
        registry._entries.pop("equal_columns", None)


def test_one_file_is_a_method(plugin, tmp_path):
    assert PLUGIN.strip().count("\n") < 60
    record = run(method_config("equal_columns", tmp_path / "runs", *SMALL))
    assert record.status == "ok"
    assert record.data["method"]["alignment"]["largest_scale"] > 0
    assert record.metrics["last"]["target_test/accuracy"] > 0.6
    weights = load_model_file(tmp_path / "runs" / record.run_id)["model"]
    assert {"alignment.mean", "alignment.scale", "head.coefficient"} <= weights.keys()


def test_its_options_are_keys_and_heads_and_weightings_come_with_it(plugin, tmp_path):
    words = ("method.ridge=2", "method.head=ridge", "method.weighting=kliep", "method.penalty=3")
    config = method_config("equal_columns", tmp_path, *SMALL, *words)
    record = run(config)
    assert record.config["method"]["ridge"] == 2.0
    assert record.data["method"]["weighting"]["name"] == "kliep"
    with pytest.raises(ConfigError, match=r"^method\.ridge: got 0\.0, wants a number above 0$"):
        compose(config, ["method.ridge=0"])
    with pytest.raises(ConfigError, match=r"^method\.ridg: unknown key; did you mean 'ridge'"):
        compose(config, ["method.ridg=1"])


def test_from_python_the_class_speaks_of_its_own_option(plugin):
    METHODS.names()
    made = ALIGNMENTS.get("equal_columns").target
    assert made(ridge=2.0).config.ridge == 2.0
    with pytest.raises(ValueError, match=r"^ridge: got -1\.0, wants a number above 0$"):
        made(ridge=-1.0)
    assert torch.equal(made().target(torch.ones(2, 3)), torch.ones(2, 3))
