"""Feature augmentation by the kernel that it stands for."""

import torch

from tests.alignment.domains import fitted, two_domains
from tl_research.alignment.feature_augmentation import FeatureAugmentation


def test_kernel_is_twice_within_a_domain_and_once_across():
    source, target = two_domains()
    alignment = fitted(FeatureAugmentation(), source, target)
    s, t = alignment.source(source.x), alignment.target(target.x)
    torch.testing.assert_close(s @ s.T, 2 * source.x @ source.x.T)
    torch.testing.assert_close(t @ t.T, 2 * target.x @ target.x.T)
    torch.testing.assert_close(s @ t.T, source.x @ target.x.T)


def test_columns_stand_in_the_papers_order():
    source, target = two_domains()
    alignment = fitted(FeatureAugmentation(), source, target)
    row = torch.tensor([[1.0, 2.0]])
    assert alignment.source(row).tolist() == [[1, 2, 1, 2, 0, 0]]
    assert alignment.target(row).tolist() == [[1, 2, 0, 0, 1, 2]]
