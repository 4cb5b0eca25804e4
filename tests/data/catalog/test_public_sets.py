import time

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.datasets import load_digits

from tl_research.data.catalog import amazon_reviews, bank_marketing, digits, hotel_bookings
from tl_research.errors import ConfigError, DataError
from tl_research.registry import DATASETS

MODULES = {
    "amazon_reviews": amazon_reviews,
    "hotel_bookings": hotel_bookings,
    "bank_marketing": bank_marketing,
    "digits": digits,
}

FETCHED = [
    *("amazon_reviews", "hotel_bookings", "bank_marketing"),
    *("fashion_products", "fdu_reviews", "office10_googlenet", "womens_clothing"),
]


def task(name, sources, target):
    return DATASETS.get(name).config(sources=list(sources), target=target)


def test_every_set_is_registered_and_names_its_files():
    assert set(MODULES) | {"files", "simulated_market", "two_moons"} <= set(DATASETS.names())
    for entry in DATASETS.entries():
        if entry.target.__module__.startswith("tl_research.") and entry.module is None:
            assert isinstance(entry.target.files, list)
            if entry.name not in ("files", "product_files"):  # whose own keys have no default
                assert entry.config().name == entry.name


@pytest.mark.parametrize("name", FETCHED)
def test_declared_files_are_those_of_the_record_of_origins(name, mirror_folder):
    record = mirror_folder / "PROVENANCE.tsv"
    if not record.exists():
        pytest.skip("the mirror has no PROVENANCE.tsv")
    table = pd.read_csv(record, sep="\t").set_index(["set", "file"])
    for file in DATASETS.get(name).target.files:
        if file.made_from:  # has no public origin
            continue
        row = table.loc[(file.mirror_folder, file.name)]
        assert (row.repo, row.commit, row.path) == (file.repo, file.commit, file.path)
        assert (row.bytes, row.sha256) == (file.bytes, file.sha256)


@pytest.mark.parametrize("name", FETCHED)
def test_without_files_the_command_to_run_is_named(name, no_mirror):
    sources, target = DATASETS.get(name).domains[:2]
    with pytest.raises(DataError, match=f"tl-research data fetch {name}"):
        DATASETS.get(name).target(task(name, [sources], target), [sources, target])


AMAZON_TEST = {"books": (2201, 2264), "dvd": (1779, 1807), "electronics": (2824, 2857), "kitchen": (2991, 2954)}


def test_amazon_reviews_have_the_published_sizes(real_data):
    config = task("amazon_reviews", ["books"], "dvd")
    assert config.scale == "log1p"
    domains = amazon_reviews.load(config, list(AMAZON_TEST))
    for name, counts in AMAZON_TEST.items():
        domain = domains[name]
        assert domain.classes == ("negative", "positive")
        assert sp.issparse(domain.inputs)
        assert domain.inputs.format == "csr"
        assert domain.inputs.shape == (2000 + sum(counts), 5000)
        assert np.bincount(domain.label[domain.split == 0]).tolist() == [1000, 1000]
        assert tuple(np.bincount(domain.label[domain.split == 1])) == counts
        assert domain.inputs.data.min() == 1
        assert domain.inputs.data.max() <= 84


def test_amazon_columns_count_from_zero(real_data, mirror_folder):
    """The first training review of books begins `1 0:6 1:8 2:8 3:2`; the derived npz holds the same rows."""
    books = amazon_reviews.load(task("amazon_reviews", ["books"], "dvd"), ["books"])["books"]
    assert books.inputs[0, :4].toarray().tolist() == [[6, 8, 8, 2]]
    assert books.label[0] == 1
    derived = mirror_folder / "amazon_dann5000" / "amazon_dann5000_csr.npz"
    if derived.exists():
        with np.load(derived) as file:
            for part, code in (("train", 0), ("test", 1)):
                data, indices, indptr, y = (file[f"books_{part}_{key}"] for key in ("data", "indices", "indptr", "y"))
                other = sp.csr_matrix((data.astype(np.float32), indices.astype(np.int32), indptr), shape=(len(y), 5000))
                assert abs(books.inputs[books.split == code] - other).nnz == 0
                np.testing.assert_array_equal(books.label[books.split == code], y)


def test_amazon_parses_once_in_a_process(real_data):
    config = task("amazon_reviews", ["books"], "kitchen")
    amazon_reviews.load(config, list(AMAZON_TEST))
    misses = amazon_reviews._parse.cache_info().misses
    began = time.process_time()
    amazon_reviews.load(config, list(AMAZON_TEST))
    assert amazon_reviews._parse.cache_info().misses == misses
    assert time.process_time() - began < 1.0


def test_hotel_file_holds_what_the_catalog_says(real_data):
    hotel_bookings.load(task("hotel_bookings", ["city"], "resort"), ["city"])
    rows = hotel_bookings.read_bookings(str(real_data / "hotel_bookings" / "hotel_bookings.csv.zip"))
    assert rows.shape == (119_390, 32)
    assert rows["hotel"].value_counts().to_dict() == {"City Hotel": 79_330, "Resort Hotel": 40_060}
    assert rows["arrival_date_year"].value_counts().to_dict() == {"2015": 21_996, "2016": 56_707, "2017": 40_687}
    assert rows.duplicated().sum() == 31_994


@pytest.mark.parametrize(
    ("names", "chosen_by"),
    [
        (("city", "resort"), "hotel"),
        (("y2015", "y2016", "y2017"), "arrival_date_year"),
        (("direct", "online_ta"), "market_segment"),
    ],
)
def test_hotel_domains(real_data, names, chosen_by):
    domains = hotel_bookings.load(task("hotel_bookings", names[:-1], names[-1]), list(names))
    columns = [list(domain.inputs) for domain in domains.values()]
    assert all(found == columns[0] for found in columns)
    assert len(columns[0]) == 32 - 1 - 6 - 1
    leaks = {"reservation_status", "reservation_status_date", "assigned_room_type", "agent", "company", "country"}
    assert not (leaks | {chosen_by, "is_canceled"}) & set(columns[0])
    for domain in domains.values():
        assert domain.classes == ("kept", "cancelled")
        assert domain.split is None
        assert domain.inputs["lead_time"].dtype == np.float64
        assert domain.inputs["meal"].dtype == object
    if chosen_by == "hotel":
        assert {name: len(d) + d.info["duplicates_dropped"] for name, d in domains.items()} == {
            "city": 79_330,
            "resort": 40_060,
        }
        assert sum(d.info["duplicates_dropped"] for d in domains.values()) == 31_994
        assert domains["city"].inputs["children"].isna().sum() == 4


def test_labels_follow_their_rows_when_copies_are_dropped(real_data):
    """Of the rows kept, those that were checked out are the ones not cancelled."""
    config = task("hotel_bookings", ["city"], "resort")
    resort = hotel_bookings.load(config, ["resort"])["resort"]
    rows = hotel_bookings.read_bookings(str(real_data / "hotel_bookings" / "hotel_bookings.csv.zip"))
    rows = rows[rows["hotel"] == "Resort Hotel"].drop_duplicates()
    np.testing.assert_array_equal(resort.label, rows["is_canceled"].astype(int))
    np.testing.assert_array_equal(resort.label == 0, rows["reservation_status"] == "Check-Out")
    np.testing.assert_array_equal(resort.inputs["adr"], rows["adr"].astype(float))


def test_bank_calls_and_their_domains(real_data):
    names = ["first_half", "second_half"]
    domains = bank_marketing.load(task("bank_marketing", names[:1], names[1]), names)
    calls = bank_marketing.read_calls(str(real_data / "bank_marketing" / "bank+marketing.zip"))
    assert calls.shape == (41_188, 21)
    assert (calls["y"] == "yes").sum() == 4640
    first, second = domains.values()
    assert [len(d) + d.info["duplicates_dropped"] for d in (first, second)] == [20_594, 20_594]
    assert "duration" not in first.inputs
    assert first.classes == ("no", "yes")
    # the euro interest rate fell from above 4 in 2008 to about 1: the halves are in order of time
    assert first.inputs["euribor3m"].mean() > 4.5 > 3 > second.inputs["euribor3m"].mean()
    assert first.inputs["age"].dtype == np.float64
    lines = bank_marketing.load(task("bank_marketing", ["telephone"], "cellular"), ["telephone", "cellular"])
    sizes = {name: len(d) + d.info["duplicates_dropped"] for name, d in lines.items()}
    assert sizes == {"telephone": 15_044, "cellular": 26_144}
    assert "contact" not in lines["cellular"].inputs
    assert lines["cellular"].label.mean() == pytest.approx(0.147, abs=1e-3)


def test_a_caller_may_change_what_it_was_given(real_data):
    config = task("bank_marketing", ["telephone"], "cellular")
    first = bank_marketing.load(config, ["telephone"])["telephone"]
    expected = first.label.copy(), first.inputs["age"].copy()
    first.label[:] = 7
    first.inputs.loc[:, "age"] = -1.0
    first.info.clear()
    again = bank_marketing.load(config, ["telephone"])["telephone"]
    np.testing.assert_array_equal(again.label, expected[0])
    np.testing.assert_array_equal(again.inputs["age"], expected[1])
    assert again.info


@pytest.mark.parametrize(
    ("name", "sources", "target"),
    [
        ("hotel_bookings", ["city"], "y2017"),
        ("hotel_bookings", ["y2015", "direct"], "y2017"),
        ("bank_marketing", ["first_half"], "cellular"),
    ],
)
def test_domains_that_share_rows_make_no_task(name, sources, target):
    with pytest.raises(ConfigError, match=r"data\.(sources|target): .* shares rows with .* of data\.sources"):
        task(name, sources, target)


def test_digits_are_dealt_once_and_changed_as_stated():
    images, labels = load_digits(return_X_y=True)
    rows = {name: digits.rows_of(name) for name in digits.DOMAINS}
    assert sorted(np.concatenate(list(rows.values()))) == list(range(1797)), "every image is in exactly one domain"
    domains = digits.load(task("digits", ["upright"], "inverted"), list(digits.DOMAINS))
    for name, domain in domains.items():
        np.testing.assert_array_equal(domain.label, labels[rows[name]])
        assert domain.inputs.shape == (len(rows[name]), 64)
        assert domain.inputs.dtype == np.float32
        assert domain.inputs.min() >= 0
        assert domain.inputs.max() <= 16
        assert set(domain.label) == set(range(10))
    np.testing.assert_array_equal(domains["upright"].inputs, images[rows["upright"]])
    np.testing.assert_array_equal(domains["inverted"].inputs, 16 - images[rows["inverted"]])
    original = images[rows["shifted"]].reshape(-1, 8, 8)
    shifted = domains["shifted"].inputs.reshape(-1, 8, 8)
    np.testing.assert_array_equal(shifted[:, 1:, 1:], original[:, :-1, :-1])
    assert shifted[:, 0].max() == shifted[:, :, 0].max() == 0
    assert 2 < np.abs(domains["noisy"].inputs - images[rows["noisy"]]).mean() < 4


def test_a_set_loads_the_same_rows_whatever_else_is_asked():
    one = digits.load(task("digits", ["upright"], "noisy"), ["noisy"])["noisy"]
    two = digits.load(task("digits", ["upright"], "noisy"), ["upright", "noisy"])["noisy"]
    np.testing.assert_array_equal(one.inputs, two.inputs)
