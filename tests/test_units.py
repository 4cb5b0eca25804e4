"""No unit of the data decides: rows times 1e-12 or 1e12 give the same weights, maps and predictions."""

import pytest
import torch

from tests.alignment.domains import two_domains
from tests.weighting.problem import two_gaussians
from tl_research.alignment.base import Rows
from tl_research.alignment.gfk import GFK
from tl_research.alignment.jda import JDA
from tl_research.alignment.mean_alignment import MeanAlignment
from tl_research.alignment.meda import MEDA
from tl_research.alignment.ot_mapping import OTMapping
from tl_research.alignment.pca import PCA
from tl_research.alignment.subspace_alignment import SubspaceAlignment
from tl_research.alignment.tca import TCA
from tl_research.alignment.tjm import TJM
from tl_research.data.batch import Samples
from tl_research.data.transforms.spec import InputSpec
from tl_research.heads.centre import NearestCentre
from tl_research.heads.nearest import NearestNeighbours
from tl_research.kernels import bandwidth_ladder, mmd2
from tl_research.losses.contrastive import supervised_contrastive
from tl_research.losses.relational import relational_angle, relational_distance
from tl_research.registry import WEIGHTINGS
from tl_research.weighting.base import weigh
from tl_research.weighting.rows import weigh_rows

UNITS = pytest.mark.parametrize("unit", [2.0**-40, 1e-12, 1e12, 2.0**40])
WEIGHTING_CASES = [(name, {}) for name in WEIGHTINGS.names()] + [
    *(("similarity_weight", {"similarity": name}) for name in ("cosine", "mahalanobis", "domain_score")),
    *(("sample_selection", {"score": name}) for name in ("neighbours", "gaussian", "mahalanobis")),
]
WEIGHTED = pytest.mark.parametrize(
    ("name", "options"), WEIGHTING_CASES, ids=["-".join([name, *o.values()]) for name, o in WEIGHTING_CASES]
)
#: Those that compare distances with distances; the others promise standardised columns.
BY_DISTANCE = [
    case
    for case in WEIGHTING_CASES
    if case[0] not in ("density_ratio", "similarity_weight", "sample_selection")
    or set(case[1].values()) & {"cosine", "mahalanobis", "neighbours", "gaussian"}
]


def weights_of(name, options, source, target):
    return weigh(source, target, WEIGHTINGS.get(name).config(**options), seed=0).weight


@UNITS
@pytest.mark.parametrize(("name", "options"), BY_DISTANCE)
def test_weights_by_distance_know_no_unit(name, options, unit):
    source, target, _ = two_gaussians(60, 50)
    expected = weights_of(name, options, source, target)
    found = weights_of(name, options, source * unit, target * unit)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def samples(x):
    label, index = torch.zeros(len(x), dtype=torch.long), torch.arange(len(x))
    return Samples(x, label, index, torch.zeros_like(label))


@WEIGHTED
@pytest.mark.parametrize("unit", [1e-8, 1e12])
def test_the_weights_of_a_run_know_no_columns_unit_and_no_constant(name, options, unit):
    """Beside a column in another unit, one that is constant but for the rounding of float64."""
    source, target, _ = two_gaussians(60, 50)
    config = WEIGHTINGS.get(name).config(**options)
    if "mahalanobis" in options.values():
        noise = ()  # a constant column has no covariance, which is refused
    else:
        noise = tuple(torch.tensor([0.3, 0.1 + 0.2], dtype=torch.float64).repeat(n // 2)[:, None] for n in (60, 50))

    def weights(scale, extra):
        sides = [torch.cat([side[:, :1], side[:, 1:] * scale, *extra_of], dim=1) for side, extra_of in extra]
        return weigh_rows(*map(samples, sides), InputSpec(numeric=sides[0].shape[1]), config, seed=0).weight

    plain = weights(1.0, [(source, ()), (target, ())])
    other = weights(unit, [(source, noise[:1]), (target, noise[1:])])
    # `prepared` shuffles by a draw per column, and the first rows are what a fold or a median sees.
    tolerance = 0.35 if noise and name not in ("nearest_neighbour_weight", "sample_selection") else 1e-4
    if name == "sample_selection":
        assert (plain != other).float().mean() < 0.1
    elif noise and name in ("kliep", "ulsif", "rulsif", "density_ratio", "kmm"):
        assert float((plain - other).abs().mean()) < tolerance
    else:
        torch.testing.assert_close(other, plain, rtol=1e-3, atol=1e-5)


ALIGNMENTS = {
    "pca": lambda: PCA(components=2),
    "mean": MeanAlignment,
    "mean_scale": lambda: MeanAlignment(scale=True),
    "subspace_alignment": lambda: SubspaceAlignment(components=2),
    "gfk": lambda: GFK(components=2),
    "gfk_pls": lambda: GFK(components=1, source_subspace="pls"),
    "ot_mapping": OTMapping,
    "ot_exact": lambda: OTMapping(solver="exact"),
    "ot_group": lambda: OTMapping(solver="group_lasso"),
    "ot_landmarks": lambda: OTMapping(rows="landmarks", landmarks=8),
}
#: Kernels of the median bandwidth: the map itself knows no unit.
KERNELS = {
    "tca_rbf": lambda: TCA(components=2, kernel="rbf"),
    "tca_laplacian": lambda: TCA(components=2, kernel="laplacian", unit_length=True),
    "jda_rbf": lambda: JDA(components=2, kernel="rbf"),
    "tjm_rbf": lambda: TJM(components=2, kernel="rbf", iterations=2),
    "meda": lambda: MEDA(neighbours=5),
    "meda_dynamic": lambda: MEDA(neighbours=5, balance="dynamic"),
}


def fitted(make, source, target):
    alignment = make()
    alignment.fit(source, target, classes=int(source.label.max()) + 1, seed=0)
    return alignment


def domains(unit=1.0, noise=False):
    sides = []
    for side in two_domains()[:2]:
        x = side.x.double()[:40, :3]
        if noise:
            x = torch.cat([x, torch.tensor([0.3, 0.1 + 0.2], dtype=torch.float64).repeat(20)[:, None]], dim=1)
        label = None if side.label is None else side.label[:40].clamp_max(1)
        sides.append(Rows(x * unit, label))
    return sides


@UNITS
@pytest.mark.parametrize("name", [*ALIGNMENTS, *KERNELS])
def test_maps_know_no_unit(name, unit):
    source, target = domains()
    scaled = domains(unit)
    make = (ALIGNMENTS | KERNELS)[name]
    plain, other = fitted(make, source, target), fitted(make, *scaled)
    factor = unit if name in ALIGNMENTS else 1.0
    for map_, rows, at in ((plain.source, other.source, 0), (plain.target, other.target, 1)):
        expected = map_((source, target)[at].x)
        torch.testing.assert_close(rows(scaled[at].x) / factor, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["pca", "subspace_alignment", "gfk", "mean_scale"])
def test_a_constant_with_rounding_is_no_direction(name):
    source, target = domains(noise=True)
    alignment = fitted(ALIGNMENTS[name], source, target)
    without = fitted(ALIGNMENTS[name], *domains())
    moved = alignment.target(target.x)
    if name == "mean_scale":
        torch.testing.assert_close(alignment.source(source.x)[:, 3], source.x[:, 3])
        return
    expected = without.target(target.x[:, :3])
    # Inner products: the map of `gfk` has columns of zeros beyond the rows' own.
    torch.testing.assert_close(moved @ moved.T, expected @ expected.T, rtol=1e-7, atol=1e-9)
    far = target.x.clone()
    far[:, 3] += 1.0  # were the noise a direction, a change of the constant would move rows along it
    torch.testing.assert_close(alignment.target(far), moved, rtol=1e-9, atol=1e-9)


@UNITS
@pytest.mark.parametrize("make", [NearestCentre, lambda: NearestNeighbours(neighbours=3)], ids=["centre", "neighbours"])
def test_heads_by_distance_know_no_unit(make, unit):
    source, target = domains()
    plain, other = make(), make()
    plain.fit(source.x, source.label, None, classes=2, seed=0)
    other.fit(source.x * unit, source.label, None, classes=2, seed=0)
    assert torch.equal(plain(target.x).argmax(dim=1), other(target.x * unit).argmax(dim=1))


@UNITS
def test_losses_and_bandwidths_know_no_unit(unit):
    source, target, _ = two_gaussians(20, 20)
    label = torch.arange(20) % 2
    of = {
        "mmd2": lambda a, b: mmd2(a, b, bandwidths=bandwidth_ladder(a, b)),
        "distance": relational_distance,
        "angle": relational_angle,
        "contrastive": lambda a, b: supervised_contrastive(a, label, b, label),
    }
    for name, loss in of.items():
        for kind in (torch.float64, torch.float32):
            a, b = source.to(kind), target.to(kind)
            expected, found = loss(a, b), loss(a * unit, b * unit)
            torch.testing.assert_close(
                found, expected, rtol=2e-3, atol=1e-5, msg=lambda said, name=name: f"{name}: {said}"
            )


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e12])
def test_equal_rows_have_no_discrepancy(unit):
    """Up to rounding: a collapsed feature is no feature of the size of its noise."""
    same = torch.full((10, 4), 0.3, dtype=torch.float64)
    noisy = same.clone()
    noisy[::2] = 0.1 + 0.2
    for a, b in ((same, same), (noisy, same)):
        value = mmd2(a * unit, b * unit, bandwidths=bandwidth_ladder(a * unit, b * unit))
        assert abs(float(value)) < 0.2 if a is noisy else float(value) == 0
