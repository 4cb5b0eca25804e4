"""The sets of the closed-form papers, in whose protocol 1-NN must give the published figures to two decimals."""

import itertools

import pytest
import torch

from tl_research.config import compose
from tl_research.data.paired import PairedDataModule
from tl_research.errors import ConfigError
from tl_research.registry import DATASETS
from tl_research.runs.experiment import run

#: Long et al. 2013, ICCV, table 2, column NN.
PUBLISHED = {
    ("caltech", "amazon"): 23.70, ("caltech", "webcam"): 25.76, ("caltech", "dslr"): 25.48,
    ("amazon", "caltech"): 26.00, ("amazon", "webcam"): 29.83, ("amazon", "dslr"): 25.48,
    ("webcam", "caltech"): 19.86, ("webcam", "amazon"): 22.96, ("webcam", "dslr"): 59.24,
    ("dslr", "caltech"): 26.27, ("dslr", "amazon"): 28.50, ("dslr", "webcam"): 63.39,
    ("usps", "mnist"): 44.70, ("mnist", "usps"): 65.94,
}  # fmt: skip


@pytest.fixture
def fetched(real_data):
    from tl_research.data.fetch import fetch

    for name in ("office_caltech", "mnist_usps"):
        fetch(name, DATASETS.get(name).target.files)
    return real_data


def recipe(source, target, output, **data):
    name = "mnist_usps" if "usps" in (source, target) else "office_caltech"
    return {
        "data": {"name": name, "sources": [source], "target": target, **data},
        "method": {"name": "shallow", "head": "nearest_neighbours"},
        "wandb": {"mode": "disabled"},
        "output": str(output),
    }


def test_one_nearest_neighbour_is_the_published_one(fetched, tmp_path):
    assert len(PUBLISHED) == len(list(itertools.permutations(range(4), 2))) + 2
    for (source, target), accuracy in PUBLISHED.items():
        record = run(compose(recipe(source, target, tmp_path)))
        assert round(100 * record.metrics["last"]["target_test/accuracy"], 2) == accuracy, (source, target)


@pytest.mark.parametrize(("source", "target", "accuracy"), [("usps", "mnist", 59.65), ("mnist", "usps", 67.28)])
def test_jda_with_the_authors_options_is_the_published_one(fetched, tmp_path, source, target, accuracy):
    """Long et al. 2013, table 2, by the settings of their paper and code."""
    method = {
        "name": "jda", "head": "nearest_neighbours", "unit_length": True, "components": 100, "regularizer": 0.1,
        "marginal_weight": "classes", "centred": False,
    }  # fmt: skip
    record = run(compose(recipe(source, target, tmp_path) | {"method": method}))
    assert round(100 * record.metrics["last"]["target_test/accuracy"], 2) == accuracy


def test_every_row_trains_and_target_labels_stay_hidden(fetched):
    config = compose(recipe("dslr", "webcam", "unused"))
    data = PairedDataModule(DATASETS.get("office_caltech").config(**config.data), seed=0)
    data.setup()
    evaluation = data.release_evaluation()
    assert data.sides["source"].size == 157
    assert data.sides["target"].size == 295
    assert set(evaluation) == {"target_test"}
    assert torch.equal(evaluation["target_test"].inputs, data.sides["target"].inputs)
    assert (data.sides["target"].label == -1).all()
    assert (evaluation["target_test"].label >= 0).all()


def test_the_protocol_shows_no_target_labels():
    with pytest.raises(ConfigError, match=r"data\.setting: got 'supervised', wants unsupervised, because data\.trans"):
        compose(recipe("dslr", "webcam", "unused", setting="supervised"))
    assert compose(recipe("dslr", "webcam", "unused")).selection.rule == "last"
    held_out = compose(recipe("dslr", "webcam", "unused", transductive=False, setting="supervised"))
    assert held_out.selection.rule == "target_val"
