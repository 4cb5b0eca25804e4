"""EasyTL's programme against all labellings, and against a general solver of linear programmes."""

import itertools

import numpy as np
import pytest
import scipy.sparse
import torch
from scipy.optimize import linprog

from tests.alignment.domains import CLASSES, two_domains
from tl_research.alignment.easy_tl import intra_domain_programming
from tl_research.heads.centre import centre_distances, class_centres, nearest_centre


def rows(n, d, seed):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def spread_centres(classes, seed, far):
    """Centres of which the last ones are so far away that no row is nearest to them."""
    centres = rows(classes, 2, seed)
    centres[classes - far :] += 6
    return centres


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("far", [0, 1, 2])
def test_cost_is_the_least_over_all_labellings(seed, far):
    x, centres = rows(6, 2, seed), spread_centres(3, seed + 50, far)
    distance = centre_distances(x, centres)
    best = min(
        sum(distance[j, c].item() for j, c in enumerate(labels))
        for labels in itertools.product(range(3), repeat=6)
        if len(set(labels)) == 3
    )
    found = intra_domain_programming(x, centres)
    assert found.cost == pytest.approx(best, abs=1e-12)
    assert sorted(found.label.unique().tolist()) == [0, 1, 2]
    assert distance[torch.arange(6), found.label].sum().item() == pytest.approx(found.cost)


@pytest.mark.parametrize("far", [0, 3])
def test_cost_is_the_optimum_of_the_linear_programme(far):
    m, classes = 40, 6
    x, centres = rows(m, 2, 1), spread_centres(classes, 2, far)
    cost = centre_distances(x, centres).numpy()  # (m, classes), so the variable of row j and class c is j * classes + c
    each_row = scipy.sparse.kron(scipy.sparse.eye(m), np.ones((1, classes)))
    each_class = scipy.sparse.kron(np.ones((1, m)), scipy.sparse.eye(classes))
    solved = linprog(
        cost.ravel(), A_ub=-each_class, b_ub=-np.ones(classes), A_eq=each_row, b_eq=np.ones(m), bounds=(0, 1)
    )
    found = intra_domain_programming(x, centres)
    assert found.cost == pytest.approx(solved.fun, rel=1e-9)
    assert found.forced == (0 if far == 0 else (found.label != nearest_centre(x, centres)).sum().item())
    assert (found.forced > 0) == (far > 0)


def test_rows_that_fill_no_empty_class_keep_their_nearest_centre():
    x, centres = rows(50, 2, 3), spread_centres(4, 4, 1)
    found = intra_domain_programming(x, centres)
    assert (found.label != nearest_centre(x, centres)).sum() == found.forced == 1


def test_centres_are_weighted_means_and_an_absent_class_takes_no_part():
    source, target = two_domains()
    centres = class_centres(source.x, source.label, CLASSES + 1)
    torch.testing.assert_close(centres[1], source.x[source.label == 1].mean(0))
    assert centres[CLASSES].isnan().all()
    assert intra_domain_programming(target.x, centres).label.max() == CLASSES - 1
    weight = torch.arange(1, len(source.x) + 1, dtype=torch.float64)
    one = source.label == 1
    expected = (weight[one, None] * source.x[one]).sum(0) / weight[one].sum()
    torch.testing.assert_close(class_centres(source.x, source.label, CLASSES, weight)[1], expected)


def test_fewer_rows_than_classes_is_an_error():
    with pytest.raises(ValueError, match="2 target row"):
        intra_domain_programming(rows(2, 2, 0), rows(3, 2, 1))
