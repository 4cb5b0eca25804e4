"""`compare` on texts and images: what the label is must be found there, and the model reads new rows."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import tl_research
from tests.answer.files import FAST, shop
from tl_research.errors import UserError

GOOD, BAD = ["lovely", "fits well", "great colour"], ["too small", "poor cloth", "went back"]
PLAIN = [
    "the",
    "dress",
    "bought",
    "in",
    "shop",
    "for",
    "friend",
    "last",
    "week",
    "was",
    "on",
    "my",
    "table",
    "and",
    "then",
]


def reviews(rows, seed):
    """Reviews of which two phrases say whether the buyer is pleased, among words that say nothing."""
    random = np.random.default_rng(seed)
    pleased = random.random(rows) < 0.5
    said = []
    for is_pleased in pleased:
        phrases = list(random.choice(GOOD if is_pleased else BAD, 2)) + list(random.choice(PLAIN, 8))
        said.append(" ".join(random.permutation(phrases)))
    age = random.normal(40, 10, rows).round(1)
    return pd.DataFrame({"age": age, "review": said, "pleased": np.where(pleased, "yes", "no")})


def answer(old, new, folder, **more):
    options = {"overrides": FAST, "jobs": 1, "resamples": 2} | more
    return tl_research.compare(old, new, output=folder, **options)


def test_a_text_that_tells_the_label_is_read(tmp_path):
    found = answer(reviews(150, 0), reviews(60, 1), tmp_path, label="pleased")
    assert found.table.set_index("row").loc["with old data", "auroc"] > 0.95
    assert found.table.set_index("row").loc["new data only", "auroc"] > 0.8
    assert any("column 'review' holds texts" in line for line in found.facts["remarks"])
    fresh = reviews(100, 2)
    said = found.model.predict(fresh.drop(columns="pleased"))
    assert (said["prediction"] == fresh["pleased"]).mean() > 0.9
    # Words that nobody has seen say nothing, and a row without a text is a row all the same.
    fresh.loc[0, "review"], fresh.loc[1, "review"] = "zebra quagga", None
    assert found.model.predict(fresh).loc[0:1, "p_yes"].between(0.05, 0.95).all()


def photos(folder, rows, seed):
    """Red and blue pictures in folders by their class."""
    random = np.random.default_rng(seed)
    for kind, channel in (("coat", 0), ("shoe", 2)):
        (folder / kind).mkdir(parents=True)
        for number in range(rows):
            pixels = random.integers(0, 120, (12, 12, 3), dtype=np.uint8)
            pixels[..., channel] += 60
            Image.fromarray(pixels).save(folder / kind / f"{number}.png")
    return folder


def test_folders_of_images_are_answered_and_the_reading_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    old, new = photos(tmp_path / "old", 30, 0), photos(tmp_path / "new", 12, 1)
    found = answer(old, new, tmp_path, overrides={**FAST, "data": {"image_size": 12}})
    assert found.table.set_index("row").loc["with old data", "auroc"] > 0.95
    assert any("mean colours of 8 x 8 fields" in line for line in found.facts["remarks"])
    said = found.model.predict(photos(tmp_path / "fresh", 6, 2))
    assert (said["prediction"] == np.repeat(["coat", "shoe"], 6)).mean() > 0.9


def test_a_file_without_a_label_column_asks_for_it(tmp_path):
    with pytest.raises(UserError, match=r"data\.label: missing"):
        answer(shop(40, 0), shop(20, 1), tmp_path)


def test_an_encoder_that_nobody_trained_is_refused(tmp_path):
    with pytest.raises(UserError, match="whose weights are random"):
        answer(shop(40, 0), shop(20, 1), tmp_path, label="bought", overrides={"encoder": {"name": "tabular"}})
