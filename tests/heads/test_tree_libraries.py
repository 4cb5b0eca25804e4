"""LightGBM and XGBoost as the booster of `boosting_transfer`: our trees give the library's own raw scores."""

import sys
from importlib import import_module

import numpy as np
import pytest
import torch

from tests.heads.test_boosting import rows
from tl_research.errors import ConfigError
from tl_research.heads import tree_libraries
from tl_research.heads.boosting import TransferBoosting
from tl_research.heads.regression import TransferBoostingRegression
from tl_research.heads.tree_dumps import _below

LIBRARIES = ("lightgbm", "xgboost")
NAN = float("nan")


@pytest.fixture(params=LIBRARIES)
def library(request):
    pytest.importorskip(request.param, reason="the extra [trees] is not installed")
    return request.param


@pytest.fixture
def models(library, monkeypatch):
    """The library's own boosters, in the order in which the head trained them."""
    module = import_module(library)
    made, train = [], module.train
    monkeypatch.setattr(module, "train", lambda *args, **more: made.append(train(*args, **more)) or made[-1])
    return made


def own_raw(library, model, x):
    if library == "lightgbm":
        return model.predict(x.double().numpy(), raw_score=True)
    return model.predict(import_module("xgboost").DMatrix(x.double().numpy()), output_margin=True)


def problem(kind, n, seed, **options):
    """Rows and labels: `kind` classes, or numbers far from 0 where it is 1."""
    if kind > 1:
        return rows(n, kind, seed, **options)
    x, _ = rows(n, 3, seed, **options)
    return x, 30 + 5 * x[:, :2].nan_to_num().sum(dim=1)


def head_of(kind, library, **options):
    made = TransferBoostingRegression if kind == 1 else TransferBoosting
    return made(library=library, **{"iterations": 12, "target_iterations": 8, "target_share": 0.2, **options})


def fitted(kind, library, *, missing=0.15, weight=None, seed=0, **options):
    head = head_of(kind, library, **options)
    source, target = problem(kind, 600, 0, missing=missing), problem(kind, 120, 1, missing=missing, shift=1.0)
    head.fit_transfer(*source, weight, *target, classes=max(1, kind), seed=seed)
    return head


@pytest.mark.parametrize("kind", [1, 2, 3])
@pytest.mark.parametrize("missing", [0.0, 0.15])  # 0: nan comes at predicting only
@pytest.mark.parametrize("target_iterations", [0, 8])
def test_raw_scores_are_the_librarys(library, models, kind, missing, target_iterations):
    head = fitted(kind, library, missing=missing, target_iterations=target_iterations)
    assert len(models) == (2 if target_iterations else 1)
    assert len(head.value) == (12 + target_iterations) * (kind if kind > 2 else 1)
    train, _ = problem(kind, 600, 0, missing=missing)
    new, _ = problem(kind, 300, 5, missing=0.4)
    edge = head.threshold[head.left != head.right][:50].float()  # at the edges of float32
    probe = torch.cat([edge, torch.nextafter(edge, edge + 1), torch.nextafter(edge, edge - 1)])
    zeros = torch.tensor([0.0, 1e-35, -1e-35, 1.1e-35, -1.1e-35, -1e-38])
    probe = torch.cat([probe, zeros, torch.tensor([NAN])])[:, None].expand(-1, 5)
    for x in (train, new, probe):
        expected = own_raw(library, models[-1], x).reshape(len(x), -1)
        np.testing.assert_allclose(
            head.raw(x).numpy(), expected, rtol=1e-6, atol=1e-12 if library == "lightgbm" else 2e-6
        )


def test_float64_rows_are_read_as_the_library_reads_them(library, models):
    head = fitted(2, library)
    edge = head.threshold[head.left != head.right]
    off = torch.tensor([0.0, 1e-16, -1e-16, 1e-9, -1e-9, 3e-8, -3e-8, 1e-7, -1e-7], dtype=torch.float64)
    x = (edge[:, None] * (1 + off)).reshape(-1, 1).expand(-1, 5)
    np.testing.assert_allclose(head.raw(x)[:, 0].numpy(), own_raw(library, models[-1], x), atol=2e-6)


def test_below_is_the_edge_of_rounding():
    generator = np.random.default_rng(0)
    values = generator.normal(size=1000) * 10.0 ** generator.integers(-30, 30, 1000)
    threshold = np.concatenate([values, [0.0, 1.0, 2.0, -1.0, -2.0]]).astype(np.float32)
    below = _below(threshold)
    assert (below.astype(np.float32) < threshold).all()
    assert (np.nextafter(below, np.inf).astype(np.float32) >= threshold).all()


@pytest.mark.parametrize("kind", [1, 2, 3])
def test_the_source_trees_stay_and_the_target_goes_on_from_their_scores(library, kind):
    """The second stage lowers the target's loss from where the first one ended."""
    before, after = (fitted(kind, library, target_iterations=rounds, target_share=0.0) for rounds in (0, 8))
    nodes = min(before.value.shape[1], after.value.shape[1])
    assert torch.equal(after.value[: len(before.value), :nodes], before.value[:, :nodes])
    assert torch.equal(after.baseline, before.baseline)
    x, label = problem(kind, 120, 1, missing=0.15, shift=1.0)
    loss = torch.nn.functional.mse_loss if kind == 1 else torch.nn.functional.cross_entropy
    losses = [
        float(loss(head(x).squeeze(1).double(), label.double() if kind == 1 else label)) for head in (before, after)
    ]
    assert losses[1] < 0.9 * losses[0]


def test_a_round_on_the_target_is_a_newton_step(library):
    """One split: value = lr Σ residual / (rows + penalty), residual = y - F_S(x) of the target's rows alone."""
    options = {"leaves": 2, "min_rows": 1, "min_hessian": 1.0, "penalty": 0.5, "target_lr": 0.25}
    before, after = (fitted(1, library, target_iterations=rounds, **options) for rounds in (0, 1))
    x, y = problem(1, 120, 1, missing=0.15, shift=1.0)
    residual = (y - before.raw(x)[:, 0]).double()
    step = (after.raw(x) - before.raw(x))[:, 0].round(decimals=6)
    assert len(step.unique()) == 2
    for value in step.unique():
        leaf = step == value
        expected = 0.25 * residual[leaf].sum() / (leaf.sum() + 0.5)
        assert value.item() == pytest.approx(expected.item(), rel=1e-4)


def test_a_weight_of_the_source_counts_as_copies_do(library):
    """Rows of few distinct values, so that copies do not move the bins."""
    source, target = problem(1, 600, 0, missing=0.0), problem(1, 100, 1, missing=0.0)
    x, z, new = ((part * 2).round().clamp(-3, 3) for part in (source[0], target[0], problem(1, 500, 4)[0]))
    weight = torch.randint(1, 4, (600,), generator=torch.Generator().manual_seed(3)).double()
    copies = torch.arange(600).repeat_interleave(weight.long())
    weighted, copied, equal = (head_of(1, library, min_rows=1, min_hessian=0.0) for _ in range(3))
    weighted.fit_transfer(x, source[1], weight, z, target[1], classes=1, seed=0)
    copied.fit_transfer(x[copies], source[1][copies], None, z, target[1], classes=1, seed=0)
    equal.fit_transfer(x, source[1], None, z, target[1], classes=1, seed=0)
    torch.testing.assert_close(weighted.raw(new), copied.raw(new), rtol=0, atol=1e-3)
    assert float((weighted.raw(new) - equal.raw(new)).abs().max()) > 0.1


@pytest.mark.parametrize("kind", [1, 2, 3])
def test_a_state_needs_no_library_and_no_pickle(library, kind, tmp_path, monkeypatch):
    head = fitted(kind, library)
    torch.save(head.state_dict(), tmp_path / "state")
    monkeypatch.setitem(sys.modules, library, None)
    other = head_of(kind, library)
    other.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    x, _ = problem(kind, 100, 7, missing=0.3)
    assert torch.equal(other(x), head(x))


def test_seeds_and_threads_repeat_the_same_trees(library):
    first, again = fitted(3, library), fitted(3, library)
    assert torch.equal(first.value, again.value)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        two = fitted(3, library)
    finally:
        torch.set_num_threads(threads)
    x, _ = problem(3, 100, 7, missing=0.3)
    torch.testing.assert_close(two.raw(x), first.raw(x), rtol=0, atol=1e-6)


def test_absent_classes_one_class_and_trees_of_one_leaf(library):
    source, target = problem(3, 600, 0), problem(3, 60, 1)
    head = head_of(3, library)
    head.fit_transfer(source[0], 2 * source[1], None, target[0], 2 * target[1], classes=6, seed=0)
    assert set(head(source[0]).argmax(dim=1).tolist()) == {0, 2, 4}
    head.fit_transfer(source[0], 0 * source[1] + 1, None, target[0], 0 * target[1] + 1, classes=6, seed=0)
    assert set(head(source[0]).argmax(dim=1).tolist()) == {1}
    stump = head_of(3, library, min_rows=10_000, min_hessian=10_000.0)
    stump.fit_transfer(*source, None, *target, classes=3, seed=0)
    assert len(stump.raw(source[0]).unique(dim=0)) == 1
    assert bool(torch.isfinite(stump.raw(source[0])).all())


def test_no_labelled_target_row_leaves_the_source_trees(library):
    source = problem(2, 400, 0)
    head = head_of(2, library, target_share=0.0)
    head.fit_transfer(*source, None, source[0][:0], source[1][:0], classes=2, seed=0)
    assert len(head.value) == 12


def test_infinite_rows_are_refused_by_xgboost_and_read_by_lightgbm(library):
    (x, label), target = problem(2, 400, 0), problem(2, 60, 1)
    x = x.clone()
    x[0, 0] = float("inf")
    head = head_of(2, library)
    if library == "xgboost":
        with pytest.raises(ConfigError, match=r"^library=xgboost: a feature is infinite"):
            head.fit_transfer(x, label, None, *target, classes=2, seed=0)
    else:
        head.fit_transfer(x, label, None, *target, classes=2, seed=0)
        assert bool(torch.isfinite(head.raw(x)).all())


@pytest.mark.parametrize("name", LIBRARIES)
def test_an_absent_library_names_the_extra(name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=rf"^library={name}: pip install 'tl_research\[trees\]'$"):
        fitted(2, name)
    assert set(tree_libraries.LIBRARIES) == set(LIBRARIES)


def test_bad_options_name_their_key():
    with pytest.raises(ConfigError, match=r"^library: got 'lightgmb'; did you mean 'lightgbm'"):
        TransferBoosting(library="lightgmb")
    with pytest.raises(ConfigError, match=r"^min_hessian"):
        TransferBoosting(min_hessian=-1.0)
