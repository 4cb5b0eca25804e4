"""What every registered weighting must do; a new one is put to it by being registered."""

from __future__ import annotations

import logging
import math

import pytest
import torch

from tests.weighting.problem import error, two_gaussians
from tl_research.config import WeightingConfig
from tl_research.data.catalog import simulated_market
from tl_research.errors import ConfigError, DataError
from tl_research.registry import WEIGHTINGS
from tl_research.weighting.base import finished, weigh

ALL = WEIGHTINGS.names()
#: Options under which a weighting estimates the ratio of `two_gaussians`, whose spreads differ.
OPTIONS = {"density_ratio": {"squares": True}}
#: Largest error at 100 rows (mean of 4 seeds), 1,000 (of 2) and 10,000; equal weights have 1.
ERRORS = {
    "kmm": (0.4, 0.09, 0.015),
    "kliep": (0.9, 0.12, 0.01),
    "ulsif": (0.2, 0.18, 0.03),
    "rulsif": (0.2, 0.08, 0.015),
    "density_ratio": (0.4, 0.04, 0.01),
}
EXTRA = [
    ("similarity_weight", {"similarity": name}) for name in ("cosine", "euclidean", "mahalanobis", "domain_score")
] + [("sample_selection", {"score": name}) for name in ("neighbours", "gaussian", "euclidean", "mahalanobis")]
CASES = [(name, OPTIONS.get(name, {})) for name in ALL] + EXTRA
IDS = ["-".join([name, *map(str, options.values())]) for name, options in CASES]


def config_of(name: str, **options) -> WeightingConfig:
    return WEIGHTINGS.get(name).config(**(OPTIONS.get(name, {}) | options))


def run(name: str, source, target, seed: int = 0, **options) -> torch.Tensor:
    return weigh(source, target, config_of(name, **options), seed=seed).weight


def test_every_weighting_is_seen():
    expected = {"kmm", "kliep", "ulsif", "rulsif", "density_ratio", "nearest_neighbour_weight"}
    assert expected | {"similarity_weight", "sample_selection"} <= set(ALL)


@pytest.mark.parametrize("name", ALL)
def test_registration_and_config(name):
    entry = WEIGHTINGS.get(name)
    assert entry.summary
    assert entry.paper
    assert entry.config().name == name


@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
def test_weights_are_weights_whatever_the_dtype(name, options):
    source, target, _ = two_gaussians(60, 45, d=3)
    weights = weigh(source, target, config_of(name, **options), seed=0)
    assert weights.weight.shape == (60,)
    assert weights.weight.dtype == torch.float64
    assert bool((weights.weight >= 0).all())
    assert weights.weight.mean().item() == pytest.approx(1)
    assert 1 <= weights.facts["effective_sample_size"] <= 60 + 1e-9
    assert weights.facts["largest"] == weights.weight.max()
    single = run(name, source.float(), target.float(), **options)
    assert single.dtype == torch.float64
    assert (single - run(name, source.float().double(), target.float().double(), **options)).abs().max() == 0


@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
def test_order_of_rows_and_a_common_offset_change_nothing(name, options):
    source, target, _ = two_gaussians(300, 220, d=3)
    expected = run(name, source, target, **options)
    generator = torch.Generator().manual_seed(1)
    order, other = torch.randperm(300, generator=generator), torch.randperm(220, generator=generator)
    torch.testing.assert_close(
        run(name, source[order], target[other], **options), expected[order], rtol=1e-5, atol=1e-6
    )
    if options.get("similarity") != "cosine":
        moved = run(name, source + 37.0, target + 37.0, **options)
        torch.testing.assert_close(moved, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
def test_the_seed_determines_the_weights(name, options):
    source, target, _ = two_gaussians(150, 130)
    assert torch.equal(run(name, source, target, 3, **options), run(name, source, target, 3, **options))


def test_another_seed_draws_other_centres():
    source, target, _ = two_gaussians(300, 300)
    assert not torch.equal(run("ulsif", source, target, 0, centres=10), run("ulsif", source, target, 1, centres=10))


@pytest.mark.parametrize("name", ["kmm", "kliep", "ulsif", "rulsif", "density_ratio"])
def test_equal_domains_give_nearly_equal_weights(name):
    generator = torch.Generator().manual_seed(0)
    source = torch.randn(2000, 2, generator=generator, dtype=torch.float64)
    target = torch.randn(2000, 2, generator=generator, dtype=torch.float64)
    weights = weigh(source, target, config_of(name), seed=0)
    assert weights.facts["effective_share"] > 0.93
    assert "warning" not in weights.facts
    # The very same rows: the ratio is 1 at every one of them.
    assert weigh(source, source, config_of(name), seed=0).facts["effective_share"] > 0.99


@pytest.mark.parametrize("name", ERRORS)
def test_the_ratio_of_two_gaussians(name):
    found = []
    for rows, seeds in ((100, 4), (1000, 2), (10_000, 1)):
        total = 0.0
        for seed in range(seeds):
            source, target, ratio = two_gaussians(rows, rows, seed=seed)
            config = config_of(name)
            if name == "rulsif":
                ratio = ratio / (config.alpha * ratio + 1 - config.alpha)
            total += error(weigh(source, target, config, seed=seed).weight, ratio)
        found.append(total / seeds)
    assert all(value < limit for value, limit in zip(found, ERRORS[name])), found
    assert found[2] < 0.5 * min(found[:2]), found


@pytest.mark.parametrize("name", ERRORS)
def test_the_ratio_of_the_simulated_market(name):
    config = simulated_market.SimulatedMarketConfig(
        n_source=2000, n_target=2000, features=4, covariate_shift=0.8, measurement_shift=0.0
    )
    domains = simulated_market.load(config, ["old_market", "new_market"])
    source, target = (torch.as_tensor(domains[side].inputs) for side in ("old_market", "new_market"))
    ratio = torch.as_tensor(simulated_market.density_ratio(config, source.numpy()))
    options = config_of(name)
    if name == "rulsif":
        ratio = ratio / (options.alpha * ratio + 1 - options.alpha)
    limit = {"kmm": 0.3, "kliep": 0.4, "ulsif": 0.6, "rulsif": 0.3, "density_ratio": 0.1}[name]
    assert error(weigh(source, target, options, seed=0).weight, ratio) < limit


# What is said and refused


def test_a_small_effective_share_is_warned_of(caplog):
    source, target, _ = two_gaussians(500, 500)
    with caplog.at_level(logging.WARNING):
        quiet = weigh(source, target + 2, config_of("density_ratio", warn_below=0.0), seed=0)
        assert not caplog.records
        share = quiet.facts["effective_share"]
        loud = weigh(source, target + 2, config_of("density_ratio", warn_below=min(1.0, share + 0.01)), seed=0)
    assert "of 500 source rows" in loud.facts["warning"]
    assert "warning" not in quiet.facts
    assert len(caplog.records) == 1


def test_facts_of_one_weighting_do_not_reach_the_next():
    source, target, _ = two_gaussians(50, 50)
    assert "path" in weigh(source, target, config_of("kmm"), seed=0).facts
    assert "path" not in weigh(source, target, config_of("density_ratio"), seed=0).facts


def test_temper_and_clip_are_applied():
    source, target, _ = two_gaussians(200, 200)
    raw, _ = WEIGHTINGS.get("ulsif").target(source, target, config_of("ulsif"), seed=0)
    config = config_of("ulsif", temper=0.5, clip=1.5)
    tempered = torch.where(raw > 0, raw.sqrt(), 0)
    clipped = tempered.clamp_max(1.5 * tempered.mean())
    torch.testing.assert_close(weigh(source, target, config, seed=0).weight, clipped / clipped.mean())


def test_finished_refuses_what_is_no_weight():
    for raw, words in (([1.0, -1.0], "negative"), ([1.0, math.nan], "not finite"), ([0.0, 0.0], "every row")):
        with pytest.raises(ValueError, match=words):
            finished(torch.tensor(raw), WeightingConfig(name="it"))


@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
def test_rows_that_cannot_be_used_are_refused_by_one_error(name, options):
    source, target, _ = two_gaussians(30, 30, d=3)
    wrong = target.clone()
    wrong[4, 2] = math.inf
    with pytest.raises(DataError, match="target row 4, column 2 is inf"):
        run(name, source, wrong, **options)
    with pytest.raises(DataError, match=r"\(30, 3\) and target \(30, 2\)"):
        run(name, source, target[:, :2], **options)
    with pytest.raises(DataError, match=r"target has 0 row\(s\)"):
        run(name, source, target[:0], **options)


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("kmm", "bound", 0.5), ("kmm", "path", "dens"), ("kmm", "tolerance", 0.0), ("kliep", "widths", []),
        ("kliep", "folds", 1), ("kliep", "centres", 0), ("ulsif", "ridge", [0.0]), ("rulsif", "alpha", 1.0),
        ("density_ratio", "ridge", []), ("nearest_neighbour_weight", "k", 0), ("similarity_weight", "similarity", "x"),
        ("sample_selection", "share", 0.0), ("sample_selection", "score", "cosine"), ("kmm", "warn_below", 2.0),
    ],
)  # fmt: skip
def test_options_out_of_range_are_refused(name, key, value):
    with pytest.raises(ConfigError, match=rf"method\.weighting\.{key}: got"):
        config_of(name, **{key: value})


def test_an_unknown_name_is_refused():
    source, target, _ = two_gaussians(10, 10)
    with pytest.raises(ConfigError, match=r"method\.weighting\.name: there is no weighting 'kmn'; did you mean 'kmm'"):
        weigh(source, target, WeightingConfig(name="kmn"), seed=0)
