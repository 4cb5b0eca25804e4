"""Draws are nested, at random, and have two of each class."""

import numpy as np
import pytest
from scipy.stats import hypergeom

from tl_research.answer.shots import draw_in_all, draw_per_class
from tl_research.errors import UserError

LABEL = np.r_[np.ones(40, int), np.zeros(160, int)]


def test_a_smaller_draw_is_part_of_a_larger_one():
    draws = draw_in_all(LABEL, [20, 50, 200], stratified=True, seed=0)
    assert {size: len(places) for size, places in draws.items()} == {20: 20, 50: 50, 200: 200}
    assert set(draws[20]) < set(draws[50]) < set(draws[200]) == set(range(200))
    assert all((np.diff(places) > 0).all() for places in draws.values())


def test_the_counts_of_a_draw_have_their_law_given_two_of_each_class():
    """P(k of 40 among 8 of 200 | 2 <= k <= 6), against 3,000 draws."""
    counts = [LABEL[draw_in_all(LABEL, [8], stratified=True, seed=seed)[8]].sum() for seed in range(3000)]
    k = np.arange(2, 7)
    law = hypergeom.pmf(k, 200, 40, 8) / hypergeom.pmf(k, 200, 40, 8).sum()
    found = np.bincount(counts, minlength=9)[2:7] / 3000
    assert set(counts) <= set(k)
    np.testing.assert_allclose(found, law, atol=4 * np.sqrt(0.25 / 3000))


def test_rows_of_a_class_are_drawn_alike():
    hits = np.zeros(200)
    for seed in range(2000):
        hits[draw_in_all(LABEL, [20], stratified=True, seed=seed)[20]] += 1
    for code in (0, 1):
        of_class = hits[code == LABEL]
        assert of_class.std() < 2 * np.sqrt(of_class.mean())


def test_a_class_too_rare_to_be_met_has_its_two_all_the_same():
    label = np.r_[[1, 1], np.zeros(100_000, int)]
    places = draw_in_all(label, [10], stratified=True, seed=0)[10]
    assert label[places].sum() == 2


def test_numbers_are_drawn_without_regard_to_them():
    draws = draw_in_all(np.linspace(0, 1, 100), [5, 30], stratified=False, seed=1)
    assert set(draws[5]) < set(draws[30])


def test_too_few_for_the_classes_is_one_sentence():
    with pytest.raises(
        UserError, match="--shots: 3 labels in all cannot hold 2 of each of 2 classes, wants at least 4"
    ):
        draw_in_all(LABEL, [3, 50], stratified=True, seed=0)


def test_a_balanced_draw_has_as_many_of_each_class_as_there_are():
    draws = draw_per_class(LABEL, [5, 20, 100], seed=0)
    assert [np.bincount(LABEL[places]).tolist() for places in draws.values()] == [[5, 5], [20, 20], [100, 40]]
    assert set(draws[5]) < set(draws[20]) < set(draws[100])
