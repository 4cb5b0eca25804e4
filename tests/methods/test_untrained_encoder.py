"""What is fitted to features once is refused on an encoder that nobody has trained."""

import pytest

from tests.contracts.problem import LABELLED, is_closed_form, is_source_free, method_config
from tl_research.encoders.text_hf import TextHF, TextHFConfig
from tl_research.encoders.vision import Vision, VisionConfig
from tl_research.errors import ConfigError
from tl_research.registry import ENCODERS

FITTED = [name for name in LABELLED if is_closed_form(name) and not is_source_free(name)]
#: One each that takes a matrix, or texts.
UNTRAINED = ("mlp", "linear", "tabular", "text_ngrams", "text_transformer", "fusion", "vision")


@pytest.mark.parametrize("encoder", UNTRAINED)
@pytest.mark.parametrize("method", FITTED)
def test_a_fitted_method_names_the_encoder_and_those_that_fit(method, encoder):
    with pytest.raises(ConfigError, match=rf"^encoder\.name: got '{encoder}'.*{method}.*wants identity"):
        method_config(method, "unused", f"encoder={{name: {encoder}}}")
    method_config(method, "unused", "encoder={name: identity}")


def test_every_encoder_says_whether_it_is_trained():
    trained = {entry.name for entry in ENCODERS.entries() if entry.target.is_trained(entry.config())}
    assert trained == {"codes", "identity", "side_by_side", "text_hf", "text_lsa"}
    assert Vision.is_trained(VisionConfig(weights="hub"))
    assert not TextHF.is_trained(TextHFConfig(random_weights=True))
    method_config("coral", "unused", "encoder={name: vision, weights: hub}")


@pytest.mark.parametrize("method", ["shallow", "feature_augmentation"])
def test_a_head_that_is_trained_trains_the_encoder_where_no_alignment_is_fitted_to_it(method):
    method_config(method, "unused", "method.head=mlp", "encoder={name: mlp}")
    with pytest.raises(ConfigError, match="is fitted to its features"):
        method_config("coral", "unused", "method.head=mlp", "encoder={name: mlp}")


def test_a_probe_of_random_features_is_refused():
    with pytest.raises(ConfigError, match=r"freezes them: method\.source_share is 0"):
        method_config("linear_probe", "unused", "method.source_share=0")
    method_config("linear_probe", "unused")
    method_config("linear_probe", "unused", "method.source_share=0", "encoder={name: vision, weights: hub}")
