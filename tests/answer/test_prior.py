"""Probabilities: class shares of the market are one option, and the calibration is that of the answer that is used."""

import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

import tl_research
from tl_research.answer.compare import _calibration
from tl_research.answer.measured import WITH, WITHOUT, Measured
from tl_research.errors import ConfigError
from tl_research.outcomes import ClassOutcome
from tl_research.portfolio.prior import prior_texts, read_prior

FAST = ("method.trees=5", "method.source_rows=200", "method.repeats=1")


@pytest.fixture(scope="module")
def frames():
    """Two files of one market whose second class is a fifth."""
    draw = np.random.default_rng(0)
    made = []
    for rows in (200, 120):
        label = draw.random(rows) < 0.2
        x = draw.normal(size=(rows, 2)) + label[:, None]
        made.append(pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": np.where(label, "yes", "no")}))
    return made


def answered(frames, folder, *, overrides=(), **options):
    own = {"resamples": 2, "jobs": 1, "output": folder, "overrides": [*FAST, *overrides], **options}
    return tl_research.compare(*frames, label="y", **own)


def test_prior_and_method_prior_are_one_option(frames, tmp_path):
    """The model that is kept says more of the second class where the market has more of it, both ways alike."""
    plain = answered(frames, tmp_path / "plain").model.predict(frames[1])["p_yes"]
    said = answered(frames, tmp_path / "said", prior='{"yes": 0.6}')
    word = answered(frames, tmp_path / "word", overrides=["method.prior=['yes=0.6']"])
    one, other = (each.model.predict(frames[1])["p_yes"] for each in (said, word))
    assert (one == other).all()
    assert said.facts["table"] == word.facts["table"]
    assert (one > plain).all()
    assert said.facts["calibration"]["means"]["yes"][0] > 0.4


ODD = ("a=b", "red, blue")


def test_a_class_with_a_comma_or_an_equals_sign_in_its_name_gets_its_share():
    wanted = [0.7, 0.3]
    for text in (
        '{"red, blue": 0.3}',
        "{'red, blue': 0.3, a=b: 0.7}",
        '{"a=b": 0.7}',
        "a=b=0.7",
        '  {"red, blue": 3e-1, "a=b": 0.7}',
    ):
        assert read_prior(prior_texts(text), ODD) == pytest.approx(wanted), text
    assert read_prior(prior_texts("{yes: 0.2, no: 0.8}"), ("no", "yes")) == pytest.approx([0.8, 0.2])
    assert prior_texts("yes=0.15,no=0.85") == ("yes=0.15", "no=0.85")
    assert prior_texts("{yes: 0.15}") == prior_texts("yes=0.15"), "one question, one folder"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("red, blue=0.3", r"""wants a share such as 0.15, or {"red, blue": 0.15} in quotes"""),
        ('{"red, blue": 0.3', r"""wants names with their shares, such as {"red, blue": 0.2"""),
        ('{"red, blue": {"a": 1}}', "wants names with their shares"),
        ("{}", "wants names with their shares"),
        ('{"red, blue": many}', "wants a share such as 0.15"),
        ('{"red": 0.3}', "got 'red', wants one of the classes a=b, red, blue"),
        ('{"a=b": 0.3, "a=b": 0.3}', "wants each name once; 'a=b' is there twice"),
    ],
)
def test_a_share_that_cannot_be_read_is_one_line(text, message):
    with pytest.raises(ConfigError, match=f"^--prior: .*{re.escape(message)}"):
        read_prior(prior_texts(text), ODD)


def test_shares_twice_or_beside_balanced_labels_are_refused(frames, tmp_path):
    with pytest.raises(ConfigError, match=r"^method\.prior: .* nothing in --set beside --prior"):
        answered(frames, tmp_path, prior=0.3, overrides=["method.prior=['0.3']"])
    with pytest.raises(ConfigError, match=r"^--prior: .* nothing beside --balanced"):
        answered(frames, tmp_path, prior=0.3, shots=8, balanced=True)


@pytest.mark.parametrize(("used", "mean"), [(WITH, 0.2), (WITHOUT, 0.6)])
def test_the_calibration_is_that_of_the_answer_that_is_used(used, mean):
    """One answer says 0.2 of every row, the other 0.6."""
    said = {WITH: 0.2, WITHOUT: 0.6}
    outputs = {row: np.log([[1 - share, share]] * 4).tolist() for row, share in said.items()}
    one = Measured(0, None, 8, 8, 4, True, {}, {}, {}, {}, {}, [0, 1, 2, 3], outputs, 1.0)
    rows = SimpleNamespace(outcome=ClassOutcome(("no", "yes")), label=torch.tensor([0, 1, 0, 1]))
    assert _calibration([one], rows, used)["means"]["yes"] == pytest.approx((mean, 0.5))
