"""Validators against closed forms, plain loops, and domains whose density ratio is known."""

import math
import warnings

import numpy as np
import pytest
import torch

from tl_research.evaluation.validators import (
    class_cluster_agreement,
    class_correlation,
    control_variate_risk,
    deep_embedded_validation,
    density_ratio,
    importance_weighted_risk,
    importance_weighted_validation,
    information_maximization,
    mixtures,
    mixval,
    nearest_source_accuracy,
    negative_entropy,
    negative_mmd,
    nuclear_norm,
    partners,
    reverse_validation,
    soft_neighborhood_density,
)


def estimate(validator, source, target, val, loss):
    return validator(loss, density_ratio(source, target, val))


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_information_maximization_limits():
    one_hot = 200 * torch.eye(4).repeat(3, 1)
    assert information_maximization(one_hot) == pytest.approx(math.log(4))  # confident and balanced
    assert information_maximization(torch.zeros(5, 4)) == pytest.approx(0, abs=1e-12)  # unsure
    assert information_maximization(one_hot[:1].repeat(9, 1)) == pytest.approx(0, abs=1e-12)  # collapsed


def test_information_maximization_by_a_loop():
    logits = normal(20, 3)
    p = torch.softmax(logits.double(), 1).tolist()

    def entropy(q):
        return -sum(value * math.log(value) for value in q)

    mean = [sum(row[c] for row in p) / 20 for c in range(3)]
    expected = entropy(mean) - sum(entropy(row) for row in p) / 20
    assert information_maximization(logits) == pytest.approx(expected, rel=1e-12)


def test_soft_neighborhood_density_by_a_loop():
    logits = normal(15, 3, seed=1)
    f = torch.softmax(logits.double(), 1)
    f = (f / f.norm(dim=1, keepdim=True)).numpy()
    entropies = []
    for i in range(15):
        e = np.array([math.exp(f[i] @ f[j] / 0.05) for j in range(15) if j != i])
        q = e / e.sum()
        entropies.append(-(q * np.log(q)).sum())
    assert soft_neighborhood_density(logits) == pytest.approx(np.mean(entropies), rel=1e-10)
    assert soft_neighborhood_density(torch.zeros(8, 3)) == pytest.approx(math.log(7))
    assert soft_neighborhood_density(logits, max_rows=6) == soft_neighborhood_density(logits, max_rows=6)
    assert soft_neighborhood_density(torch.zeros(1, 3)) is None


def test_eta_by_hand():
    loss, weight = np.array([1.0, 2.0, 4.0]), np.array([0.5, 1.0, 3.0])
    weighted = [0.5, 2.0, 12.0]
    mean_l, mean_w = 14.5 / 3, 4.5 / 3
    covariance = sum((a - mean_l) * (b - mean_w) for a, b in zip(weighted, weight)) / 2
    variance = sum((b - mean_w) ** 2 for b in weight) / 2
    eta = -covariance / variance
    assert control_variate_risk(loss, weight) == pytest.approx(mean_l + eta * mean_w - eta)
    assert importance_weighted_risk(loss, weight) == pytest.approx(mean_l)


def test_constant_weights_and_a_single_row_leave_the_weighted_mean():
    loss = np.random.default_rng(0).exponential(size=1001)
    assert control_variate_risk(loss, np.full(1001, 0.1)) == pytest.approx(0.1 * loss.mean())
    assert control_variate_risk(loss[:1], np.array([2.0])) == pytest.approx(2 * loss[0])


def test_constant_loss_is_estimated_without_error():
    """With l = c the control variate removes all of the weights' variance."""
    weight = np.random.default_rng(0).lognormal(size=50)
    assert control_variate_risk(np.full(50, 3.0), weight) == pytest.approx(3.0, rel=1e-12)
    assert abs(importance_weighted_risk(np.full(50, 3.0), weight) - 3.0) > 0.05


def test_unbiased_with_less_variance_than_iwcv_under_the_true_ratio():
    """Source N(0,1), target N(m,1): w = exp(m x - m²/2). With loss x² the target risk is 1 + m²."""
    m, draws, n = 0.5, 800, 400
    rng = np.random.default_rng(0)
    x = rng.normal(size=(draws, n))
    weight = np.exp(m * x - m**2 / 2)
    iwcv = np.array([importance_weighted_risk(a**2, b) for a, b in zip(x, weight)])
    dev = np.array([control_variate_risk(a**2, b) for a, b in zip(x, weight)])
    truth = 1 + m**2
    assert abs(iwcv.mean() - truth) < 3 * iwcv.std() / math.sqrt(draws)
    # estimating eta costs a bias of order 1/n, far below one draw's spread
    assert abs(dev.mean() - truth) < 3 * dev.std() / math.sqrt(draws) + 5 / n
    assert dev.std() < 0.9 * iwcv.std()
    assert abs(np.mean(x**2) - truth) > 20 * dev.std() / math.sqrt(draws)  # the unweighted risk is far off


def test_density_ratio_of_two_gaussians():
    """Equal covariances make the log ratio linear, so that logistic regression can find it."""
    mean = torch.tensor([0.8, 0.0, -0.4])
    source, target, at = normal(2000, 3), normal(3000, 3, seed=1) + mean, normal(500, 3, seed=2)
    estimate = np.log(density_ratio(source, target, at, max_rows=5000))
    truth = (at @ mean - mean @ mean / 2).numpy()
    assert np.abs(estimate - truth).mean() < 0.1
    # unequal row counts are divided out again: a source row weighs 1 on average
    assert density_ratio(source, target, source, max_rows=5000).mean() == pytest.approx(1, abs=0.1)


def test_density_ratio_does_not_depend_on_units_and_is_repeatable():
    source, target, at = normal(300, 4), normal(400, 4, seed=1) + 0.3, normal(50, 4, seed=2)
    scale, offset = torch.tensor([1.0, 100.0, 0.01, 1.0]), torch.tensor([0.0, 50.0, 0.0, -7.0])
    plain = density_ratio(source, target, at, max_rows=200)
    moved = density_ratio(*(rows * scale + offset for rows in (source, target, at)), max_rows=200)
    np.testing.assert_allclose(moved, plain, rtol=1e-2)
    np.testing.assert_array_equal(plain, density_ratio(source, target, at, max_rows=200))
    assert not np.allclose(plain, density_ratio(source, target, at, max_rows=200, seed=1), rtol=1e-3)


def test_density_ratio_of_one_distribution_is_one():
    rows, other = normal(2000, 5), normal(2000, 5, seed=1)
    assert np.abs(density_ratio(rows, other, normal(200, 5, seed=2)) - 1).mean() < 0.15


@pytest.mark.parametrize("validator", [deep_embedded_validation, importance_weighted_validation])
def test_validators_estimate_the_target_risk_and_prefer_the_better_model(validator):
    mean = 0.7
    source, target, val = normal(2000, 2), normal(2000, 2, seed=1) + mean, normal(4000, 2, seed=2)
    # model a is bad where the target lies, model b where the source lies
    bad_on_target, bad_on_source = torch.sigmoid(3 * val[:, 0]), torch.sigmoid(-3 * val[:, 0])
    a, b = (estimate(validator, source, target, val, loss) for loss in (bad_on_target, bad_on_source))
    at_target = torch.sigmoid(3 * target[:, 0]).mean().item()
    assert -a == pytest.approx(at_target, abs=0.06)
    assert -b == pytest.approx(1 - at_target, abs=0.06)
    assert b > a + 0.2


def test_domains_too_far_apart_have_no_value():
    source, target = normal(50, 2), normal(50, 2, seed=1) + 5
    val = torch.cat([normal(20, 2, seed=2), torch.full((1, 2), 1e9)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert estimate(deep_embedded_validation, source, target, val, torch.ones(21)) is None
        assert estimate(importance_weighted_validation, source, target, val, torch.ones(21)) is None


def test_bad_input_is_refused():
    good, nan = normal(10, 2), torch.full((10, 2), math.nan)
    with pytest.raises(ValueError, match="target_logits: nan in row 0, column 0"):
        information_maximization(nan)
    with pytest.raises(ValueError, match="target_features: nan"):
        density_ratio(good, nan, good)
    with pytest.raises(ValueError, match="val_loss: inf in row 3"):
        deep_embedded_validation(torch.tensor([1.0] * 3 + [math.inf] + [1.0] * 6), np.ones(10))
    with pytest.raises(ValueError, match="got 9 values for 10 weights"):
        deep_embedded_validation(torch.ones(9), np.ones(10))
    with pytest.raises(ValueError, match="unequal width"):
        density_ratio(good, normal(10, 3), good)
    with pytest.raises(ValueError, match="wants rows and columns"):
        information_maximization(torch.zeros(0, 2))


SURE = 200 * torch.eye(4).repeat(6, 1)


def test_outputs_of_sure_unsure_and_collapsed_models():
    unsure, collapsed = torch.zeros(24, 4), SURE[:1].repeat(24, 1)
    assert negative_entropy(SURE) == pytest.approx(0) == negative_entropy(collapsed)
    assert negative_entropy(unsure) == pytest.approx(-math.log(4))
    # All singular values are equal, or there is one of sqrt(n).
    assert nuclear_norm(SURE) == pytest.approx(1)
    assert nuclear_norm(collapsed) == pytest.approx(1 / 2)
    assert nuclear_norm(unsure) == pytest.approx(1 / 4)
    assert class_correlation(SURE) == pytest.approx(1) == class_correlation(collapsed)
    # C is 1/16 everywhere, the mean is 1/4 everywhere.
    assert class_correlation(unsure) == pytest.approx(1 / 2)


def test_nuclear_norm_and_class_correlation_by_a_loop():
    p = torch.softmax(normal(20, 3).double(), 1).numpy()
    values = np.sqrt(np.linalg.eigvalsh(sum(np.outer(row, row) for row in p)))
    assert nuclear_norm(normal(20, 3)) == pytest.approx(values.sum() / math.sqrt(20 * 3), rel=1e-10)
    c = sum(np.outer(row, row) for row in p) / 20
    inner = sum(c[k, k] * p[:, k].mean() for k in range(3))
    lengths = math.sqrt((c**2).sum()) * math.sqrt(sum(p[:, k].mean() ** 2 for k in range(3)))
    assert class_correlation(normal(20, 3)) == pytest.approx(inner / lengths, rel=1e-10)


def test_mmd_is_null_where_domains_are_one_and_blind_to_scale():
    source, same, moved = normal(400, 3), normal(400, 3, seed=1), normal(400, 3, seed=2) + 1
    assert abs(negative_mmd(source, same)) < 0.1 * abs(negative_mmd(source, moved))
    assert negative_mmd(source, moved) < 0
    assert negative_mmd(0.01 * source, 0.01 * moved) == pytest.approx(negative_mmd(source, moved), rel=1e-4)


def blobs(rows: int, seed: int, shift: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of two classes, 4 apart along the first of three columns."""
    label = torch.arange(rows) % 2
    features = normal(rows, 3, seed=seed) * 0.5 + shift
    features[:, 0] += 4 * label.float() - 2
    return features, label


def test_clusters_agree_with_classes_that_follow_them():
    features, label = blobs(300, 0)
    right, shuffled = 9.0 * torch.eye(2)[label], 9.0 * torch.eye(2)[label[torch.randperm(300)]]
    assert class_cluster_agreement(features, right) > 0.95
    assert abs(class_cluster_agreement(features, shuffled)) < 0.05


def test_nearest_source_rows_are_those_that_count():
    source = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    logits, label = torch.tensor([[2.0, 0.0], [2.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 1, 1])  # the second is wrong
    target = torch.tensor([[5.0, 0.1], [0.1, 3.0], [0.2, 9.0], [-2.0, 0.3]])
    assert nearest_source_accuracy(source, logits, label, target) == pytest.approx(0.5)


def test_reverse_validation_of_right_swapped_and_constant_predictions():
    (target, predicted), (source, label) = blobs(200, 0, shift=0.2), blobs(100, 1)
    right = 9.0 * torch.eye(2)[predicted]
    assert reverse_validation(target, right, source, label) > 0.98
    assert reverse_validation(target, -right, source, label) < 0.02
    assert reverse_validation(target, torch.tensor([[1.0, 0.0]]).repeat(200, 1), source, label) == pytest.approx(0.5)


def test_partners_are_a_permutation_without_fixed_rows():
    for count in (2, 3, 50):
        found = partners(count)
        assert sorted(found) == list(range(count))
        assert (found != np.arange(count)).all()
    images = torch.randint(0, 256, (6, 4, 4, 3), dtype=torch.uint8)
    expected = 0.55 * images.double() + 0.45 * images.double()[torch.from_numpy(partners(6))]
    torch.testing.assert_close(mixtures(images).double(), expected, atol=1e-4, rtol=0)


def test_mixval_is_the_mean_of_pairs_alike_and_pairs_apart():
    logits = torch.tensor([[1.0, 0.0]] * 3 + [[0.0, 1.0]] * 3)
    alike = np.array([i // 3 == j // 3 for i, j in enumerate(partners(6))])
    kept = logits.clone()
    kept[np.flatnonzero(~alike)[0]] = 1 - kept[np.flatnonzero(~alike)[0]]
    assert mixval(logits, logits) == 1
    assert mixval(logits, kept) == pytest.approx((1 + 1 - 1 / (~alike).sum()) / 2)
    assert mixval(logits[:3], logits[:3]) == 1  # all pairs are alike


def test_mixval_prefers_a_boundary_between_clusters():
    features, _ = blobs(400, 3)
    between, through = ((lambda x, at=at: torch.stack([at - x[:, 0], x[:, 0] - at], 1)) for at in (0.0, 2.0))
    scores = [mixval(model(features), model(mixtures(features))) for model in (between, through)]
    assert scores[0] > scores[1] + 0.05


def test_features_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="unequal width: 2 and 3"):
        negative_mmd(normal(10, 2), normal(10, 3))
    with pytest.raises(ValueError, match="features of 10 rows and logits of 9"):
        class_cluster_agreement(normal(10, 2), normal(9, 2))
    with pytest.raises(ValueError, match="shape"):
        mixval(normal(10, 2), normal(10, 3))
