"""Options of methods say their bounds in the field, and a value outside is refused with its key."""

import re

import pytest

from tl_research.config import compose
from tl_research.errors import ConfigError

REFUSED = [
    ("adamatch", "threshold=2", "a share from 0 to 1"),
    ("atdoc", "neighbours=0", "at least 1"),
    ("bi_tuning", "classifier_weight=-1", "0 or more"),
    ("bi_tuning", "projector_weight=-1", "0 or more"),
    ("bi_tuning", "temperature=0", "a number above 0"),
    ("bi_tuning", "projection=0", "at least 1"),
    ("bi_tuning", "queue=-1", "0 or more"),
    ("bi_tuning", "momentum=1", "a share from 0 to below 1"),
    ("bss", "weight=-1", "0 or more"),
    ("bss", "k=0", "at least 1"),
    ("cbst", "portion=0", "a share above 0 and up to 1"),
    ("co_tuning", "weight=-1", "0 or more"),
    ("co_tuning", "relation=revers", "did you mean 'reverse'"),
    ("dan", "bandwidths=0", "at least 1"),
    ("deep_coral", "weight=-1", "0 or more"),
    ("delta", "weight=-1", "0 or more"),
    ("delta", "head_weight=-1", "0 or more"),
    ("delta", "attention_rows=0", "at least 1"),
    ("feature_distillation", "weight=-1", "0 or more"),
    ("entropy_minimisation", "warm_up=1", "a share from 0 to below 1"),
    ("fixmatch", "strong_noise=-1", "0 or more"),
    ("l2_sp", "alpha=-1", "0 or more"),
    ("l2_sp", "beta=-1", "0 or more"),
    ("learn_to_reweight", "layers=lst", "did you mean 'last'"),
    ("lwf", "weight=-1", "0 or more"),
    ("lwf", "temperature=0", "a number above 0"),
    ("mcc", "temperature=0", "a number above 0"),
    ("mean_teacher", "decay=1", "a share from 0 to below 1"),
    ("model_soup", "kind=gredy", "did you mean 'greedy'"),
    ("model_soup", "lr_factors=[1.0]", "2 or more numbers above 0"),
    ("model_soup", "lr_factors=[1.0,0.0]", "2 or more numbers above 0"),
    ("pseudo_label", "ramp_start=0.7", "at most method.ramp_end (0.6)"),
    ("relational_distillation", "distance_weight=-1", "0 or more"),
    ("relational_distillation", "angle_weight=-1", "0 or more"),
    ("relational_distillation", "angle_rows=2", "at least 3"),
    ("wise_ft", "alpha=1.5", "a share from 0 to 1"),
]


@pytest.mark.parametrize(("method", "option", "wants"), REFUSED)
def test_an_option_out_of_its_bounds_is_refused(method, option, wants):
    key = option.split("=")[0]
    with pytest.raises(ConfigError, match=rf"^method\.{key}: got .*{re.escape(wants)}"):
        compose(None, [f"method.name={method}", f"method.{option}", "data.setting=few_shot", "data.shots=5"])
