"""`method.prior` and `method.calibration`: as they are written in a recipe and on the command line."""

from __future__ import annotations

from dataclasses import asdict

import pytest
import torch

from tl_research.config import compose, run_id
from tl_research.errors import ConfigError
from tl_research.runs.experiment import run
from tl_research.runs.predictor import Predictor

MARKET = [
    "data.name=simulated_market", "data.n_source=400", "data.n_target=600", "data.sources=[old_market]",
    "data.target=new_market", "data.setting=few_shot", "data.shots=20", "method.name=portfolio", "encoder=identity",
    "wandb.mode=disabled", "method.trees=25", "method.repeats=1",
]  # fmt: skip


@pytest.mark.parametrize(
    ("word", "wanted"),
    [
        ("method.prior=em", ["em"]),
        ("method.prior=0.15", ["0.15"]),
        ("method.prior=[0.85,0.15]", ["0.85", "0.15"]),
        ("method.prior=[yes=0.15]", ["yes=0.15"]),
        ("method.prior=yes=0.15", ["yes=0.15"]),
        ("method.prior=null", None),
    ],
)
def test_it_is_written_as_a_share_or_several_or_em(word, wanted):
    found = compose(None, [*MARKET, word]).method.prior
    assert (None if found is None else list(found)) == wanted


def test_runs_keep_their_ids_without_it():
    plain = run_id(compose(None, MARKET))
    assert run_id(compose(None, [*MARKET, "method.prior=null", "method.calibration=auto"])) == plain
    assert run_id(compose(None, [*MARKET, "method.prior=em"])) != plain
    assert run_id(compose(None, [*MARKET, "method.calibration=never"])) != plain


def test_a_run_predicts_the_known_share_and_its_model_file_too(tmp_path):
    given = run(compose(None, [*MARKET, "method.prior=0.15", f"output={tmp_path}"]))
    facts = _found(asdict(given), "prior")
    assert facts["shown"] == pytest.approx(dict(zip(facts["shown"], (0.5, 0.5))))
    assert list(facts["wanted"].values()) == pytest.approx([0.85, 0.15])
    loaded = Predictor.load(tmp_path / given.run_id)
    assert torch.allclose(loaded.module.head.shift.shift.exp(), torch.tensor([1.7, 0.3], dtype=torch.float64))


def _found(tree: dict, key: str) -> dict:
    """The first mapping of this name, at any depth."""
    for name, value in tree.items():
        if name == key and isinstance(value, dict):
            return value
        if isinstance(value, dict) and (inner := _found(value, key)):
            return inner
    return {}


def test_shares_that_are_none_are_one_error_that_names_the_key(tmp_path):
    with pytest.raises(ConfigError, match=r"^method\.prior: got 'much', wants a share such as 0\.15"):
        run(compose(None, [*MARKET, "method.prior=much", f"output={tmp_path}"]))
