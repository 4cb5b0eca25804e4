"""Planted sources against their formula: how each records, where the harmful one lies, and what its labels say."""

import numpy as np
import pytest

from tl_research.config import compose
from tl_research.data.catalog.planted_sources import OFFSET, SOURCES, PlantedSourcesConfig, load
from tl_research.errors import ConfigError


def domains(**keys):
    return load(PlantedSourcesConfig(n_source=4000, n_target=4000, **keys), list(OFFSET))


def test_the_columns_have_the_stated_means_and_spreads():
    found = domains(offset=3.0)
    for name, offset, mark in zip(OFFSET, (1.8, 0, 0, 3), (0, 0, 2, 0), strict=True):
        x = found[name].inputs
        np.testing.assert_allclose(x.mean(axis=0), [0, offset, mark, 0, 0, 0], atol=0.08)
        np.testing.assert_allclose(x.std(axis=0), [np.hypot(1, 0.45), np.hypot(1, 0.3), 1, 1, 1, 1], atol=0.05)


def test_labels_go_with_interest_and_against_it_in_the_harmful_source():
    for name, domain in domains().items():
        right = (domain.label == (domain.inputs[:, 1] > 2.0 * OFFSET[name])).mean()
        assert right == pytest.approx(0.14 if name == "harmful_market" else 0.86, abs=0.03)
    half = domains(turned=0.5)["harmful_market"]
    assert (half.label == (half.inputs[:, 1] > 0)).mean() == pytest.approx(0.5, abs=0.03)


def test_an_option_of_one_domain_leaves_the_rows_of_the_others():
    one, other = domains(), domains(turned=0.0)
    for name in OFFSET:
        assert np.array_equal(one[name].inputs, other[name].inputs)
        assert np.array_equal(one[name].label, other[name].label) == (name != "harmful_market")
    assert not np.array_equal(one["far_market"].inputs, domains(data_seed=1)["far_market"].inputs)


def test_all_three_sources_are_the_default_and_bounds_are_refused():
    assert tuple(compose({"data": {"name": "planted_sources"}, "method": {"name": "mdan"}}).data.sources) == SOURCES
    with pytest.raises(ConfigError, match=r"data\.turned: got 2\.0, wants a share"):
        compose({"data": {"name": "planted_sources", "turned": 2.0}, "method": {"name": "mdan"}})
