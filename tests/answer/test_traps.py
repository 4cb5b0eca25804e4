"""Files that make an answer look better than it is: what is said of them is what is true without the trap."""

import numpy as np
import pandas as pd
import pytest

import tl_research
from tests.answer.files import FAST, shop

OPTIONS = {"label": "bought", "overrides": FAST, "jobs": 1, "resamples": 2}


def answer(old, new, folder, **more):
    return tl_research.compare(old, new, output=folder, **OPTIONS | more)


def leaking(rows, seed):
    """Visits with the date of a refund, which only those have that bought: known long after the label."""
    frame = shop(rows, seed)
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.random.default_rng(seed).integers(0, 300, rows), unit="D")
    return frame.assign(refunded=pd.Series(days).where(frame["bought"] == "yes").dt.strftime("%Y-%m-%d"))


@pytest.fixture(scope="module")
def leak(tmp_path_factory):
    return answer(leaking(150, 0), leaking(80, 1), tmp_path_factory.mktemp("leak"))


def figures(found) -> pd.Series:
    return found.table.set_index("row")["auroc"]


def test_the_answer_of_files_with_a_leak_is_that_of_files_without_it(leak, tmp_path):
    honest = answer(shop(150, 0), shop(80, 1), tmp_path)
    pd.testing.assert_series_equal(figures(leak), figures(honest))
    assert leak.verdict == honest.verdict


def test_what_the_leak_would_make_of_it_is_said_beside(leak):
    said = leak.facts["leaks"]
    assert [each["column"] for each in said["columns"]] == ["refunded"]
    assert said["with"]["with_old"] > 0.99
    assert said["without"]["with_old"] == pytest.approx(leak.facts["verdict"]["row"])
    page = (leak.folder / "answer.md").read_text()
    assert "Left out: `refunded`, which tells the label almost alone by whether it has a value" in page
    assert "Known before the outcome? Then keep it: --keep-column refunded" in page


def test_the_model_does_not_ask_for_the_leak(leak):
    fresh = leaking(50, 2)
    said = leak.model.predict(fresh.drop(columns=["bought", "refunded"]))
    pd.testing.assert_frame_equal(leak.model.predict(fresh), said)


def test_a_column_that_is_vouched_for_is_used(tmp_path):
    kept = answer(leaking(150, 0), leaking(80, 1), tmp_path, keep_columns=["refunded"])
    assert kept.facts["leaks"] == {}
    assert kept.facts["verdict"]["row"] > 0.99


def test_labelled_rows_of_the_new_file_in_the_old_one_are_no_old_data(tmp_path):
    old, new = shop(100, 0), shop(40, 1).assign(bought=np.random.default_rng(3).choice(["no", "yes"], 40))
    mixed = pd.concat([old.iloc[:50], new, old.iloc[50:]], ignore_index=True)
    found, honest = answer(mixed, new, tmp_path), answer(old, new, tmp_path)
    assert any("40 of 140 rows are labelled rows of" in line for line in found.facts["remarks"])
    pd.testing.assert_series_equal(figures(found), figures(honest))


def test_rows_that_stand_three_times_are_not_learnt_by_heart(tmp_path):
    """Labels that nothing tells: whoever has seen a row's twin knows its label, and nobody else does."""
    new = shop(60, 1).assign(bought=np.random.default_rng(3).choice(["no", "yes"], 60))
    new = pd.concat([new] * 3).sample(frac=1, random_state=0)
    found = answer(shop(100, 0), new, tmp_path, resamples=5)  # every row is tested
    assert found.facts["rows"]["groups"] == 60
    assert figures(found)["new data only"] < 0.75


def test_rows_of_one_customer_are_on_one_side(tmp_path):
    """A customer decides once: the same answer at every visit, which differ in all they hold but in who it is."""
    random = np.random.default_rng(0)
    new = shop(160, 1)
    customer = np.repeat(np.arange(40), 4)
    taste = random.normal(size=(40, 8))
    for at in range(8):
        new[f"x{at}"] = taste[customer, at] + 0.01 * random.normal(size=160)
    new["bought"] = random.choice(["no", "yes"], 40)[customer]
    new["customer_id"] = customer + 500
    old = shop(100, 0).assign(customer_id=9000 + np.arange(100) // 2)
    apart = answer(old, new, tmp_path, group="customer_id")
    mixed = answer(old, new, tmp_path)
    assert figures(mixed)["new data only"] > 0.95
    assert figures(apart)["new data only"] < 0.75
    assert any("--group customer_id" in line for line in mixed.facts["remarks"])
