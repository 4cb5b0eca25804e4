"""Columns that name a row are left out; a column that happens to be distinct in each row is not."""

import uuid

import numpy as np
import pandas as pd
import pytest

from tl_research.data.catalog.files import FilesConfig, load
from tl_research.data.readers.identifiers import identifier_reason
from tl_research.errors import DataError

N = 400
RNG = np.random.default_rng(0)


def reason(name, *columns):
    parts = [pd.Series(column) for column in columns]
    return identifier_reason(name, parts, [np.arange(1, len(part) + 1) for part in parts])


def texts(values):
    return np.array([None if value is None else str(value) for value in values], dtype=object)


NAMES_ROWS = {
    "numbers": ("x", np.arange(N) + 7.0, "numbers the rows"),
    "downwards": ("x", 5000.0 - np.arange(N), "numbers the rows"),
    "shuffled": ("x", RNG.permutation(N).astype(float), "another whole number in each row"),
    "with gaps": ("x", RNG.choice(4 * N, N, replace=False).astype(float), "another whole number in each row"),
    "zeros": ("x", texts(f"{row:06d}" for row in range(N)), "numbers the rows"),
    "customer_id": ("customer_id", RNG.integers(1, 10**9, N).astype(float), "is called an identifier and has 400"),
    "repeats": ("customerId", np.repeat(RNG.integers(1, 10**9, N // 2), 2).astype(float), "200 distinct values in 400"),
    "codes": ("Kunden-ID", texts(f"K{value}" for value in RNG.integers(1, 10**6, N)), "is called an identifier"),
    "invoice_no": ("invoice_no", RNG.choice(10**8, N, replace=False).astype(float), "is called an identifier"),
    "mail": ("contact", texts(f"user{row % 300}@mail{row % 5}.example.com" for row in range(N)), "e-mail addresses"),
    "mail of few": ("x", texts(["a@b.de", "c@d.de", "e@f.de", "g@h.de", "i@j.de", None] * 20), "e-mail addresses"),
    "links": ("page", texts(f"https://shop.example/p/{row}?q=1" for row in range(N)), "web addresses"),
    "uuid": ("x", texts(uuid.UUID(int=int(value)) for value in RNG.integers(1, 2**62, N)), "UUIDs"),
    "phones": (
        "x",
        texts(f"+49 170 {value}" for value in RNG.choice(10**7, N, replace=False) + 10**7),
        "phone numbers",
    ),
    "phone": ("mobile_no", RNG.integers(10**9, 10**10, N).astype(float), "phone numbers"),
}
DESCRIBES_ROWS = {
    "price with cents": ("price", np.round(RNG.permutation(N) + RNG.uniform(0.01, 0.99, N), 2)),
    "amount": ("amount", np.round(RNG.lognormal(9, 1, N))),
    "wide amount": ("amount", RNG.choice(10**7, N, replace=False).astype(float)),
    "sorted amount": ("amount", np.sort(RNG.choice(10**6, N, replace=False)).astype(float)),
    "noise": ("x", RNG.normal(size=N)),
    "age": ("age", RNG.integers(18, 90, N).astype(float)),
    "a shop": ("store_id", RNG.integers(1, 40, N).astype(float)),
    "a shop's code": ("shop_uuid", texts(uuid.UUID(int=int(value)) for value in RNG.integers(1, 9, N))),
    "a count": ("visits_number", RNG.poisson(900, N).astype(float)),
    "few rows": ("customer_id", np.arange(10.0)),
    "referrer": ("referrer", texts(f"https://site{row % 7}.example/" for row in range(N))),
    "a zip": ("zip", texts(f"{value:05d}" for value in RNG.integers(1000, 1200, N))),
    "versions": ("x", texts(f"1.{row}.0" for row in range(N))),
    "product": ("name", texts(f"chair {row}" for row in range(N))),
    "one gap too many": ("x", np.append(np.arange(N - 1.0), 3.0)),
}


@pytest.mark.parametrize("case", NAMES_ROWS)
def test_what_names_a_row(case):
    name, values, said = NAMES_ROWS[case]
    assert said in reason(name, values)
    # Over two files: one alone may prove nothing.
    assert said in reason(name, values, values[: N // 2]) or case in ("repeats", "customer_id", "codes", "invoice_no")


@pytest.mark.parametrize("case", DESCRIBES_ROWS)
def test_what_describes_a_row(case):
    name, values = DESCRIBES_ROWS[case]
    assert reason(name, values) == ""


def test_amounts_drawn_at_random_are_hardly_ever_taken_for_numbers_of_rows():
    taken = 0
    for seed in range(2000):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(20, 2000))
        taken += bool(reason("amount", rng.integers(1, int(n ** rng.uniform(0.5, 3)) + 2, n).astype(float)))
    assert taken <= 1


def test_every_file_must_number_its_rows():
    assert reason("x", np.arange(N, dtype=float), RNG.integers(0, 50, N).astype(float)) == ""
    assert reason("x", np.arange(N, dtype=float), np.array([3.0, 9.0])) == "numbers the rows"


def shop(seed, n=60):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"order_id": rng.integers(1, 10**8, n), "mail": [f"u{i}@x.example" for i in range(n)]})
    frame["day"] = pd.date_range("2024-01-01", periods=n).strftime("%Y-%m-%d")
    frame["price"] = np.round(rng.uniform(1, 99, n), 2)
    return frame.assign(y=np.where(frame["price"] > 50, "yes", "no"))


def read(**more):
    shop(0).to_csv("s.csv", index=False)
    shop(1).to_csv("t.csv", index=False)
    return load(FilesConfig(**{"sources": ["s.csv"], "target": "t.csv", "label": "y"} | more), ["s.csv", "t.csv"])


def test_they_are_set_aside_by_name_and_can_be_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    domains = read()
    target = domains["t.csv"]
    assert [name for name in target.inputs if "(" not in name] == [
        "day",
        "price",
    ]  # one day a row is a date all the same
    assert target.aside["mail"].tolist() == [f"u{i}@x.example" for i in range(60)]
    assert target.schema.columns["order_id"].kind == "drop"
    assert target.info["columns_dropped"] == ["mail", "order_id"]
    remarks = " ".join(target.remarks)
    assert "column 'mail' is left out: it holds e-mail addresses (s.csv, t.csv); data.schema.mail=category" in remarks
    assert "column 'order_id' is left out: it is called an identifier and has 120 distinct values in 120 " in remarks
    kept = read(schema={"order_id": "number"}, categorical=["mail"])["t.csv"]
    assert {"order_id", "mail"} <= set(kept.inputs)
    assert kept.aside is None
    with pytest.raises(DataError, match="no column is left to learn from; column 'order_id' is left out"):
        read(drop=["price", "day", "mail"])
