import pytest
import torch

from tl_research.alignment.base import Rows
from tl_research.alignment.ot_mapping import OTMapping
from tl_research.alignment.transport.cost import squared_euclidean
from tl_research.alignment.transport.exact import exact_plan
from tl_research.alignment.transport.sinkhorn import barycentric
from tl_research.errors import ConfigError

#: Every path through the fit and the maps.
PATHS = {
    "entropic": {},
    "smooth": {"out_of_sample": "entropic"},
    "exact": {"solver": "exact"},
    "class_regularized": {"solver": "class_regularized"},
    "group_lasso": {"solver": "group_lasso"},
    "landmarks": {"rows": "landmarks", "landmarks": 20},
}


def domains(n=60, m=60, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(n) % 2
    x = torch.randn(n, 3, generator=generator, dtype=torch.float64) + 3 * label[:, None]
    y = torch.randn(m, 3, generator=generator, dtype=torch.float64) + 3 * (torch.arange(m) % 2)[:, None] + 1
    return Rows(x.to(dtype), label), Rows(y.to(dtype))


def fitted(source, target, seed=0, **options):
    mapping = OTMapping(**options)
    mapping.fit(source, target, classes=2, seed=seed)
    return mapping


@pytest.mark.parametrize(("options", "within"), [({"solver": "exact"}, 1e-9), ({"regularization": 1e-2}, 0.2)])
def test_a_moved_cloud_is_moved_back_by_the_translation(options, within):
    source, _ = domains()
    shift = torch.tensor([0.5, -0.2, 0.1], dtype=torch.float64)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(3))
    mapping = fitted(source, Rows((source.x + shift)[order]), **options)
    torch.testing.assert_close(mapping.source(source.x), source.x + shift, rtol=0, atol=within)
    new = domains(seed=1)[0].x
    torch.testing.assert_close(mapping.source(new), new + shift, rtol=0, atol=within)


@pytest.mark.parametrize(
    "options",
    [{"solver": "exact"}, {"regularization": 1e-4}, {"rows": "landmarks", "landmarks": 60, "regularization": 1e-4}],
)
def test_equal_samples_stay_where_they_are(options):
    source, _ = domains()
    mapping = fitted(source, Rows(source.x), **options)
    torch.testing.assert_close(mapping.source(source.x), source.x, rtol=0, atol=1e-3)


def test_large_regularization_sends_every_row_of_the_fit_to_the_targets_mean():
    source, target = domains()
    for options in ({}, {"out_of_sample": "entropic"}):
        moved = fitted(source, target, regularization=1e9, **options).source(source.x)
        torch.testing.assert_close(moved, target.x.mean(dim=0).expand(60, 3), rtol=0, atol=1e-6)


def test_exact_images_are_barycentres_of_the_plan_and_target_rows_stay():
    source, target = domains(20, 30)
    mapping = fitted(source, target, solver="exact")
    cost = squared_euclidean(source.x, target.x)
    a, b = torch.full((20,), 1 / 20).double(), torch.full((30,), 1 / 30).double()
    plan = exact_plan(cost, a / a.sum(), b / b.sum())
    torch.testing.assert_close(mapping.source(source.x), barycentric(plan, target.x))
    assert mapping.facts()["cost"] == pytest.approx(float((plan * cost).sum()))
    assert torch.equal(mapping.target(target.x), target.x)


@pytest.mark.parametrize("options", PATHS.values(), ids=PATHS.keys())
class TestEveryPath:
    def test_the_state_goes_into_an_unfitted_mapping(self, options, tmp_path):
        source, target = domains()
        mapping = fitted(source, target, **options)
        torch.save(mapping.state_dict(), tmp_path / "state")
        other = OTMapping(**options)
        other.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
        new = domains(seed=1)[0].x
        assert torch.equal(other.source(new), mapping.source(new))

    def test_one_seed_gives_one_map(self, options):
        source, target = domains()
        new = domains(seed=1)[0].x
        assert torch.equal(fitted(source, target, **options).source(new), fitted(source, target, **options).source(new))

    def test_float32_rows_give_float32_images_near_those_of_float64(self, options):
        exact = fitted(*domains(), **options)
        single = fitted(*domains(dtype=torch.float32), **options)
        x = domains()[0].x
        assert single.source(x.float()).dtype == torch.float32
        torch.testing.assert_close(single.source(x.float()).double(), exact.source(x), rtol=0, atol=1e-3)

    def test_new_rows_are_taken_one_by_one(self, options):
        mapping = fitted(*domains(), **options)
        new = domains(seed=1)[0].x
        torch.testing.assert_close(torch.cat([mapping.source(row[None]) for row in new]), mapping.source(new))
        assert mapping.source(new[:0]).shape == (0, 3)

    def test_a_second_fit_forgets_the_first(self, options):
        source, target = domains()
        mapping = fitted(*domains(seed=5), **options)
        mapping.fit(source, target, classes=2, seed=0)
        assert torch.equal(mapping.source(source.x), fitted(source, target, **options).source(source.x))


# an exact plan is not unique, landmarks are drawn by row, and the norm of a group sees a row that is split
@pytest.mark.parametrize("path", ["entropic", "smooth", "class_regularized"])
def test_a_weight_of_two_is_the_row_twice_and_of_zero_is_no_row(path):
    source, target = domains(30, 40)
    weight = torch.ones(30)
    weight[3], weight[5] = 2.0, 0.0
    index = torch.tensor([i for i in range(30) if i != 5] + [3])
    one = fitted(source._replace(weight=weight), target, tolerance=1e-10, max_iterations=10_000, **PATHS[path])
    two = fitted(
        Rows(source.x[index], source.label[index]), target, tolerance=1e-10, max_iterations=10_000, **PATHS[path]
    )
    torch.testing.assert_close(one.source(source.x[index]), two.source(source.x[index]), rtol=0, atol=1e-5)


def test_a_second_fit_may_take_the_other_path():
    mapping = fitted(*domains(), dense_rows=50, landmarks=10)
    assert mapping.facts()["path"] == "landmarks"
    small = domains(40, 40)
    mapping.fit(*small, classes=2, seed=0)
    assert mapping.facts()["path"] == "entropic"
    assert torch.equal(mapping.source(small[0].x), fitted(*small).source(small[0].x))


def test_class_regularization_keeps_classes_together():
    source, target = domains()
    plain = fitted(source, target, solver="class_regularized", class_weight=0.0, regularization=0.5)
    grouped = fitted(source, target, solver="class_regularized", class_weight=2.0, regularization=0.5)
    assert grouped.facts()["class_purity"] > 0.99 > 0.95 > plain.facts()["class_purity"]


def test_the_group_lasso_keeps_classes_together_and_says_how_near_it_came():
    source, target = domains()
    facts = [
        fitted(source, target, solver="group_lasso", class_weight=weight, regularization=0.3).facts()
        for weight in (0.0, 2.0, 20.0)
    ]
    purity = [fact["class_purity"] for fact in facts]
    assert purity[0] + 0.005 < purity[1]
    assert purity[1] + 0.005 < purity[2]
    assert [fact["converged"] for fact in facts] == [1, 1, 1]
    assert all(fact["gap"] <= 1e-5 * fact["regularization"] for fact in facts)
    # weight and regularization count in the unit of the cost
    far = Rows(10 * source.x, source.label), Rows(10 * target.x)
    scaled = fitted(*far, solver="group_lasso", class_weight=0.5, regularization=0.3)
    near = fitted(source, target, solver="group_lasso", class_weight=0.5, regularization=0.3)
    torch.testing.assert_close(scaled.source(far[0].x), 10 * near.source(source.x), rtol=1e-4, atol=1e-4)


def test_not_converging_is_in_the_facts():
    facts = fitted(*domains(), regularization=1e-3, max_iterations=5).facts()
    assert (facts["converged"], facts["iterations"]) == (0, 5)
    assert facts["marginal_error"] > 1e-6
    assert fitted(*domains()).facts()["converged"] == 1


def test_landmarks_come_near_the_map_of_all_rows():
    """The error relative to the displacement, at 16 rows a landmark; a map that forgot the masses has 10 times it."""
    source, target = domains(1600, 1600, seed=2)
    full = fitted(source, target, out_of_sample="entropic").source(source.x)
    near = fitted(source, target, rows="landmarks", landmarks=100).source(source.x)
    assert float((near - full).norm() / (full - source.x).norm()) < 0.1


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"solver": "emd"}, "solver"),
        ({"unit": "mode"}, "unit"),
        ({"rows": "some"}, "rows"),
        ({"regularization": 0.0}, "regularization"),
        ({"class_weight": -1.0}, "class_weight"),
        ({"solver": "exact", "rows": "landmarks"}, "rows"),
        ({"solver": "exact", "out_of_sample": "entropic"}, "out_of_sample"),
    ],
)
def test_bad_options_name_their_key(options, key):
    with pytest.raises(ConfigError, match=key):
        OTMapping(**options)


def test_too_many_rows_for_an_exact_plan_are_one_clear_error():
    with pytest.raises(ConfigError, match=r"^solver: 'exact' holds every pair.*60 rows.*dense_rows=50"):
        fitted(*domains(), solver="exact", dense_rows=50)
    assert fitted(*domains(), solver="exact", dense_rows=50, rows="all").facts()["path"] == "exact"
    with pytest.raises(ConfigError, match="needs the source's classes"):
        fitted(Rows(domains()[0].x), domains()[1], solver="group_lasso")
