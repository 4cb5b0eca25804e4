"""What each kind of outcome says of labels, losses, figures and files."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tl_research.metrics.classes import classification_metrics
from tl_research.metrics.hidden import HIDDEN
from tl_research.metrics.intervals import auroc_interval, number_interval, wilson
from tl_research.outcomes import ClassOutcome, NumberOutcome, Outcome, outcome_from, outcome_of
from tl_research.storage.checkpoints import load_model_file
from tl_research.storage.names import MODEL_FILE

CLASSES = ClassOutcome(("no", "yes"))
NUMBER = NumberOutcome(50.0, 7.0)


def rows(n=40, width=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, width, generator=generator), torch.randint(2, (n,), generator=generator)


def test_hidden_labels_say_nothing_and_are_not_known():
    for outcome, label in ((CLASSES, torch.tensor([0, 1])), (NUMBER, torch.tensor([1.5, 2.5]))):
        hidden = outcome.hide(label)
        assert (hidden.shape, hidden.dtype) == (label.shape, label.dtype)
        assert outcome.known(label).all()
        assert not outcome.known(hidden).any()
    assert (CLASSES.hide(torch.tensor([0, 1])) == HIDDEN).all()


@pytest.mark.parametrize(("outcome", "width"), [(CLASSES, 2), (NUMBER, 1)])
def test_gradients_of_rows_are_those_of_autograd(outcome, width):
    outputs, label = rows(width=width)
    label = outcome.scaled(label)
    with torch.no_grad():
        assert torch.allclose(outcome.row_gradients(outputs, label), Outcome.row_gradients(outcome, outputs, label))


def test_only_classes_have_places():
    label = torch.tensor([0, 1])
    assert CLASSES.class_places(label) is label
    assert NUMBER.class_places(label.double()) is None


def test_losses_are_cross_entropy_and_squared_standardised_error():
    outputs, label = rows()
    weight = torch.rand(40)
    assert torch.equal(CLASSES.loss(outputs, label), F.cross_entropy(outputs, label))
    each = F.cross_entropy(outputs, label, reduction="none")
    assert torch.equal(CLASSES.loss(outputs, label, weight), (weight * each).mean())
    number = 50 + 7 * torch.randn(40)
    expected = (outputs[:, 0] - ((number.double() - 50) / 7).float()) ** 2
    torch.testing.assert_close(NUMBER.row_losses(outputs[:, :1], NUMBER.scaled(number)), expected)
    torch.testing.assert_close(NUMBER.loss(outputs[:, :1], NUMBER.scaled(number)), expected.mean())


def test_figures_are_in_the_unit_of_the_label():
    outputs, label = rows()
    assert CLASSES.metrics(outputs, label) == classification_metrics(outputs, label)
    number = 50 + 7 * torch.randn(40).double()
    perfect = NUMBER.scaled(number)[:, None]
    assert NUMBER.metrics(perfect, number)["mae"] == pytest.approx(0, abs=1e-12)
    assert NUMBER.metrics(perfect + 1, number)["rmse"] == pytest.approx(7)


def test_intervals_are_those_of_the_metric():
    outputs, label = rows()
    sizes = torch.bincount(label).tolist()
    assert CLASSES.interval("accuracy", 0.75, outputs, label) == wilson(30, 40)
    assert CLASSES.interval("auroc", 0.8, outputs, label) == auroc_interval(0.8, sizes[1], sizes[0])
    assert CLASSES.interval("ece", 0.1, outputs, label) is None
    number = torch.arange(40.0)
    values = NUMBER.values(outputs[:, :1])
    expected = number_interval("r2", values.numpy(), number.double().numpy())
    assert NUMBER.interval("r2", 0.0, outputs[:, :1], number) == expected


def test_the_metric_that_is_shown_and_the_one_that_selects_are_of_the_labels_kind():
    assert [CLASSES.shown_metric(own) for own in ("auroc", "r2")] == ["auroc", "accuracy"]
    assert [NUMBER.shown_metric(own) for own in ("auroc", "mae", "r2")] == ["r2", "mae", "r2"]
    assert [NUMBER.selection_metric(own) for own in ("auroc", "mae", "r2")] == ["rmse", "mae", "rmse"]
    assert CLASSES.selection_metric("auroc") == "auroc"


def test_columns_of_predictions():
    outputs = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    columns = CLASSES.columns(outputs)
    assert columns["prediction"].tolist() == ["no", "yes"]
    np.testing.assert_allclose(columns["p_no"] + columns["p_yes"], 1)
    assert NUMBER.columns(torch.tensor([[1.0], [-1.0]]))["prediction"].tolist() == [57.0, 43.0]


def test_an_outcome_comes_back_from_a_file_and_knows_whose_head_it_can_use():
    for outcome in (CLASSES, NUMBER):
        assert outcome_from(outcome.state_dict()) == outcome
        assert outcome.fits_head_of(outcome.state_dict())
    assert not CLASSES.fits_head_of(ClassOutcome(("yes", "no")).state_dict())
    assert not CLASSES.fits_head_of(NUMBER.state_dict())
    assert NUMBER.fits_head_of(NumberOutcome(0.0, 1.0).state_dict())


def test_the_names_of_classes_decide_what_is_predicted():
    assert outcome_of(["a", "b"], []) == ClassOutcome(("a", "b"))
    assert outcome_of((), [torch.tensor([1.0, 3.0])]) == NumberOutcome(2.0, 1.0)


@pytest.mark.parametrize("outcome", [CLASSES, NUMBER])
def test_a_model_file_of_before_there_were_outcomes_is_read(outcome, tmp_path):
    scale = {"mean": 50.0, "std": 7.0} if outcome is NUMBER else None
    old = {"format": 1, "epoch": 0, "model": {}, "config": {}, "transform": {}}
    torch.save(old | {"classes": list(outcome.names), "label_scale": scale}, tmp_path / MODEL_FILE)
    assert outcome_from(load_model_file(tmp_path)["outcome"]) == outcome
