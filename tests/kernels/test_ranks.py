"""Kernel sums across ranks: two gloo processes against one process, whose oracle is automatic differentiation."""

from functools import partial

import pytest
import torch
import torch.distributed as dist
from torch import nn

from tests.two_ranks import run_two_ranks
from tl_research.kernels import MovingBandwidth, bandwidth_ladder, mean_squared_distance, mmd2
from tl_research.kernels.backends import reference
from tl_research.kernels.kernel import Kernel
from tl_research.kernels.ranks import mmd2_across_ranks, mmd_sum_across_ranks
from tl_research.parallel.ranks import gather_rows, rank, row_counts, sum_across_ranks

#: Rows of x and of y on each rank.
SPLITS = {
    "uneven": ((3, 6), (5, 2)),
    "no x on rank 0": ((0, 9), (4, 3)),
    "no y on rank 1": ((4, 5), (7, 0)),
    "nothing on rank 1": ((9, 0), (7, 0)),
}
X_ROWS, Y_ROWS = 9, 7
SIGMAS = (0.3, 0.5, 1.0)

#: Options of mmd2_across_ranks; `weights` and `dtype` are the test's own.
CASES = {
    "unbiased": {},
    "biased": {"estimator": "biased"},
    "weights": {"weights": "xy"},
    "weights of x, biased": {"weights": "x", "estimator": "biased"},
    "detach x": {"detach": "x"},
    "detach y, weights": {"detach": "y", "weights": "xy"},
    "laplacian": {"kernel": "laplacian"},
    "rational quadratic": {"kernel": "rational_quadratic", "alpha": 1.5, "estimator": "biased"},
    "float32": {"dtype": torch.float32, "weights": "xy"},
}
#: Layers and columns of weights of mmd_sum_across_ranks.
SUMS = {"C=1": (1, 1), "C=3": (1, 3), "two layers, C=3": (2, 3)}


class Model(nn.Module):
    """Features of two layers, weights of rows and scales, all of shared parameters."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(4, 5), nn.Linear(5, 2)
        self.weight = nn.Linear(4, 3)
        self.scale = nn.Parameter(torch.randn(3, 3))
        self.double()

    def layers(self, rows):
        hidden = self.first(rows).tanh()
        return [hidden, self.second(hidden)]

    def weights(self, rows):
        return nn.functional.softplus(self.weight(rows))


def batch(split=None):
    """Rows of x and y: all of them, or those of this rank."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(X_ROWS, 4, generator=generator, dtype=torch.float64)
    y = torch.randn(Y_ROWS, 4, generator=generator, dtype=torch.float64) + 0.5
    if split is None:
        return x, y
    return tuple(rows.split(list(counts))[rank()] for rows, counts in zip((x, y), SPLITS[split]))


def mmd2_of(run, model, x, y, *, weights="", dtype=torch.float64, **options):
    model = model.to(dtype)
    x, y = x.to(dtype), y.to(dtype)
    for side, rows in zip("xy", (x, y)):
        if side in weights:
            options[f"{side}_weight"] = model.weights(rows)[:, 0]
    # features far from the origin, which must not matter
    return run(model.layers(x)[1] + 50, model.layers(y)[1] + 50, bandwidths=SIGMAS, **options)


def sum_of(run, model, x, y, layers, columns, detach=None):
    kernel = Kernel(
        "gaussian", tuple(torch.tensor(SIGMAS, dtype=torch.float64) for _ in range(layers)), (False,) * layers
    )
    sides = [model.layers(rows)[:layers] for rows in (x, y)]
    weights = [model.weights(rows)[:, :columns] for rows in (x, y)]
    return run(*sides, *weights, model.scale[:, :columns], kernel, detach=detach)


def naive_sum(x, y, x_weight, y_weight, scale, kernel, *, detach=None):
    """Σ scale s_i s_j k over ordered pairs, differentiated by torch."""
    if detach == "x":
        x, x_weight = [rows.detach() for rows in x], x_weight.detach()
    if detach == "y":
        y, y_weight = [rows.detach() for rows in y], y_weight.detach()
    n, weight = len(x_weight), torch.cat([x_weight, y_weight]).double()
    k, diagonal = 1.0, torch.eye(len(weight), dtype=torch.float64)
    for layer, sides in enumerate(zip(x, y)):
        z = torch.cat(sides).double()
        k = k * kernel.layer((z[:, None] - z).square().sum(dim=2) + diagonal, layer)[0]
    k = k * (1 - diagonal)
    pairs = torch.einsum("ic,ij,jc->ijc", weight, k, weight)
    blocks = pairs[:n, :n].sum((0, 1)), pairs[n:, n:].sum((0, 1)), pairs[:n, n:].sum((0, 1)) + pairs[n:, :n].sum((0, 1))
    return (scale * torch.stack(blocks)).sum()


def naive_mmd2(x, y, *, bandwidths, estimator="unbiased", x_weight=None, y_weight=None, detach=None, **family):
    family = family or {"kernel": "gaussian"}
    if detach is not None:
        x_weight, y_weight = (
            w.detach() if w is not None and side == detach else w for side, w in (("x", x_weight), ("y", y_weight))
        )
    kernel = Kernel(family.pop("kernel"), (torch.tensor(bandwidths, dtype=torch.float64),), (False,), **family)
    p, q = (
        rows.new_full((len(rows), 1), 1 / len(rows)).double() if w is None else (w / w.sum()).double()[:, None]
        for rows, w in ((x, x_weight), (y, y_weight))
    )
    squares = p.square().sum(), q.square().sum()
    one = torch.ones((), dtype=torch.float64)
    within = [1 / (1 - square) for square in squares] if estimator == "unbiased" else [one, one]
    value = naive_sum([x], [y], p, q, torch.stack([*within, -one])[:, None], kernel, detach=detach)
    return value + kernel.at_zero * sum(squares) if estimator == "biased" else value


def usual_mistake(x, y, **options):
    """Rows of other ranks are constants, and nobody adds what this rank owes them."""
    everyone = []
    for rows in (x, y):
        counts = row_counts(rows)[0]
        parts = list(gather_rows(rows.detach(), counts).split(counts))
        parts[rank()] = rows
        everyone.append(torch.cat(parts))
    return naive_mmd2(*everyone, **options)


def outcome(loss, model):
    """Value and parameter gradients, averaged over ranks as DDP averages them."""
    loss.backward()
    grads = {}
    for name, parameter in model.named_parameters():
        grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        grads[name] = sum_across_ranks(grad) / (dist.get_world_size() if dist.is_initialized() else 1)
    return {"value": loss.detach(), "gradient": grads}


def distance_of(model, x, y, weighted):
    z = torch.cat([model.layers(x)[1], model.layers(y)[1]])
    weight = model.weights(torch.cat([x, y]))[:, 0] if weighted else None
    return mean_squared_distance(z, weight, across_ranks=True)


def message(run, *args, **options):
    try:
        run(*args, **options)
    except ValueError as error:
        return str(error)
    return ""


def work(process, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=process, world_size=2)
    found = {}
    for split in SPLITS:
        for case, options in CASES.items():
            model = Model()
            found[split, case] = outcome(mmd2_of(mmd2_across_ranks, model, *batch(split), **options), model)
        for case, (layers, columns) in SUMS.items():
            for detach in (None, "x"):
                model = Model()
                loss = sum_of(mmd_sum_across_ranks, model, *batch(split), layers, columns, detach)
                found[split, case, detach] = outcome(loss, model)
        for weighted in (False, True):
            model = Model()
            found[split, "distance", weighted] = outcome(distance_of(model, *batch(split), weighted), model)
        found[split, "moving"] = MovingBandwidth(count=3)(*batch(split), across_ranks=True).sigmas
    model = Model()
    found["usual mistake"] = outcome(mmd2_of(usual_mistake, model, *batch("uneven")), model)
    for estimator in ("unbiased", "linear"):
        model = Model()
        run = partial(mmd2, across_ranks=True, estimator=estimator)
        found["mmd2", estimator] = outcome(mmd2_of(run, model, *batch("uneven")), model)
    found["own rows only"] = mmd2_of(naive_mmd2, Model(), *batch("uneven")).detach()

    counted, row_sums = [], reference.row_sums

    def counting(rows, rows_x, columns, *rest, **options):
        counted.append(len(rows[0]) * len(columns[0]))
        found["centre"] = columns[0].mean(dim=0)
        return row_sums(rows, rows_x, columns, *rest, **options)

    reference.row_sums = counting
    mmd2_of(mmd2_across_ranks, Model(), *batch("uneven"), backend="reference")
    reference.row_sums = row_sums
    found["pairs"] = counted

    with torch.no_grad():
        found["no gradient"] = mmd2_of(mmd2_across_ranks, Model(), *batch("uneven"))
    x, y = batch("uneven")
    weight = torch.ones(len(x))
    weight[0] = -1.0 if process else 1.0
    found["bad weight"] = message(mmd2_across_ranks, x, y, bandwidths=SIGMAS, x_weight=weight)
    found["few rows"] = message(mmd2_across_ranks, x[: 1 - process], y, bandwidths=SIGMAS)
    found["few weights"] = message(mmd2_across_ranks, x, y, bandwidths=SIGMAS, x_weight=weight.clamp_max(0).abs())
    found["few distances"] = message(mean_squared_distance, x[: 1 - process], across_ranks=True)
    found["row counts"] = row_counts(x, y)
    torch.save(found, f"{folder}/{process}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    run_two_ranks(work, str(folder))
    return [torch.load(folder / f"{process}.pt", weights_only=True) for process in range(2)]


def assert_same(found, expected, tolerance=1e-10):
    assert abs(found["value"] - expected["value"]) < tolerance * max(1, abs(expected["value"]))
    # one vector, because some parameters' gradients are nearly zero
    got, wanted = (torch.cat([grad.flatten() for grad in each["gradient"].values()]) for each in (found, expected))
    assert wanted.norm() > 1e-3
    assert (got - wanted).norm() < tolerance * wanted.norm()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("split", SPLITS)
def test_mmd2_is_that_of_one_process(two_processes, split, case):
    options, model = CASES[case], Model()
    oracle_dtype = options.get("dtype", torch.float64)
    expected = outcome(mmd2_of(naive_mmd2, model, *batch(), **options), model)
    for found in two_processes:
        assert_same(found[split, case], expected, 1e-10 if oracle_dtype == torch.float64 else 1e-5)
    assert torch.equal(*(found[split, case]["value"] for found in two_processes))


@pytest.mark.parametrize("case", SUMS)
@pytest.mark.parametrize("detach", [None, "x"])
@pytest.mark.parametrize("split", SPLITS)
def test_sums_are_those_of_one_process(two_processes, split, detach, case):
    model = Model()
    expected = outcome(sum_of(naive_sum, model, *batch(), *SUMS[case], detach), model)
    for name in ("first.weight", "weight.weight", "scale"):
        assert expected["gradient"][name].abs().max() > 1e-2
    for found in two_processes:
        assert_same(found[split, case, detach], expected)
    assert torch.equal(*(found[split, case, detach]["value"] for found in two_processes))


@pytest.mark.parametrize("split", SPLITS)
def test_mean_squared_distance_is_that_of_one_process(two_processes, split):
    for weighted in (False, True):
        model = Model()
        expected = outcome(distance_of(model, *batch(), weighted), model)
        for found in two_processes:
            assert_same(found[split, "distance", weighted], expected)
    for found in two_processes:
        expected = bandwidth_ladder(*batch(), count=3).sigmas
        torch.testing.assert_close(found[split, "moving"], expected.float())


@pytest.mark.parametrize("estimator", ["unbiased", "linear"])
def test_the_public_function_couples_the_ranks(two_processes, estimator):
    model = Model()
    expected = outcome(mmd2_of(partial(mmd2, estimator=estimator), model, *batch()), model)
    for found in two_processes:
        assert_same(found["mmd2", estimator], expected)


def test_the_comparison_sees_the_usual_mistakes(two_processes):
    model = Model()
    expected = outcome(mmd2_of(naive_mmd2, model, *batch()), model)
    for found in two_processes:
        mistake = found["usual mistake"]
        with pytest.raises(AssertionError):
            assert_same(mistake, expected, 1e-2)
        doubled = {"value": mistake["value"], "gradient": {n: 2 * g for n, g in mistake["gradient"].items()}}
        assert_same(doubled, expected)
        assert abs(found["own rows only"] - expected["value"]) > 0.1 * abs(expected["value"])


def test_each_rank_computes_its_own_rows_against_everyone(two_processes):
    """Gathered rows would cost every rank 16 x 16 pairs."""
    assert [found["pairs"] for found in two_processes] == [[8 * 16], [8 * 16]]
    for found in two_processes:
        assert found["centre"].abs().max() < 1e-12  # of features around 50


def test_without_gradients(two_processes):
    for found in two_processes:
        assert torch.equal(found["no gradient"], found["uneven", "unbiased"]["value"])


def test_bad_input_is_refused_on_every_rank_alike(two_processes):
    for found in two_processes:
        assert "x_weight: got a negative weight" in found["bad weight"]
        assert found["few rows"] == "mmd2: x has 1 row(s); the unbiased estimator needs 2"
        assert found["few weights"].startswith("mmd2: x_weight: 1 positive weight(s)")
        assert "wants (N, d) with N >= 2" in found["few distances"]
        assert found["row counts"] == [[3, 6], [5, 2]]


@pytest.mark.parametrize("case", CASES)
def test_one_process_alone(case):
    got, expected = Model(), Model()
    tolerance = 1e-5 if "dtype" in CASES[case] else 1e-10
    found = outcome(mmd2_of(mmd2_across_ranks, got, *batch(), **CASES[case]), got)
    assert_same(found, outcome(mmd2_of(naive_mmd2, expected, *batch(), **CASES[case]), expected), tolerance)


def test_a_backend_of_half_precision_gets_rows_rounded_after_centring(monkeypatch):
    x, y = ((rows + 50).bfloat16() for rows in batch())
    seen, pair_sums = [], reference.pair_sums

    def looking(rows, *rest, **options):
        seen.append(rows[0])
        return pair_sums(rows, *rest, **options)

    monkeypatch.setattr(reference, "pair_sums", looking)
    plain = mmd2_across_ranks(x, y, bandwidths=SIGMAS, backend="reference")
    monkeypatch.setattr(reference, "HALF", True)
    half = mmd2_across_ranks(x, y, bandwidths=SIGMAS, backend="reference")
    assert [rows.dtype for rows in seen] == [torch.float32, torch.bfloat16]
    assert torch.equal(seen[1], seen[0].bfloat16())
    assert seen[0].mean(dim=0).abs().max() < 1e-5
    assert plain.dtype == half.dtype == torch.float32
    assert half.item() == pytest.approx(plain.item(), abs=1e-2)


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ({"x": torch.zeros(1, 2)}, r"x has 1 row\(s\); the unbiased estimator needs 2"),
        ({"y": torch.zeros(3, 4)}, r"\(3, 4\)"),
        ({"x": torch.zeros(3, 2, dtype=torch.long)}, "wants float"),
        ({"estimator": "unbias"}, "did you mean 'unbiased'"),
        ({"kernel": "gausian"}, "did you mean 'gaussian'"),
        ({"detach": "z"}, "detach: got 'z'"),
        ({"backend": "referense"}, "did you mean 'reference'"),
        ({"bandwidths": [1.0, 0.0]}, "wants numbers above 0"),
        ({"x_weight": torch.ones(2)}, r"x_weight: got shape \(2,\) for 3 rows"),
        ({"y_weight": torch.tensor([1.0, 0.0, 0.0])}, r"y_weight: 1 positive weight\(s\); .* needs 2"),
    ],
)
def test_bad_input_is_refused(arguments, wanted):
    given = {"x": torch.zeros(3, 2), "y": torch.zeros(3, 2), "bandwidths": [1.0], **arguments}
    with pytest.raises(ValueError, match=wanted):
        mmd2_across_ranks(given.pop("x"), given.pop("y"), **given)
