"""Two moons against their formula: where the rows lie, how they are turned, and how often each class comes."""

import math

import numpy as np
import pytest
from scipy.special import expit

from tl_research.config import compose
from tl_research.data.catalog.two_moons import MIDDLE, TwoMoonsConfig, load
from tl_research.errors import ConfigError


def both(**keys):
    domains = load(TwoMoonsConfig(**keys), ["upright", "rotated"])
    return domains["upright"], domains["rotated"]


def test_upright_rows_lie_on_their_half_circles():
    upright, _ = both(noise=1e-6, n_source=500)
    for label, centre, side in ((0, (0.0, 0.0), 1), (1, (1.0, 0.5), -1)):
        points = upright.inputs[upright.label == label] + MIDDLE - np.array(centre)
        np.testing.assert_allclose(np.hypot(*points.T), 1, atol=1e-4)
        assert (side * points[:, 1] > -1e-4).all()
        assert len(points) > 200


@pytest.mark.parametrize("angle", [10.0, 30.0, 90.0])
def test_rotated_rows_turned_back_lie_on_them_too(angle):
    _, rotated = both(noise=1e-6, angle=angle)
    points = rotated.inputs @ np.array([1, 1j]) * np.exp(-1j * math.radians(angle))
    points = points + MIDDLE @ np.array([1, 1j])
    centres = np.where(rotated.label == 1, 1 + 0.5j, 0)
    np.testing.assert_allclose(np.abs(points - centres), 1, atol=1e-4)
    assert np.where(rotated.label == 1, -1, 1) @ (points - centres).imag > 0


def test_noise_has_the_stated_spread():
    upright, _ = both(noise=0.05, n_source=4000)
    points = upright.inputs[upright.label == 0] + MIDDLE
    assert np.std(np.hypot(*points.T)) == pytest.approx(0.05, rel=0.1)


def test_the_class_shift_moves_the_targets_odds_alone():
    upright, rotated = both(class_shift=1.5, n_source=4000, n_target=3000)
    assert len(rotated.label) == 3000
    assert upright.label.mean() == pytest.approx(0.5, abs=0.03)
    assert rotated.label.mean() == pytest.approx(expit(1.5), abs=0.03)


def test_the_angle_leaves_the_upright_rows_and_another_seed_does_not():
    first, same, other = both()[0], both(angle=80.0)[0], both(data_seed=1)[0]
    np.testing.assert_array_equal(first.inputs, same.inputs)
    assert not np.array_equal(first.inputs, other.inputs)


@pytest.mark.parametrize("word", ["angle=9", "angle=91", "noise=0", "n_target=9"])
def test_values_out_of_bounds_are_refused(word):
    with pytest.raises(ConfigError, match=rf"data\.{word.split('=')[0]}"):
        compose("two_moons/source_only", [f"data.{word}"])
