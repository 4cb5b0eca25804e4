"""The linear closed-form methods: options reach the alignment, the width is known before the fit; EasyTL."""

import pytest
import torch

from tests.contracts.problem import data_of, method_config
from tl_research.alignment.easy_tl import intra_domain_programming
from tl_research.config import compose
from tl_research.errors import ConfigError
from tl_research.methods.build import build_method
from tl_research.registry import METHODS
from tl_research.runs.experiment import run
from tl_research.runs.record import read_record

NAMES = (
    "coral",
    "feature_augmentation",
    "gfk",
    "joint_pca",
    "linear_monge",
    "mean_alignment",
    "subspace_alignment",
)
SMALL = ("data.n_source=200", "data.n_target=150")


def prepared(method, *overrides):
    config = method_config(method, "unused", *SMALL, *overrides)
    data = data_of(config, METHODS.get(method).target.reads)
    module = build_method(config, data.spec, data.outcome)
    module.prepare(data.sides["source"], data.sides["target"], data.sides.get("target_labeled"))
    return module, data.sides


@pytest.mark.parametrize("method", NAMES)
def test_the_width_that_a_trained_head_is_told_is_that_of_the_mapped_rows(method):
    module, sides = prepared(method, "method.head=mlp", "method.hidden=[5]")
    features, logits = module(sides["target"].inputs)
    assert features.shape[1] == module.alignment.width(module.encoder.out_features)
    assert logits.shape == (len(sides["target"].label), 2)
    assert module.forward_source(sides["source"].inputs)[0].shape[1] == features.shape[1]


@pytest.mark.parametrize(
    ("override", "attribute"),
    [
        ("joint_pca.components=3", 3),
        ("joint_pca.balanced=true", True),
        ("mean_alignment.scale=true", True),
        ("coral.ridge=0.5", 0.5),
        ("coral.match_means=false", False),
        ("linear_monge.ridge=0.5", 0.5),
        ("subspace_alignment.components=3", 3),
        ("gfk.components=3", 3),
        ("gfk.source_subspace=pls", "pls"),
        ("easy_tl.ridge=0.5", 0.5),
        ("easy_tl.match_means=false", False),
    ],
)
def test_an_option_reaches_the_alignment(override, attribute):
    method, rest = override.split(".", 1)
    config = method_config(method, "unused", *SMALL, f"method.{rest}")
    data = data_of(config, METHODS.get(method).target.reads)
    module = build_method(config, data.spec, data.outcome)
    assert getattr(module.alignment.config, rest.split("=")[0]) == attribute


@pytest.mark.parametrize(
    "override",
    [
        "coral.ridge=0",
        "easy_tl.ridge=-1",
        "linear_monge.ridge=0",
        "gfk.source_subspace=lda",
        "gfk.components=0",
        "joint_pca.components=0",
        "subspace_alignment.components=0",
        "easy_tl.intra_domain_alignment=gfk",
    ],
)
def test_a_bad_option_is_refused_before_anything_is_read(override):
    method, rest = override.split(".", 1)
    with pytest.raises(ConfigError, match=rf"method\.{rest.split('=')[0]}: got"):
        compose({"data": {"name": "simulated_market"}}, [f"method.name={method}", f"method.{rest}"])


def test_easy_tl_predicts_the_programmes_labels_where_no_row_was_forced():
    module, sides = prepared("easy_tl")
    assert module.facts["programme"]["forced"] == 0
    target = module.encoder(sides["target"].inputs)
    found = intra_domain_programming(target, module.head.centres)
    assert torch.equal(module(sides["target"].inputs)[1].argmax(1), found.label)


def test_the_record_keeps_what_was_fitted(tmp_path):
    record = run(method_config("gfk", tmp_path, *SMALL, "method.components=3"))
    facts = str(read_record(tmp_path / record.run_id))
    assert "largest_angle" in facts
