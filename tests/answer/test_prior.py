"""Class shares of the market: one option, however it is written, in the resamples and in the model that is kept."""

import numpy as np
import pandas as pd
import pytest

import tl_research
from tl_research.errors import ConfigError

FAST = ("method.trees=5", "method.source_rows=200")


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
    said = answered(frames, tmp_path / "said", prior="yes=0.6")
    word = answered(frames, tmp_path / "word", overrides=["method.prior=['yes=0.6']"])
    one, other = (each.model.predict(frames[1])["p_yes"] for each in (said, word))
    assert (one == other).all()
    assert said.facts["table"] == word.facts["table"]
    assert (one > plain).all()
    assert said.facts["calibration"]["means"]["yes"][0] > 0.4


def test_shares_twice_or_beside_balanced_labels_are_refused(frames, tmp_path):
    with pytest.raises(ConfigError, match=r"^method\.prior: .* nothing in --set beside --prior"):
        answered(frames, tmp_path, prior=0.3, overrides=["method.prior=['0.3']"])
    with pytest.raises(ConfigError, match=r"^--prior: .* nothing beside --balanced"):
        answered(frames, tmp_path, prior=0.3, shots=8, balanced=True)
