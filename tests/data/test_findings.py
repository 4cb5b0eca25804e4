"""What the audit finds, as facts: kind, columns, rows, the way out; and its silence about plain files."""

import numpy as np
import pandas as pd
import pytest

from tl_research.data.audit import audit
from tl_research.data.audit.findings import KINDS, Finding, sentences
from tl_research.data.catalog.files import FilesConfig, load
from tl_research.data.domain import Domain
from tl_research.data.readers.rules import ColumnRule
from tl_research.data.readers.schema import Schema

ROWS = 400


def shop(rows=ROWS, seed=0):
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({"age": random.normal(40, 10, rows).round(2), "spent": random.gamma(2, 30, rows).round(2)})
    label = ((frame["age"] - 40) / 10 + random.normal(size=rows) > 0).astype(int)
    return frame, label.to_numpy()


def domain(name, frame, label, dates=()):
    schema = Schema({column: ColumnRule("date" if column in dates else "number") for column in frame.columns})
    return Domain(name, frame, np.asarray(label), ("0", "1"), origin=f"{name}.csv", schema=schema)


def found(*domains, target="new") -> dict[str, Finding]:
    audit({part.name: part for part in domains}, target)
    findings = next(part for part in domains if part.name == target).findings
    assert len({finding.kind for finding in findings}) == len(findings), [finding.said for finding in findings]
    return {finding.kind: finding for finding in findings}


def pair(change=lambda frame, label: frame, **more):
    parts = []
    for name, seed in (("old", 0), ("new", 1)):
        frame, label = shop(seed=seed)
        parts.append(domain(name, change(frame, label), label, **more))
    return parts


def test_plain_files_have_no_finding():
    assert found(*pair()) == {}


def test_a_column_that_tells_the_label_is_a_finding_with_its_evidence():
    finding = found(*pair(lambda frame, label: frame.assign(won=label)))["value_tells"]
    assert finding.columns == ("won",)
    assert finding.domains == ("old", "new")
    assert finding.why == "AUROC 1.00 in old.csv, AUROC 1.00 in new.csv"
    assert finding.way_out == "data.drop=[won]"


def test_a_finding_that_one_file_alone_gives_names_that_file():
    old, new = pair()
    old.inputs["won"], new.inputs["won"] = old.label * 1.0, np.random.default_rng(3).normal(size=ROWS)
    assert found(old, new)["value_tells"].domains == ("old",)


def test_a_handful_of_labels_accuses_no_column():
    """Of a hundred columns of noise one separates five rows from five in half of all files, eight from eight in few."""
    for few in (5, 8):
        accused = 0
        for seed in range(30):
            random = np.random.default_rng(seed)
            label = np.repeat([0, 1], few)
            frame = pd.DataFrame(random.normal(size=(2 * few, 100)), columns=[f"x{at}" for at in range(100)])
            accused += bool(found_all(domain("old", *shop()), domain("new", frame, label)))
        assert accused <= 2
    label = np.repeat([0, 1], 8)
    frame = pd.DataFrame({"won": label * 1.0, "x": np.arange(16) % 5 + np.arange(16) / 100})
    (finding,) = found_all(domain("old", *shop()), domain("new", frame, label))
    assert finding.columns == ("won",)


def test_whether_a_value_is_missing():
    def change(frame, label):
        return frame.assign(refund=np.where(label == 1, frame["spent"], np.nan))

    assert found(*pair(change))["missing_tells"].columns == ("refund",)


def test_an_empty_column_of_one_file():
    old, new = pair()
    old.inputs["visits"], new.inputs["visits"] = np.arange(ROWS) % 7 * 1.0, np.nan
    finding = found(old, new)["empty_column"]
    assert (finding.columns, finding.domains) == (("visits",), ("new",))


def test_source_rows_in_the_target_are_counted():
    old, new = pair()
    frame = pd.concat([new.inputs, old.inputs.iloc[:30]], ignore_index=True)
    new = domain("new", frame, np.concatenate([new.label, old.label[:30]]))
    finding = found(old, new)["source_rows_in_target"]
    assert (finding.rows, finding.domains) == (30, ("old", "new"))
    assert old.info["rows_also_in_target"] == 30


def test_a_label_turned_round_names_its_columns():
    old, new = pair()
    finding = found(old, domain("new", new.inputs, 1 - new.label))["turned_label"]
    assert finding.columns == ("age",)


def customers(of_each):
    return lambda frame, label: frame.assign(customer_id=1000 + 7 * (np.arange(ROWS) // of_each) ** 2)


def test_an_identifier_that_rows_share_asks_for_groups():
    finding = found(*pair(customers(4)))["shared_identifier"]
    assert finding.columns == ("customer_id",)
    assert finding.rows == ROWS
    assert finding.way_out == "--group customer_id"
    # One row of each customer: it numbers the rows. A hundred rows of each: a kind of row, such as a shop.
    assert set(found(*pair(customers(1)))) == {"numbers_rows"}
    assert found(*pair(customers(100))) == {}


def test_text_identifiers_and_addresses_that_rows_share():
    def mail(frame, label):
        return frame.assign(contact=[f"u{row // 3}@shop.example" for row in range(ROWS)])

    assert found(*pair(mail))["shared_identifier"].columns == ("contact",)

    def code(frame, label):
        return frame.assign(userId=[f"K{row // 3}" for row in range(ROWS)])

    assert found(*pair(code))["shared_identifier"].columns == ("userId",)

    def city(frame, label):
        return frame.assign(town=[f"K{row // 3}" for row in range(ROWS)])

    assert found(*pair(city)) == {}


def dates(how):
    def change(frame, label):
        random = np.random.default_rng(len(frame) + int(label.sum()))
        ordered = random.integers(18_000, 18_400, ROWS) * 1.0
        return frame.assign(ordered=ordered, closed=how(ordered, label, random))

    return pair(change, dates=("ordered", "closed"))


def test_a_date_after_the_outcome_is_named():
    # Closed at once where nothing was sent back, else weeks later: less than "almost alone", with noise.
    def late(day, label, random):
        return day + np.where(random.random(ROWS) < 0.05, 1 - label, label) * 20 + random.integers(1, 15, ROWS)

    finding = found(*dates(late))["later_date"]
    assert finding.columns == ("closed",)
    assert "follows 'ordered'" in finding.said

    # Written for most of the rows that were sent back, and for no other.
    def gaps(day, label, random):
        return np.where((label == 1) & (random.random(ROWS) < 0.9), day + 9, np.nan)

    assert "has gaps" in found(*dates(gaps))["later_date"].said


def test_a_later_date_that_says_little_is_passed_over():
    def planned(day, label, random):
        return day + random.integers(1, 90, ROWS)

    assert found(*dates(planned)) == {}

    # Of two dates whose distance tells, the later one is named, whichever stands first.
    def earlier(day, label, random):
        return day - np.where(random.random(ROWS) < 0.05, 1 - label, label) * 20 - 1

    assert found(*dates(earlier))["later_date"].columns == ("ordered",)


def test_many_columns_that_tell_are_findings_of_their_own_and_one_sentence():
    findings = found_all(*pair(lambda frame, label: frame.assign(**{f"z{i}": label + i for i in range(8)})))
    assert [finding.columns for finding in findings] == [(f"z{i}",) for i in range(8)]
    said = sentences(findings)
    assert len(said) == 6
    assert said[-1] == "3 more columns tell the label almost alone: 'z5', 'z6', 'z7'"


def found_all(*domains):
    audit({part.name: part for part in domains}, "new")
    return domains[-1].findings


def test_sentences_are_the_remarks_of_the_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, seed in (("s.csv", 0), ("t.csv", 1)):
        frame, label = shop(seed=seed)
        frame.assign(won=label, y=label).to_csv(name, index=False)
    domains = load(FilesConfig(sources=["s.csv"], target="t.csv", label="y"), ["s.csv", "t.csv"])
    target = domains["t.csv"]
    assert [finding.kind for finding in target.findings] == ["value_tells"]
    assert target.remarks[-1] == sentences(target.findings)[0]
    assert domains["s.csv"].findings == []


def test_a_kind_that_there_is_not():
    with pytest.raises(ValueError, match="value_tells"):
        Finding("leak", "said")
    assert all(KINDS.values())
