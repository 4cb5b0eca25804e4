"""Every row is tested once a repeat, groups stay together, classes are dealt out evenly."""

import numpy as np
import pytest
from sklearn.model_selection import StratifiedKFold

from tl_research.answer.resamples import resamples

random = np.random.default_rng(0)


def drawn(label, groups=None, *, stratified=True, folds=5, repeats=2, seed=3):
    groups = np.arange(len(label)) if groups is None else groups
    return resamples(label, stratified=stratified, groups=groups, folds=folds, repeats=repeats, seed=seed)


LABELS = {
    "classes": (random.integers(0, 3, 203), True),
    "rare class": (np.r_[np.ones(11, int), np.zeros(300, int)], True),
    "numbers": (random.normal(size=57), False),
}


@pytest.mark.parametrize(("label", "stratified"), LABELS.values(), ids=LABELS)
def test_every_row_is_tested_once_per_repeat(label, stratified):
    found = drawn(label, stratified=stratified)
    assert len(found) == 10
    for repeat in (found[:5], found[5:]):
        assert sorted(np.concatenate([each.test for each in repeat])) == list(range(len(label)))
    for train, test in found:
        assert sorted([*train, *test]) == list(range(len(label)))
    assert not np.array_equal(found[0].test, found[5].test)


@pytest.mark.parametrize("seed", range(5))
def test_strata_are_as_even_as_those_of_scikit_learn(seed):
    label = np.random.default_rng(seed).choice(3, size=151, p=[0.7, 0.2, 0.1])
    own = [np.bincount(label[each.test], minlength=3) for each in drawn(label, repeats=1, seed=seed)]
    splits = StratifiedKFold(5, shuffle=True, random_state=seed).split(label[:, None], label)
    theirs = [np.bincount(label[test], minlength=3) for _, test in splits]
    assert np.ptp(own, axis=0).max() <= 1
    assert np.ptp(own, axis=0).max() <= np.ptp(theirs, axis=0).max()
    assert np.ptp(np.sum(own, axis=1)) <= 1


@pytest.mark.parametrize("stratified", [True, False])
def test_groups_are_never_split_and_folds_stay_even(stratified):
    groups = random.integers(0, 80, 600)
    label = random.integers(0, 2, 600) if stratified else random.normal(size=600)
    found = drawn(label, groups, stratified=stratified)
    for train, test in found:
        assert not set(groups[train]) & set(groups[test])
    sizes = [len(each.test) for each in found]
    assert max(sizes) - min(sizes) <= np.bincount(groups).max()


def test_a_group_of_two_classes_counts_as_the_commoner():
    groups = np.repeat(np.arange(30), 3)
    label = np.tile([0, 0, 1], 30)
    label[:30] = np.tile([1, 1, 0], 10)
    for train, test in drawn(label, groups, folds=5, repeats=1):
        assert (label[test].reshape(-1, 3).sum(1) == 2).sum() == 2  # ten groups of class 1 in five folds
        assert len(train) == 72


def test_few_labels_are_split_at_random_with_a_third_of_each_class_tested():
    label = np.r_[np.ones(9, int), np.zeros(30, int)]
    found = drawn(label)
    assert len(found) == 10
    for train, test in found:
        assert np.bincount(label[test]).tolist() == [10, 3]
        assert len(train) == 26
    assert len({tuple(each.test) for each in found}) == 10


def test_a_class_of_one_row_is_never_tested_and_of_two_half():
    label = np.r_[[2], [1, 1], np.zeros(20, int)]
    for train, test in drawn(label):
        assert np.bincount(label[test], minlength=3)[1:].tolist() == [1, 0]
        assert {0, 1, 2} == set(label[train])


def test_the_seed_decides_and_one_group_is_refused():
    label = LABELS["classes"][0]
    same = zip(drawn(label), drawn(label), strict=True)
    assert all(np.array_equal(one.test, other.test) for one, other in same)
    assert not np.array_equal(drawn(label)[0].test, drawn(label, seed=4)[0].test)
    with pytest.raises(ValueError, match="one group"):
        drawn(np.array([0, 1, 0]), np.zeros(3, int))
