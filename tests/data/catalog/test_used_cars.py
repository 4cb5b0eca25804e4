import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.metrics import r2_score

from tl_research.config import compose
from tl_research.data.catalog import used_cars
from tl_research.errors import ConfigError, DataError
from tl_research.registry import DATASETS
from tl_research.runs.experiment import run

#: Rows of each file, and exact copies among them.
COUNTS = {
    "audi": (10_668, 103),
    "bmw": (10_781, 117),
    "ford": (17_965, 154),
    "vw": (15_157, 264),
    "merc": (13_119, 259),
    "vauxhall": (13_632, 374),
    "toyota": (6_738, 39),
    "skoda": (6_267, 79),
    "hyundi": (4_860, 86),
    "focus": (5_454, 696),
}
COLUMNS = {"year", "transmission", "mileage", "fuelType", "tax", "mpg", "engineSize"}


def config(sources, target, **options):
    return DATASETS.get("used_cars").config(sources=list(sources), target=target, **options)


def test_declared_files_are_those_of_the_record_of_origins(mirror_folder):
    table = pd.read_csv(mirror_folder / "PROVENANCE.tsv", sep="\t")
    table = table[table["set"] == "used_cars_uk"].set_index("file")
    assert set(table.index) == {file.name for file in used_cars.FILES}
    for file in used_cars.FILES:
        row = table.loc[file.name]
        assert (row.repo, row.commit, row.path, file.mirror_folder) == (
            file.repo,
            file.commit,
            file.path,
            "used_cars_uk",
        )
        assert (row.bytes, row.sha256) == (file.bytes, file.sha256)


def test_without_files_the_command_to_run_is_named(no_mirror):
    with pytest.raises(DataError, match="tl-research data fetch used_cars"):
        used_cars.load(config(["bmw"], "audi"), ["bmw", "audi"])


def test_brands_their_columns_and_their_prices(real_data):
    names = [name for name in COUNTS if name != "focus"]
    domains = used_cars.load(config(names[1:], names[0]), names)
    for name, (rows, copies) in {name: COUNTS[name] for name in names}.items():
        domain = domains[name]
        assert domain.label_kind.name == "regression"
        assert set(domain.inputs) == COLUMNS
        assert (len(domain), domain.info["duplicates_dropped"]) == (rows - copies, copies)
        assert domain.info["columns_dropped"] == ["model"]
        assert not domain.inputs.isna().any().any()
    # the first row of audi.csv: A1, 2017, 12500, Manual, 15735, Petrol, 150, 55.4, 1.4
    assert domains["audi"].label[0] == pytest.approx(np.log(12_500))
    assert domains["audi"].inputs.iloc[0].tolist() == [2017, "Manual", 15735, "Petrol", 150, 55.4, 1.4]
    pounds = used_cars.load(config(["bmw"], "audi", label_scale="price"), ["audi"])["audi"]
    assert pounds.label[0] == 12_500
    np.testing.assert_allclose(np.exp(domains["audi"].label), pounds.label)


def test_focus_lacks_two_columns_and_overlaps_ford(real_data):
    domains = used_cars.load(config(["vw"], "focus"), ["vw", "focus"])
    for domain in domains.values():
        assert set(domain.inputs) == COLUMNS - {"tax", "mpg"}
    assert domains["vw"].info["columns_dropped"] == ["model", "mpg", "tax"]
    rows, copies = COUNTS["focus"]
    assert (len(domains["focus"]), domains["focus"].info["duplicates_dropped"]) == (rows - copies, copies)
    assert set(used_cars.load(config(["vw"], "audi"), ["vw"])["vw"].inputs) == COLUMNS
    with pytest.raises(ConfigError, match="'focus' shares rows with 'ford'"):
        config(["ford", "vw"], "focus")
    with pytest.raises(ConfigError, match=r"data\.label_scale: got 'ln'"):
        config(["vw"], "audi", label_scale="ln")


def matrices(domains):
    frames = [domain.inputs.copy() for domain in domains]
    for column in ("transmission", "fuelType"):
        codes = pd.concat([frame[column] for frame in frames]).astype("category").cat.categories
        for frame in frames:
            frame[column] = pd.Categorical(frame[column], categories=codes).codes
    return [frame.to_numpy(float) for frame in frames]


@pytest.mark.slow
@pytest.mark.parametrize(("source", "target", "transferred", "own"), [("bmw", "audi", 0.853, 0.943)])
def test_the_measured_gap(real_data, source, target, transferred, own):
    """R² of the log price by gradient boosting: trained on the source, and on half of the target."""
    domains = used_cars.load(config([source], target), [source, target])
    x, z = matrices(domains.values())
    y, w = (domain.label for domain in domains.values())
    order = np.random.default_rng(0).permutation(len(w))
    test, train = np.array_split(order, 2)
    model = HistGradientBoostingRegressor(random_state=0)
    assert r2_score(w[test], model.fit(x, y).predict(z[test])) == pytest.approx(transferred, abs=0.02)
    assert r2_score(w[test], model.fit(z[train], w[train]).predict(z[test])) == pytest.approx(own, abs=0.02)


@pytest.mark.slow
def test_a_run_has_the_same_figure(real_data, tmp_path):
    """The whole path, from recipe to record: one-hot, boosted on standardised labels, measured in log pounds."""
    record = run(
        compose(
            {
                "data": {"name": "used_cars", "sources": ["bmw"], "target": "audi", "scale": "none"},
                "method": {"name": "shallow", "head": "boosting"},
                "wandb": {"mode": "disabled"},
                "output": str(tmp_path),
            }
        )
    )
    assert record.metrics["last"]["target_test/r2"] == pytest.approx(0.853, abs=0.02)
    assert record.metrics["last"]["target_test/rmse"] < 0.25
    assert record.data["domains"]["audi"]["duplicates_dropped"] == 103
    assert record.data["label"]["mean"] == pytest.approx(9.9, abs=0.2)
