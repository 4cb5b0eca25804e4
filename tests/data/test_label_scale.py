"""Numbers as labels: drawn, hidden and standardised by what training may see, and by nothing else."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from tl_research.config import compose
from tl_research.data.domain import Domain
from tl_research.data.paired import PairedDataModule
from tl_research.data.splits import draw_shots, split_rows
from tl_research.errors import DataError
from tl_research.outcomes import NumberOutcome, outcome_from
from tl_research.registry import DATASETS


def amounts(rows=200, missing=0, seed=0) -> Domain:
    rng = np.random.default_rng(seed)
    label = rng.normal(50, 7, rows)
    label[:missing] = np.nan
    return Domain("shop", rng.normal(size=(rows, 3)), label, ())


def module(*overrides: str, change=None, monkeypatch=None) -> PairedDataModule:
    config = compose(
        {"data": {"name": "simulated_market", "task": "regression", "n_source": 200, "n_target": 200}}, overrides
    )
    if change is not None:
        entry = DATASETS.get("simulated_market")
        load = entry.target

        def changed(settings, names):
            domains = load(settings, names)
            change(domains["new_market"])
            return domains

        changed.files = []
        monkeypatch.setitem(DATASETS._entries, "simulated_market", dataclasses.replace(entry, target=changed))
    data = PairedDataModule(OmegaConf.to_object(config.data), seed=0)
    data.setup()
    return data


def test_the_scale_is_that_of_all_labels_it_is_given_and_is_undone():
    parts = [torch.tensor([1.0, 2.0]), torch.tensor([6.0], dtype=torch.float64)]
    scale = NumberOutcome.fit(parts)
    assert scale.mean == pytest.approx(3.0)
    assert scale.std == pytest.approx(np.std([1, 2, 6]))
    y = torch.tensor([7.0, float("nan")])
    assert scale.restored(scale.scaled(y))[0].item() == pytest.approx(7.0)
    assert scale.scaled(y)[1].isnan()
    assert outcome_from(scale.state_dict()) == scale
    for labels in ([torch.tensor([3.0, 3.0])], [torch.zeros(0)]):
        with pytest.raises(DataError, match=r"data\.label: every label .* nothing to regress on"):
            NumberOutcome.fit(labels)


def test_sides_are_standardised_by_visible_labels_and_evaluation_is_not():
    data = module("data.setting=few_shot", "data.shots=20")
    source, labeled = data.sides["source"].label, data.sides["target_labeled"].label
    assert source.dtype == torch.float32
    both = torch.cat([source, labeled]).double()
    assert both.mean().abs() < 1e-5
    assert both.std(correction=0).item() == pytest.approx(1.0, abs=1e-5)
    assert data.sides["target"].label.isnan().all()
    assert len(labeled) == 16
    config = data.config
    domains = DATASETS.get("simulated_market").target(config, ["new_market"])
    rows = split_rows(domains["new_market"], seed=0, val_fraction=0.0, test_fraction=config.test_fraction)
    test = data.release_evaluation()["target_test"]
    np.testing.assert_array_equal(test.label.numpy(), domains["new_market"].label[rows.test])
    assert data.facts["label"] == {"mean": data.outcome.mean, "std": data.outcome.std}
    assert data.facts["target_labels_used"] == 20


def test_labels_that_training_may_not_see_move_nothing(monkeypatch):
    """Every target label but the shown ones is multiplied by a million: nothing that training sees changes."""
    few = ("data.setting=few_shot", "data.shots=10")
    before = module(*few)
    rows = DATASETS.get("simulated_market").target(before.config, ["new_market"])["new_market"]
    pool = split_rows(rows, seed=0, val_fraction=0.0, test_fraction=0.25)
    shown = draw_shots(rows, pool.train, 10, seed=0).train

    def change(domain):
        hidden = np.setdiff1d(np.arange(len(domain)), shown)
        domain.label[hidden] *= 1e6

    after = module(*few, change=change, monkeypatch=monkeypatch)
    assert after.outcome == before.outcome
    for side in before.sides:
        torch.testing.assert_close(after.sides[side].label, before.sides[side].label, equal_nan=True)
    assert after.release_evaluation()["target_test"].label.std() > 1e5


def test_rows_without_a_number_train_unlabelled_and_are_never_measured(monkeypatch):
    def change(domain):
        domain.label[:120] = np.nan

    data = module("data.setting=supervised", change=change, monkeypatch=monkeypatch)
    assert data.sides["target"].size == 120 + data.sides["target_labeled"].size
    assert data.sides["target_labeled"].label.isfinite().all()
    assert all(split.label.isfinite().all() for split in data.release_evaluation().values())


@pytest.mark.parametrize(("shots", "trains", "validates"), [(1, 1, 0), (4, 4, 0), (5, 4, 1), (20, 16, 4), (0.1, 12, 3)])
def test_shots_of_a_regression_are_labels_in_all(shots, trains, validates):
    shop = amounts(rows=200, missing=30)
    shown = draw_shots(shop, np.arange(180), shots, seed=0)
    assert (len(shown.train), len(shown.val)) == (trains, validates)
    drawn = np.concatenate([shown.train, shown.val])
    assert shop.has_label[drawn].all()
    assert len(set(drawn)) == len(drawn)


def test_larger_budgets_of_numbers_contain_the_smaller_and_do_not_depend_on_them():
    shop, pool = amounts(), np.arange(150)
    drawn = [set(np.concatenate([*vars(draw_shots(shop, pool, k, seed=2)).values()])) for k in (1, 5, 10, 40)]
    assert all(small < large for small, large in pairwise(drawn))
    other = amounts()
    other.label = -other.label
    assert drawn[2] == set(np.concatenate([*vars(draw_shots(other, pool, 10, seed=2)).values()]))
    with pytest.raises(DataError, match=r"data\.shots: 151 labels are wanted, but 'shop' has 150 such"):
        draw_shots(shop, pool, 151, seed=0)


def test_a_domain_is_of_numbers_or_of_classes():
    x = np.zeros((3, 1))
    with pytest.raises(DataError, match="labels that are numbers and classes"):
        Domain("shop", x, np.array([0.0, 1.0, 1.0]), ("no", "yes"))
    with pytest.raises(DataError, match="class indices and no classes"):
        Domain("shop", x, np.array([0, 1, 1]), ())
    with pytest.raises(DataError, match=r"row 2: the label inf is not finite"):
        Domain("shop", x, np.array([0.0, np.inf, 1.0]), ())
