"""Columns and rows that may be leaks: which they are, domains without them, and what is said."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from tl_research.answer.leaks import Suspect, refuse_unknown, rows_of, suspects, without_columns, without_copies
from tl_research.answer.with_leaks import Figures, with_and_without
from tl_research.data.audit import audit
from tl_research.data.domain import Domain
from tl_research.data.modalities import Modalities
from tl_research.data.readers.rules import ColumnRule
from tl_research.data.readers.schema import Schema
from tl_research.errors import ConfigError, DataError


def domain(name, rows=200, seed=0, **columns):
    random = np.random.default_rng(seed)
    label = random.integers(0, 2, rows)
    frame = pd.DataFrame({"age": random.normal(size=rows), "spent": random.normal(size=rows)})
    frame = frame.assign(**{column: make(label) for column, make in columns.items()})
    schema = Schema({column: ColumnRule("number") for column in frame.columns})
    return Domain(name, frame, label, ("0", "1"), origin=f"{name}.csv", schema=schema)


def both(**columns):
    return {"old": domain("old", seed=0, **columns), "new": domain("new", seed=1, **columns)}


def found(domains, **options):
    audit(domains, "new")
    return suspects(domains["new"].findings, target="new", **options)


def test_plain_columns_are_no_suspects():
    assert found(both()) == []


def test_a_copy_of_the_label_is_a_suspect_unless_it_is_kept():
    (suspect,) = found(both(won=lambda label: label * 3.0))
    assert (suspect.column, suspect.kind) == ("won", "value_tells")
    assert suspect.said == "`won`, which tells the label almost alone (AUROC 1.00 in old.csv, AUROC 1.00 in new.csv)"
    assert found(both(won=lambda label: label * 3.0), keep=["won"]) == []


def test_a_column_that_the_target_lacks_is_a_suspect_and_one_that_a_source_lacks_is_none():
    domains = both(visits=lambda label: np.arange(len(label)) % 5 * 1.0)
    domains["new"].inputs["visits"] = np.nan
    assert [suspect.kind for suspect in found(domains)] == ["empty_column"]
    domains = both(visits=lambda label: np.arange(len(label)) % 5 * 1.0)
    domains["old"].inputs["visits"] = np.nan
    assert found(domains) == []


def test_domains_without_a_column_leave_the_first_as_they_are():
    domains = both(won=lambda label: label * 3.0)
    changed = without_columns(domains, ["won"])
    for name in domains:
        assert list(changed[name].inputs.columns) == ["age", "spent"]
        assert changed[name].schema.columns["won"].kind == "drop"
        assert domains[name].schema.columns["won"].kind == "number"
        assert "won" in domains[name].inputs


def test_where_all_columns_are_suspect_all_are_kept():
    domains = both()
    assert without_columns(domains, ["age", "spent"])["new"] is domains["new"]


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix], ids=["dense", "sparse"])
def test_a_column_of_a_matrix_is_0(kind):
    x = np.random.default_rng(0).normal(size=(30, 4))
    given = {"new": Domain("new", kind(x), np.arange(30) % 2, ("0", "1"))}
    changed = without_columns(given, [2])["new"].inputs
    changed = changed.toarray() if sp.issparse(changed) else changed
    np.testing.assert_array_equal(changed, x * [1, 1, 0, 1])
    first = given["new"].inputs
    np.testing.assert_array_equal(first.toarray() if sp.issparse(first) else first, x)


def test_a_table_beside_texts_may_lose_its_last_column():
    text = np.array(["red", "blue"] * 10, dtype=object)
    inputs = Modalities(text=text, table=pd.DataFrame({"won": np.arange(20.0)}))
    changed = without_columns({"new": Domain("new", inputs, np.arange(20) % 2, ("0", "1"))}, ["won"])["new"]
    assert changed.inputs.names == ("text",)


def test_old_rows_that_are_labelled_rows_of_the_target_are_taken_out_whatever_their_label():
    old, new = domain("old", seed=0), domain("new", seed=1)
    frame = pd.concat([new.inputs, old.inputs.iloc[:40]], ignore_index=True)
    label = np.concatenate([new.label, 1 - old.label[:30], np.full(10, -1)])
    domains = {"old": old, "new": Domain("new", frame, label, ("0", "1"), origin="new.csv")}
    kept, remarks = without_copies(domains, "new")
    assert remarks == ["old.csv: 30 of 200 rows are labelled rows of new.csv too, and are left out of the old data"]
    # The ten that the target has without a label stay: their label is what the old file is for.
    pd.testing.assert_frame_equal(kept["old"].inputs, old.inputs.iloc[30:].reset_index(drop=True))
    np.testing.assert_array_equal(kept["old"].label, old.label[30:])
    assert kept["old"].place(0) == "old.csv, row 31"
    assert kept["new"] is domains["new"]


def test_a_number_of_the_row_does_not_hide_a_copy():
    old = domain("old")
    frame = old.inputs.assign(id=np.arange(200))
    old.inputs = frame
    new = Domain("new", frame.iloc[:50].assign(id=np.arange(50) + 7), old.label[:50], ("0", "1"))
    assert len(without_copies({"old": old, "new": new}, "new", ignored=["id"])[0]["old"]) == 150


def test_rows_that_are_equal_by_chance_stay():
    random = np.random.default_rng(0)
    parts = {}
    for name in ("old", "new"):
        frame = pd.DataFrame({"size": random.choice(list("SML"), 300), "colour": random.choice(list("rgb"), 300)})
        parts[name] = Domain(name, frame, random.integers(0, 2, 300), ("0", "1"), origin=f"{name}.csv")
    kept, (remark,) = without_copies(parts, "new")
    assert len(kept["old"]) == 300
    assert "by chance: they are kept" in remark


def test_a_copy_of_the_target_is_no_old_file():
    old = domain("old")
    new = Domain("new", old.inputs, old.label, ("0", "1"), origin="new.csv")
    with pytest.raises(DataError, match="there are no old data"):
        without_copies({"old": old, "new": new}, "new")
    kept, remarks = without_copies({"old": old, "other": domain("other", seed=5), "new": new}, "new")
    assert set(kept) == {"other", "new"}
    assert "nothing is left of this file" in remarks[0]


def test_rows_of_a_domain_keep_all_that_belongs_to_them():
    part = domain("old")
    part.extra, part.split = {"user": np.arange(200)}, np.arange(200) % 2
    taken = rows_of(part, np.array([5, 9]))
    assert taken.extra["user"].tolist() == [5, 9]
    assert taken.split.tolist() == [1, 1]
    assert taken.place(1) == "old.csv, row 10"


def test_a_column_to_keep_that_there_is_not():
    with pytest.raises(ConfigError, match=r"--keep-column: new\.csv has no column 'wonn'; did you mean 'won'"):
        refuse_unknown(["wonn"], domain("new", won=lambda label: label))
    refuse_unknown(["won"], domain("new", won=lambda label: label))


def test_what_is_said_with_and_without():
    lines = with_and_without(
        [Suspect("won", "value_tells", "AUROC 1.00 in old.csv")], "auroc", Figures(0.7123, 0.6), Figures(0.99, 0.98)
    )
    assert lines == [
        "Left out: `won`, which tells the label almost alone (AUROC 1.00 in old.csv).",
        "Without it: AUROC 0.712 with the old data against 0.600 from the new data alone; with it: 0.990 against "
        "0.980.",
        "Known before the outcome? Then keep it: --keep-column won",
    ]
