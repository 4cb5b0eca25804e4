import numpy as np
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingClassifier

from tl_research.errors import ConfigError, DataError
from tl_research.heads.boosting import Boosting, PooledBinsClassifier, TransferBoosting
from tl_research.heads.tree_tensors import from_scikit_learn


def rows(n=400, classes=3, seed=0, missing=0.1, shift=0.0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 5, generator=generator)
    score = x[:, 0] + x[:, 1] * x[:, 2] + shift * x[:, 3] + 0.3 * torch.randn(n, generator=generator)
    edges = torch.linspace(-0.7, 0.7, classes - 1) if classes > 2 else torch.zeros(1)
    label = torch.bucketize(score, edges)
    x[torch.rand(n, 5, generator=generator) < missing] = float("nan")
    return x.to(dtype), label


def reference(head, x, label, weight=None, seed=0):
    sample_weight = None if weight is None else weight.numpy()
    return head.estimator(seed).fit(x.double().numpy(), label.numpy(), sample_weight=sample_weight)


@pytest.mark.parametrize("classes", [2, 3, 4])
@pytest.mark.parametrize("missing", [0.0, 0.2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scores_are_those_of_scikit_learn(classes, missing, dtype):
    x, label = rows(classes=classes, missing=missing, dtype=dtype)
    new, _ = rows(200, classes, seed=1, missing=0.3, dtype=dtype)  # missing values that training had none of, too
    head = Boosting(iterations=20)
    head.fit(x, label, None, classes=classes, seed=0)
    model = reference(head, x, label)
    for part in (x, new):
        expected = model.decision_function(part.double().numpy())
        np.testing.assert_allclose(head.raw(part).squeeze(1).numpy(), expected, rtol=0, atol=1e-9)
        probability = head(part.double()).softmax(dim=1).numpy()
        np.testing.assert_allclose(probability, model.predict_proba(part.double().numpy()), rtol=0, atol=1e-6)
    assert head(new).dtype == dtype


def test_a_value_on_the_threshold_goes_left():
    x = torch.tensor([[0.0], [1.0]]).repeat(50, 1)
    head = Boosting(iterations=1)
    head.fit(x, x[:, 0].long(), None, classes=2, seed=0)
    model = reference(head, x, x[:, 0].long())
    threshold = model._predictors[0][0].nodes["num_threshold"][0]
    probe = torch.tensor([[threshold], [np.nextafter(threshold, 2)], [float("inf")], [-float("inf")]]).double()
    np.testing.assert_allclose(head.raw(probe)[:, 0].numpy(), model.decision_function(probe.numpy()), atol=1e-12)
    assert head.raw(probe)[0] < head.raw(probe)[1]


def test_weights_are_used():
    x, label = rows()
    weight = torch.rand(len(x), generator=torch.Generator().manual_seed(2))
    head = Boosting(iterations=10)
    head.fit(x, label, weight, classes=3, seed=0)
    model = reference(head, x, label, weight)
    np.testing.assert_allclose(head.raw(x).numpy(), model.decision_function(x.double().numpy()), atol=1e-9)
    assert not np.allclose(head.raw(x).numpy(), reference(head, x, label).decision_function(x.double().numpy()))


@pytest.mark.parametrize("present", [[0, 2], [1, 2, 4], [3]])
def test_a_class_without_rows_is_never_predicted(present):
    x, label = rows(classes=max(2, len(present)))
    label = torch.tensor(present)[label % len(present)]
    head = Boosting(iterations=5)
    head.fit(x, label, None, classes=5, seed=0)
    logits = head(x)
    assert logits.shape == (len(x), 5)
    assert set(logits.argmax(dim=1).tolist()) <= set(present)
    assert bool(torch.isfinite(logits.log_softmax(dim=1)).all())


@pytest.mark.parametrize("classes", [2, 3])
def test_the_state_goes_into_an_unfitted_head_without_pickle(classes, tmp_path):
    x, label = rows(classes=classes)
    head = Boosting(iterations=5)
    head.fit(x, label, None, classes=classes, seed=0)
    torch.save(head.state_dict(), tmp_path / "state")
    other = Boosting()
    other.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    assert torch.equal(other(x), head(x))


def test_trees_of_one_leaf_and_no_rows():
    x, label = rows(30)  # fewer rows than two leaves need
    head = Boosting(iterations=3, min_rows=20)
    head.fit(x, label, None, classes=3, seed=0)
    assert int(head.depth) == 0
    np.testing.assert_allclose(
        head.raw(x).numpy(), reference(head, x, label).decision_function(x.double().numpy()), atol=1e-12
    )
    assert head(x[:0]).shape == (0, 3)


def test_a_second_fit_forgets_the_first():
    x, label = rows(classes=2)
    head = Boosting(iterations=5)
    head.fit(*rows(), None, classes=3, seed=0)
    head.fit(x, label, None, classes=2, seed=0)
    fresh = Boosting(iterations=5)
    fresh.fit(x, label, None, classes=2, seed=0)
    assert torch.equal(head(x), fresh(x))
    head.fit(x, torch.zeros_like(label), None, classes=2, seed=0)
    assert set(head(x).argmax(dim=1).tolist()) == {0}


def test_splits_on_categories_are_refused():
    x = np.random.default_rng(0).integers(0, 5, (200, 1)).astype(float)
    model = HistGradientBoostingClassifier(categorical_features=[0], max_iter=2).fit(x, (x[:, 0] % 2).astype(int))
    with pytest.raises(ValueError, match="categories"):
        from_scikit_learn([tree.nodes for round_ in model._predictors for tree in round_])


class TestTransfer:
    def fitted(self, target, source=None, **options):
        head = TransferBoosting(**{"iterations": 30, "target_share": 0.0, **options})
        source = source or rows(800, 2, missing=0.0)
        head.fit_transfer(*source, None, *target, classes=2, seed=0)
        return head

    def test_no_rounds_on_the_target_is_the_sources_booster(self):
        """Thresholds differ only by the bins, which the pooled rows make."""
        source, target = rows(800, 2, missing=0.0), rows(60, 2, seed=1, missing=0.0)
        head = self.fitted(target, source, target_iterations=0)
        alone = Boosting(iterations=30, penalty=1.0)
        alone.fit(*source, None, classes=2, seed=0)
        agree = (head(source[0]).argmax(dim=1) == alone(source[0]).argmax(dim=1)).float().mean()
        assert float(agree) > 0.97
        assert len(head.value) == 30

    def test_the_source_trees_stay_and_labels_of_the_target_do_not_reach_them(self):
        target = rows(60, 2, seed=1, missing=0.0)
        before = self.fitted(target, target_iterations=0)
        after = self.fitted(target, target_iterations=10)
        flipped = self.fitted((target[0], 1 - target[1]), target_iterations=0)
        x = rows(100, 2, seed=2)[0]
        assert len(after.value) == 40
        nodes = min(before.value.shape[1], after.value.shape[1])
        assert torch.equal(after.value[:30, :nodes], before.value[:, :nodes])
        assert torch.equal(flipped(x), before(x))
        assert not torch.equal(after(x), before(x))

    def test_each_round_descends_the_loss_of_the_target(self):
        target = rows(150, 2, seed=1, missing=0.0, shift=2.0)
        losses = [
            float(
                torch.nn.functional.cross_entropy(
                    self.fitted(target, target_iterations=rounds)(target[0]).double(), target[1]
                )
            )
            for rounds in (0, 5, 20, 50)
        ]
        assert losses == sorted(losses, reverse=True)

    def test_it_beats_the_source_alone_and_the_target_alone(self):
        """The target adds a term to the source's rule; 150 labels are too few to learn both."""
        source = rows(3000, 2, missing=0.0)
        target, test = rows(150, 2, seed=1, missing=0.0, shift=1.0), rows(3000, 2, seed=2, missing=0.0, shift=1.0)

        def accuracy(head):
            return float((head(test[0]).argmax(dim=1) == test[1]).float().mean())

        alone = Boosting(iterations=30)
        alone.fit(*target, None, classes=2, seed=0)
        transferred = accuracy(self.fitted(target, source, target_iterations=100))
        source_only = accuracy(self.fitted(target, source, target_iterations=0))
        assert transferred > max(source_only, accuracy(alone)) + 0.02

    def test_a_target_class_that_the_source_has_not(self):
        x, label = rows(60, 2)
        with pytest.raises(DataError, match="class 2 has target labels but no source row"):
            self.fitted((x, label + 1))


@pytest.mark.parametrize("options", [{"iterations": 0}, {"lr": 0.0}, {"leaves": 1}, {"min_rows": 0}, {"penalty": -1.0}])
def test_bad_options_name_their_key(options):
    with pytest.raises(ConfigError, match=f"^{next(iter(options))}"):
        Boosting(**options)


def test_the_share_of_the_target_in_the_first_stage_is_a_weight():
    """A share of s is the pooled booster with weights of (1 - s) / n and s / k a row, up to a common factor."""
    source, target = rows(800, 2), rows(60, 2, seed=1)
    head = TransferBoosting(iterations=10, target_iterations=0, target_share=0.25)
    head.fit_transfer(*source, None, *target, classes=2, seed=0)
    pooled = Boosting(iterations=10, penalty=1.0)
    pooled.estimator_class = PooledBinsClassifier  # the bins by all rows alike
    weight = torch.cat([torch.ones(800), torch.full((60,), 800 / 3 / 60)]).double()
    x, label = torch.cat([source[0], target[0]]), torch.cat([source[1], target[1]])
    pooled.fit(x, label, weight, classes=2, seed=0)
    torch.testing.assert_close(head(x), pooled(x))
