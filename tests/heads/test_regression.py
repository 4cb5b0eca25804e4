import numpy as np
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.neighbors import KNeighborsRegressor

from tl_research.errors import ConfigError
from tl_research.heads.build import fitted_heads, make_head
from tl_research.heads.regression import BoostingRegression, TransferBoostingRegression


def rows(n=600, seed=0, offset=0.0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 4, generator=generator)
    y = x[:, 0] + x[:, 1] * x[:, 2] + 0.1 * torch.randn(n, generator=generator) + offset * x[:, 3]
    return x, y


def fitted(name, x, y, weight=None, **options):
    head = make_head(name, **{"neighbours": 3, "penalty": 2.0, **options}, of="regression")
    head.fit(x, y, weight, classes=1, seed=0)
    return head


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("ridge", Ridge(alpha=2.0)),
        ("boosting", HistGradientBoostingRegressor(l2_regularization=2.0, early_stopping=False, random_state=0)),
        ("nearest_neighbours", KNeighborsRegressor(3)),
    ],
)
def test_predictions_are_those_of_scikit_learn(name, model, weighted):
    x, y = rows()
    weight = torch.rand(len(y), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    weight = weight if weighted and name != "nearest_neighbours" else None
    head = fitted(name, x, y, weight)
    more = {} if weight is None else {"sample_weight": weight.numpy()}
    model.fit(x.double().numpy(), y.double().numpy(), **more)
    test = rows(seed=3)[0]
    expected = model.predict(test.double().numpy())
    assert head(test).shape == (len(test), 1)
    np.testing.assert_allclose(head(test)[:, 0].double().numpy(), expected, atol=2e-5)
    again = make_head(name, neighbours=3, penalty=2.0, of="regression")
    again.load_state_dict(head.state_dict())
    assert torch.equal(again(test), head(test))


def test_heads_of_classes_are_refused():
    for name in ("logistic", "linear_svm"):
        with pytest.raises(ConfigError, match=r"^head: .* for a label of kind regression"):
            make_head(name, neighbours=1, penalty=1.0, of="regression")
    assert set(fitted_heads(of="regression")) == {"nearest_neighbours", "ridge", "boosting", "forest"}


class TestTransfer:
    def made(self, source, target, **options):
        head = TransferBoostingRegression(**{"target_share": 0.0, **options})
        head.fit_transfer(*source, None, *target, classes=1, seed=0)
        return head

    def test_a_round_on_the_target_is_a_newton_step_from_the_heads_own_scores(self):
        """One leaf per side of one split: value = lr Σ residual / (rows + penalty), residual = y - F_S(x).

        This is what a second stage that reads the first one's trees with other bins gets wrong.
        """
        source, target = rows(2000), rows(80, seed=1, offset=1.0)
        options = {"leaves": 2, "min_rows": 1, "penalty": 0.5, "target_lr": 0.25}
        before = self.made(source, target, target_iterations=0, **options)
        after = self.made(source, target, target_iterations=1, **options)
        residual = (target[1] - before(target[0])[:, 0]).double()
        step = (after.raw(target[0]) - before.raw(target[0]))[:, 0].round(decimals=9)
        for value in step.unique():
            leaf = step == value
            expected = 0.25 * residual[leaf].sum() / (leaf.sum() + 0.5)
            assert value.item() == pytest.approx(expected.item(), rel=1e-4)
        assert len(step.unique()) == 2

    def test_it_beats_the_source_alone_and_the_target_alone(self):
        source, target = rows(3000), rows(150, seed=1, offset=1.0)
        x, y = rows(2000, seed=2, offset=1.0)
        scores = {"transfer": self.made(source, target, target_iterations=100)}
        scores["source"] = self.made(source, target, target_iterations=0)
        scores["target"] = BoostingRegression()
        scores["target"].fit(*target, None, classes=1, seed=0)
        r2 = {name: r2_score(y, head(x)[:, 0]) for name, head in scores.items()}
        assert r2["transfer"] > max(r2["source"], r2["target"]) + 0.05, r2
