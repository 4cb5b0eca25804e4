"""What every linear alignment keeps: dtype, state, offsets, few rows, weights, and no change where nothing shifts."""

import pytest
import torch

from tests.alignment.domains import fitted, two_domains
from tl_research.alignment.base import Rows
from tl_research.alignment.coral import CORAL
from tl_research.alignment.feature_augmentation import FeatureAugmentation
from tl_research.alignment.gfk import GFK
from tl_research.alignment.linear_monge import LinearMonge
from tl_research.alignment.mean_alignment import MeanAlignment
from tl_research.alignment.pca import PCA
from tl_research.alignment.subspace_alignment import SubspaceAlignment

MAKERS = {
    "pca": lambda: PCA(components=4),
    "pca_balanced": lambda: PCA(components=4, balanced=True),
    "mean": lambda: MeanAlignment(),
    "mean_scale": lambda: MeanAlignment(scale=True),
    "coral": lambda: CORAL(),
    "coral_own_mean": lambda: CORAL(match_means=False),
    "linear_monge": lambda: LinearMonge(),
    "subspace_alignment": lambda: SubspaceAlignment(components=4),
    "gfk": lambda: GFK(components=3),
    "gfk_pls": lambda: GFK(components=2, source_subspace="pls"),
    "feature_augmentation": lambda: FeatureAugmentation(),
}
every = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
without_shift = pytest.mark.parametrize("name", ["mean", "mean_scale", "coral", "coral_own_mean", "linear_monge"])


@every
def test_float32_in_float32_out_and_the_same_numbers(make):
    source, target = two_domains()
    alignment = fitted(make(), source, target)
    for mapping, rows in ((alignment.source, source.x), (alignment.target, target.x)):
        assert mapping(rows).dtype == torch.float64
        assert mapping(rows.float()).dtype == torch.float32
        torch.testing.assert_close(mapping(rows.float()).double(), mapping(rows), rtol=1e-4, atol=1e-4)
        assert mapping(rows.bfloat16()).dtype == torch.bfloat16


@every
def test_fitted_on_float32_rows_agrees_with_float64(make):
    source, target = two_domains()
    exact = fitted(make(), source, target)
    rounded = fitted(make(), Rows(source.x.float(), source.label), Rows(target.x.float()))
    torch.testing.assert_close(rounded.source(source.x), exact.source(source.x), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(rounded.target(target.x), exact.target(target.x), rtol=1e-4, atol=1e-4)


@every
def test_an_unfitted_part_takes_the_state_of_a_fitted_one(make):
    source, target = two_domains()
    alignment, again = fitted(make(), source, target), make()
    again.load_state_dict(alignment.state_dict())
    assert again.is_fitted
    assert torch.equal(again.source(source.x), alignment.source(source.x))
    assert torch.equal(again.target(target.x), alignment.target(target.x))


@every
def test_rows_are_mapped_one_by_one_and_training_rows_as_new_ones(make):
    source, target = two_domains()
    alignment = fitted(make(), source, target)
    for mapping, rows in ((alignment.source, source.x), (alignment.target, target.x)):
        torch.testing.assert_close(torch.cat([mapping(row[None]) for row in rows]), mapping(rows), rtol=1e-9, atol=1e-9)


@every
def test_fitting_twice_gives_the_same_map(make):
    source, target = two_domains()
    alignment = fitted(make(), source, target)
    before = alignment.source(source.x), alignment.target(target.x)
    fitted(alignment, *two_domains(seed=5))
    fitted(alignment, source, target)
    assert torch.equal(alignment.source(source.x), before[0])
    assert torch.equal(alignment.target(target.x), before[1])


@pytest.mark.parametrize("name", [name for name in MAKERS if name != "feature_augmentation"])
def test_an_offset_of_fifty_moves_nothing(name):
    """Up to the offset itself, where the map lands in the target's own columns; float32 rows, as users have them."""
    near, far = two_domains(), two_domains(offset=50.0)
    here, there = fitted(MAKERS[name](), *near), fitted(MAKERS[name](), *(Rows(r.x.float(), r.label) for r in far))
    same_space = torch.equal(here.target(near[1].x), near[1].x)
    shift = 50.0 if same_space else 0.0
    torch.testing.assert_close(
        there.source(far[0].x.float()).double() - shift, here.source(near[0].x), rtol=0, atol=5e-4
    )
    torch.testing.assert_close(
        there.target(far[1].x.float()).double() - shift, here.target(near[1].x), rtol=0, atol=5e-4
    )


@every
@pytest.mark.parametrize(("n", "m", "d"), [(9, 30, 100), (9, 12, 100), (30, 9, 25)])
def test_more_columns_than_rows(make, n, m, d):
    source, target = two_domains(n, m, d)
    alignment = fitted(make(), source, target)
    mapped = alignment.source(source.x), alignment.target(target.x)
    assert mapped[0].isfinite().all()
    assert mapped[1].isfinite().all()
    assert mapped[0].shape[1] == mapped[1].shape[1]


@every
def test_constant_and_repeated_columns(make):
    source, target = two_domains()
    constant = [torch.cat((r.x, r.x[:, :2], torch.full_like(r.x[:, :2], 50.1)), dim=1) for r in (source, target)]
    alignment = fitted(make(), Rows(constant[0], source.label), Rows(constant[1]))
    assert alignment.source(constant[0]).isfinite().all()
    assert alignment.target(constant[1]).isfinite().all()


@every
def test_an_integer_weight_is_a_repeated_row(make):
    """The means are those of the repeated rows; covariances agree once n - 1 and 1 - Σ w² are allowed for."""
    source, target = two_domains(600, 450)
    count = 1 + torch.arange(600) % 3
    repeated = Rows(source.x.repeat_interleave(count, 0), source.label.repeat_interleave(count))
    weighted = Rows(source.x, source.label, 7.0 * count.double())
    one, other = fitted(make(), repeated, target), fitted(make(), weighted, target)
    # For the pooled PCA, weights are relative within the domain, and the domain counts by its rows.
    if isinstance(one, PCA) and not one.config.balanced:
        return
    torch.testing.assert_close(one.source(source.x), other.source(source.x), rtol=5e-3, atol=5e-3)
    torch.testing.assert_close(one.target(target.x), other.target(target.x), rtol=5e-3, atol=5e-3)


def test_a_weight_of_zero_is_a_missing_row():
    source, target = two_domains()
    keep = torch.arange(len(source.x)) % 4 != 0
    fewer = Rows(source.x[keep], source.label[keep])
    weighted = Rows(source.x, source.label, keep.double())
    for name in ("pca_balanced", "mean_scale", "coral", "linear_monge", "subspace_alignment", "gfk", "gfk_pls"):
        one, other = fitted(MAKERS[name](), fewer, target), fitted(MAKERS[name](), weighted, target)
        torch.testing.assert_close(one.source(source.x), other.source(source.x), rtol=1e-7, atol=1e-7)


@without_shift
def test_no_shift_no_change(name):
    source, _ = two_domains()
    alignment = fitted(MAKERS[name](), source, Rows(source.x))
    new = two_domains(seed=3)[0].x
    torch.testing.assert_close(alignment.source(new), new, rtol=0, atol=1e-9)
    torch.testing.assert_close(alignment.target(new), new, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["coral", "linear_monge"])
def test_no_shift_no_change_with_more_columns_than_rows(name):
    source, _ = two_domains(10, 10, 80)
    alignment = fitted(MAKERS[name](), source, Rows(source.x))
    new = two_domains(10, 10, 80, seed=3)[0].x
    torch.testing.assert_close(alignment.source(new), new, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["subspace_alignment", "gfk", "pca"])
def test_no_shift_same_map_for_both(name):
    source, _ = two_domains()
    alignment = fitted(MAKERS[name](), source, Rows(source.x))
    torch.testing.assert_close(alignment.source(source.x), alignment.target(source.x), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["pca", "subspace_alignment", "gfk", "coral", "linear_monge"])
def test_a_rotation_of_the_columns_changes_no_distance(name):
    source, target = two_domains()
    turn = torch.linalg.qr(torch.randn(7, 7, generator=torch.Generator().manual_seed(9), dtype=torch.float64)).Q
    plain = fitted(MAKERS[name](), source, target)
    turned = fitted(MAKERS[name](), Rows(source.x @ turn, source.label), Rows(target.x @ turn))
    torch.testing.assert_close(
        torch.cdist(turned.source(source.x @ turn), turned.target(target.x @ turn)),
        torch.cdist(plain.source(source.x), plain.target(target.x)),
        rtol=1e-8,
        atol=1e-8,
    )


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: PCA(components=0), "components"),
        (lambda: SubspaceAlignment(components=-1), "components"),
        (lambda: GFK(components=0), "components"),
        (lambda: GFK(source_subspace="plss"), "source_subspace"),
        (lambda: CORAL(ridge=0.0), "ridge"),
        (lambda: CORAL(ridge=float("nan")), "ridge"),
        (lambda: LinearMonge(ridge=-1.0), "ridge"),
    ],
)
def test_a_bad_option_is_named(make, key):
    with pytest.raises(ValueError, match=key):
        make()


@pytest.mark.parametrize("make", [PCA, SubspaceAlignment, GFK])
def test_more_components_than_the_rows_span_is_an_error_and_none_takes_what_there_is(make):
    source, target = two_domains(60, 5)
    most = 7 if make is PCA else 4
    with pytest.raises(ValueError, match=f"^components: got {most + 1}, wants at most {most}"):
        fitted(make(components=most + 1), source, target)
    assert fitted(make(), source, target).facts()["components"] == most


@pytest.mark.parametrize("make", [PCA, SubspaceAlignment, GFK, CORAL, LinearMonge, MeanAlignment])
def test_a_single_row_is_an_error(make):
    source, target = two_domains()
    if make is PCA:
        source, target = Rows(source.x[:1]), Rows(target.x[:0])
    else:
        target = Rows(target.x[:1])
    with pytest.raises(ValueError, match="two rows"):
        fitted(make(), source, target)
