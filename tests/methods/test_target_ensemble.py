"""`target_ensemble`: linear models by folds, networks on what they leave over, and the share of the networks."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from scipy.special import softmax
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score

from tl_research.config import compose
from tl_research.data.matrix import as_matrix
from tl_research.data.paired import PairedDataModule
from tl_research.methods.baseline import target_ensemble
from tl_research.methods.baseline.target_ensemble import PENALTIES, TargetEnsemble
from tl_research.methods.build import build_method
from tl_research.methods.step import Encoded
from tl_research.portfolio.crossfit import FOLDS
from tl_research.runs.experiment import run


def configuration(output, *words: str):
    tree = {
        "data": {"name": "simulated_market", "task": "regression", "n_source": 300, "n_target": 600, "noise": 2.0,
                 "setting": "few_shot", "shots": 50},
        "method": {"name": "target_ensemble"},
        "encoder": {"name": "mlp", "hidden": [16]},
        "trainer": {"max_epochs": 3, "accelerator": "cpu"},
        "wandb": {"mode": "disabled"},
        "output": str(output),
    }  # fmt: skip
    return compose(tree, list(words))


@pytest.fixture
def prepared(tmp_path):
    """A method that is prepared and not trained, and its data."""
    config = configuration(tmp_path)
    data = PairedDataModule(OmegaConf.to_object(config.data), seed=0)
    data.setup()
    method = build_method(config, data.spec, data.outcome)
    method.prepare(data.sides["source"], data.sides["target"], data.sides["target_labeled"])
    return method, data


def test_before_the_first_step_it_is_the_mean_of_ridges_without_each_fold(prepared):
    """An independent loop in float64 over folds and penalties, weighed by the likelihood on unseen rows."""
    method, data = prepared
    shown = data.sides["target_labeled"]
    x, y = as_matrix(shown.inputs, data.spec).double().numpy(), shown.label.double().numpy()
    fold = method.folds.of_row[shown.index].numpy()
    assert sorted(np.bincount(fold)) == [8] * 5
    low, high = zip(*(_bounds(y[fold != k]) for k in range(FOLDS)), strict=True)
    fits = [[Ridge(p).fit(x[fold != k], y[fold != k]) for p in PENALTIES] for k in range(FOLDS)]
    unseen = np.zeros(len(PENALTIES))
    for k in range(FOLDS):
        for place, fitted in enumerate(fits[k]):
            said = fitted.predict(x[fold == k]).clip(low[k], high[k])
            unseen[place] += ((said - y[fold == k]) ** 2).sum()
    weight = softmax(-len(y) / 2 * np.log(unseen) / 4)
    np.testing.assert_allclose(method.penalty_weight.numpy(), weight, rtol=1e-4)
    rows = data.sides["target"]
    w = as_matrix(rows.inputs, data.spec).double().numpy()
    each = [sum(q * f.predict(w).clip(low[k], high[k]) for q, f in zip(weight, fits[k], strict=True))
            for k in range(FOLDS)]  # fmt: skip
    method.eval()
    np.testing.assert_allclose(method(rows.inputs)[1][:, 0].detach().numpy(), np.mean(each, axis=0), atol=1e-4)


def _bounds(y: np.ndarray) -> tuple[float, float]:
    half = (y.max() - y.min()) / 2
    return y.min() - half, y.max() + half


def test_a_network_has_no_gradient_from_the_rows_of_its_fold(prepared):
    method, data = prepared
    shown = data.sides["target_labeled"]
    for head in (method.head, *(other["head"] for other in method.others)):
        torch.nn.init.normal_(head.weight)  # else the encoders have no gradient from any row
    for k in range(FOLDS):
        rows = shown.map(lambda part, k=k: part[method.folds.of_row[shown.index] == k])
        method.zero_grad()
        method.train()
        method.task_loss(method.encode(rows)).backward()
        networks = [torch.nn.ModuleList([method.encoder, method.head]), *method.others]
        moved = [any(p.grad is not None and p.grad.abs().sum() > 0 for p in part.parameters()) for part in networks]
        assert moved == [number != k for number in range(FOLDS)]


@pytest.mark.parametrize(("held", "share"), [(1.0, 1.0), (0.5, 1.0), (2.0, 0.5), (-1.0, 0.0)])
def test_the_share_is_the_best_on_rows_that_the_network_has_not_seen(prepared, held, share):
    """On unseen rows the network says `held` times what is left over; what it says of its own rows does not count."""
    method, data = prepared
    shown = data.sides["target_labeled"]
    linear = torch.zeros(len(shown.label), FOLDS, 1)
    left_over = shown.label.float()[:, None, None].expand(-1, FOLDS, 1)
    unseen = method.folds.of_row[shown.index][:, None, None] == torch.arange(FOLDS)[None, :, None]
    network = torch.where(unseen, held * left_over, left_over if share == 0 else -left_over)
    outputs = torch.stack([linear, network], dim=1).flatten(1)
    method.after_step(SimpleNamespace(labeled=Encoded(outputs, outputs, *shown[1:])))
    assert float(method.share) == pytest.approx(share)


def test_on_a_linear_truth_it_is_as_good_as_ridge_and_never_much_below_the_mean(tmp_path):
    of_ridge, of_networks = [], []
    for seed in range(5):
        config = configuration(tmp_path, f"seed={seed}", f"data.data_seed={seed}", "optimizer.lr=0.01")
        data = PairedDataModule(OmegaConf.to_object(config.data), seed=seed)
        data.setup()
        shown, test = data.sides["target_labeled"], data.release_evaluation()["target_test"]
        x, w = (as_matrix(rows.inputs, data.spec).double().numpy() for rows in (shown, test))
        fitted = Ridge(1.0).fit(x, shown.label.double().numpy())
        of_ridge.append(r2_score(data.outcome.scaled(test.label).numpy(), fitted.predict(w)))
        of_networks.append(run(config).metrics["last"]["target_test/r2"])
    assert np.mean(of_networks) > np.mean(of_ridge) - 0.05
    assert min(of_networks) > -0.1


def test_it_takes_classes(tmp_path):
    config = configuration(tmp_path, "data.task=class", "data.noise=0.3", "data.shots=20")
    assert run(config).metrics["last"]["target_test/accuracy"] > 0.7


def test_of_too_many_columns_the_linear_model_is_a_constant(prepared, monkeypatch):
    monkeypatch.setattr(target_ensemble, "MOST_COLUMNS", 3)
    _, data = prepared
    method = build_method(configuration("."), data.spec, data.outcome)
    method.prepare(data.sides["source"], data.sides["target"], data.sides["target_labeled"])
    said = method.eval()(data.sides["target"].inputs)[1]
    label = data.sides["target_labeled"].label
    said = said.detach()
    assert float(said.std()) < 1e-6
    assert float(said.mean()) == pytest.approx(float(label.mean()), abs=1e-4)


def test_it_is_not_split_over_processes():
    assert "before the first step" in TargetEnsemble.needs_whole_weights()
