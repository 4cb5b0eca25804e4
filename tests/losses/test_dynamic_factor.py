"""The dynamic factor's limits, on errors and on rows with one kind of shift."""

import pytest
import torch

from tl_research.losses.dynamic_factor import a_distance, domain_error, dynamic_factor


def best_logit(x, source, target, width=0.4):
    """ln of the target's over the source's density at x, by Gaussian kernels: the best discriminator there is."""
    density = [torch.exp(-((x[:, None] - rows[None]) ** 2) / (2 * width**2)).mean(dim=1) for rows in (source, target)]
    return (density[1] + 1e-12).log() - (density[0] + 1e-12).log()


def measured(source, source_label, target, target_label):
    """The factor of the best discriminators of the domains and of each class."""
    ones = torch.ones_like
    whole = domain_error(
        best_logit(source, source, target), best_logit(target, source, target), ones(source), ones(target)
    )
    errors = []
    for label in (0, 1):
        s, t = source[source_label == label], target[target_label == label]
        errors.append(domain_error(best_logit(s, s, t), best_logit(t, s, t), ones(s), ones(t)))
    return dynamic_factor(whole, torch.stack(errors)).item()


def two_classes(rows, first, centres, seed):
    """Rows of two classes around their centres; `first` of them are of the first class."""
    label = (torch.arange(rows) >= first).long()
    noise = 0.5 * torch.randn(rows, generator=torch.Generator().manual_seed(seed))
    return torch.tensor(centres)[label] + noise, label


def test_limits_of_the_factor():
    chance, right = torch.tensor(0.5), torch.tensor(0.0)
    assert dynamic_factor(right, torch.tensor([0.5, 0.5])).item() == 0
    assert dynamic_factor(chance, torch.tensor([0.0, 0.2])).item() == 1
    assert dynamic_factor(chance, torch.tensor([0.5, 0.5])).item() == 0.5
    assert dynamic_factor(right, torch.tensor([0.0, 0.5])).item() == pytest.approx(1 / 3)
    assert a_distance(torch.tensor([0.0, 0.25, 0.5, 0.9])).tolist() == pytest.approx([2, 1, 0, 0])


def test_a_shift_of_class_shares_alone_weighs_the_domains():
    """The classes themselves are where they were: only the domains as a whole differ."""
    source, target = two_classes(4000, 3600, [-2.0, 2.0], 0), two_classes(4000, 400, [-2.0, 2.0], 1)
    assert measured(*source, *target) < 0.1


def test_classes_that_change_places_weigh_the_classes():
    """The domains as a whole are where they were."""
    source, target = two_classes(4000, 2000, [-2.0, 2.0], 2), two_classes(4000, 2000, [2.0, -2.0], 3)
    assert measured(*source, *target) > 0.9


def test_error_by_a_loop_with_weights():
    s, t = torch.tensor([-1.0, 2.0, -3.0]), torch.tensor([4.0, -1.0])
    w, v = torch.tensor([1.0, 3.0, 0.0]), torch.tensor([0.5, 0.5])
    assert domain_error(s, t, w, v).item() == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert domain_error(torch.zeros(3), torch.zeros(2), w, v).item() == 0.5
    assert domain_error(s, t, torch.zeros(3), v).item() == pytest.approx((1 / 2 + 1 / 2) / 2)
    both = domain_error(
        s[:, None].expand(3, 2), t[:, None].expand(2, 2), w[:, None].expand(3, 2), v[:, None].expand(2, 2)
    )
    assert both.tolist() == pytest.approx([0.625, 0.625])
