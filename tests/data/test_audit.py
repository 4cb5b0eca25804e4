"""What the audit says of odd files, and that it is silent about plain ones."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from tl_research.cli import main
from tl_research.data.audit import audit
from tl_research.data.catalog.files import FilesConfig, load
from tl_research.data.content import content_digest
from tl_research.data.domain import Domain
from tl_research.data.paired import PairedDataModule
from tl_research.errors import ConfigError, DataError

OLD, NEW = 240, 200


def shop(rows, seed):
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": random.normal(40, 10, rows).round(1),
            "income": random.integers(20_000, 90_000, rows),
            "city": random.choice(["Oslo", "Rome", "Bern"], rows),
        }
    )
    score = (frame["age"] - 40) / 10 + (frame["income"] - 55_000) / 25_000 + random.normal(size=rows)
    return frame.assign(y=(score > 0).astype(int))


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def both(change=lambda frame: frame):
    return change(shop(OLD, 0)), change(shop(NEW, 1))


def config(old, new, **more):
    old.to_csv("s.csv", index=False)
    new.to_csv("t.csv", index=False)
    return FilesConfig(**{"sources": ["s.csv"], "target": "t.csv", "label": "y"} | more)


def said(old, new, **more) -> list[str]:
    domains = load(config(old, new, **more), ["s.csv", "t.csv"])
    return [line for domain in domains.values() for line in domain.remarks]


def one(lines, *words) -> str:
    """The one sentence that holds all the words."""
    (line,) = [line for line in lines if all(word in line for word in words)]
    return line


def test_plain_files_are_passed_in_silence():
    assert said(*both()) == []


TELLS = {
    "copy": lambda f: f.assign(z=f["y"]),
    "reversed": lambda f: f.assign(z=5 - f["y"]),
    "noisy": lambda f: f.assign(z=f["y"] + np.linspace(-0.3, 0.3, len(f))),
    "text": lambda f: f.assign(z=np.where(f["y"] == 1, "won", "lost")),
    "not in order": lambda f: f.assign(z=np.where(f["y"] == 1, 3, np.arange(len(f)) % 2 * 7)),
    "missing": lambda f: f.assign(z=np.where(f["y"] == 1, f["age"], np.nan)),
}


@pytest.mark.parametrize("kind", TELLS)
def test_a_column_that_tells_the_label_is_named_with_the_way_out(kind):
    old, new = both(TELLS[kind])
    line = one(said(old, new), "tells the label")
    assert "column 'z'" in line
    assert "data.drop=[z]" in line
    assert "s.csv" in line
    assert "t.csv" in line
    assert ("whether" in line) == (kind == "missing")
    assert said(old, new, drop=["z"]) == []


def test_a_column_that_tells_a_number_or_one_of_three_classes():
    def number(frame):
        return frame.assign(y=frame["age"] * 1.5 + 0.25, z=np.exp(frame["age"] / 20).round(6), age=frame["income"] / 7)

    assert "'z'" in one(said(*both(number)), "tells the label", "correlation 1.00")

    def three(frame):
        kinds = np.arange(len(frame)) % 3
        return frame.assign(y=np.array(["a", "b", "c"])[kinds], z=np.array([20, 10, 30])[kinds])

    assert "'z'" in one(said(*both(three)), "right on 100.0 % of rows")


def test_a_strong_column_is_no_leak():
    def strong(frame):
        return frame.assign(z=frame["y"] + np.random.default_rng(len(frame)).normal(0, 0.45, len(frame)))

    assert said(*both(strong)) == []


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix], ids=["dense", "sparse"])
def test_a_matrix_has_its_leaks_named_by_position(kind):
    random = np.random.default_rng(0)
    domains = {}
    for name in ("s", "t"):
        x, y = random.normal(size=(100, 6)), random.integers(0, 2, 100)
        x[:, 4] = y
        domains[name] = Domain(name, kind(x), y, ("0", "1"), origin=f"{name}.npz")
    audit(domains, "t")
    assert "column 4 tells the label" in one(domains["t"].remarks, "tells")


IDS = {
    "cid": lambda f: f.assign(cid=np.arange(1000, 1000 + len(f))),
    "Unnamed: 0": lambda f: f.assign(**{"Unnamed: 0": np.arange(len(f))}),
    "customer_id": lambda f: f.assign(customer_id=np.random.default_rng(len(f)).integers(10**6, 10**8, len(f))),
    "orderId": lambda f: f.assign(orderId=np.random.default_rng(len(f)).integers(10**6, 10**8, len(f))),
    "mixed": lambda f: f.assign(mixed=np.random.default_rng(0).permutation(len(f))),
}


@pytest.mark.parametrize("name", IDS)
def test_an_identifier_of_numbers_is_named_and_left_out_or_said_to_be_used(name):
    line = one(said(*both(IDS[name])), repr(name))
    assert "is left out: it " in line
    assert f"data.schema.{name}=number keeps it" in line
    line = one(said(*both(IDS[name]), schema={name: "number"}), repr(name))
    assert "it is used as a number" in line
    assert "data.drop=" in line


def test_rows_of_the_source_in_the_target_are_counted_behind_a_new_number():
    old, new = both()
    new = pd.concat([new.iloc[:100], old.iloc[:60]])
    assert "60 of 240 rows" in one(said(old, new), "stand in the target")
    numbered = [part.assign(id=range(len(part))) for part in (old, new)]
    assert "60 of 240 rows" in one(said(*numbered), "stand in the target", "beside 'id'")


def test_a_copy_is_named_and_one_file_under_two_names_is_refused():
    old, _ = both()
    assert "s.csv and t.csv hold the same bytes" in one(said(old, old), "same bytes")
    Path("t.csv").unlink()
    for link in (os.link, os.symlink):
        link("s.csv", "t.csv")
        with pytest.raises(ConfigError, match="the same file"):
            load(FilesConfig(sources=["s.csv"], target="t.csv", label="y"), ["s.csv", "t.csv"])
        Path("t.csv").unlink()


def test_test_rows_that_train_too_are_counted_after_the_split():
    old, new = both()
    data = PairedDataModule(config(old, pd.concat([new.iloc[:40]] * 5)), seed=0)
    data.setup()
    remarks = data.facts["remarks"]
    one(remarks, "160 of 200 rows repeat an earlier row")
    hidden = {tuple(row) for row in data.sides["target"].inputs["numeric"].tolist()}
    tested = data.release_evaluation()["target_test"].inputs["numeric"].tolist()
    seen = sum(tuple(row) in hidden for row in tested)
    assert seen > 30
    one(remarks, f"{seen} of the 50 test rows of t.csv equal a training row of t.csv")
    assert not any("tells the label" in line for line in remarks), "repeated rows are no leak of a column"


def test_a_label_coded_the_other_way_round():
    old, new = both()
    line = one(said(old, new.assign(y=1 - new["y"])), "the other way round")
    assert "'age'" in line
    assert "'income'" in line
    # One column of two that turns round is another market, not another coding.
    assert said(old, new.assign(income=110_000 - new["income"])) == []


def test_classes_that_look_wrong():
    def text(frame, values):
        return frame.assign(y=np.array(values, dtype=object)[np.arange(len(frame)) % len(values)])

    assert "would have 2" in one(said(*both(lambda f: text(f, ["Yes", "yes ", "YES", "no", "No"]))), "'Yes'")
    with pytest.raises(DataError, match="column 'y' holds dates"):
        said(*both(lambda f: text(f, ["31/01/2024", "01/02/2024", "02/02/2024"])))

    def typo(frame):
        frame = text(frame, ["yes", "no"])
        frame.loc[7, "y"] = "ye"
        return frame

    line = one(said(*both(typo)), "'ye'")
    assert "1 of 240" in line
    assert "1 of 200" in line
    assert "misspelled 'yes'" in line


def test_categories_that_no_source_row_has():
    old, new = both()
    line = one(said(old, new.assign(city=np.where(new["age"] > 40, "Lima", "Quito"))), "'city'")
    assert "200 of 200 rows" in line
    lines = said(old, new.assign(city=new["city"].str.upper()))
    assert "'OSLO'" in one(lines, "differ in case")
    assert "200 of 200 rows" in one(lines, "no value is in a source")
    assert "spelled" in one(
        said(old, new.assign(city=np.where(new["age"] > 30, "Lima", "Rome"))), "1 of 2 values are not"
    )
    assert "left out: no value in s.csv" in one(said(old.assign(income=np.nan), new), "'income'")
    assert "has no value in t.csv" in one(said(old, new.assign(income=np.nan)), "'income'")


def test_domains_that_no_key_names_are_counted_and_variants_named():
    old, new = both()
    country = np.array(["US", "us", "FR"])[np.arange(OLD) % 3]
    pd.concat([old.assign(c=country), new.assign(c="DE")]).to_csv("all.csv", index=False)
    settings = FilesConfig(sources=["US"], target="DE", label="y", path="all.csv", domain_column="c")
    remarks = [line for domain in load(settings, ["US", "DE"]).values() for line in domain.remarks]
    line = one(remarks, "160 of 440 rows are left out")
    assert "'us' (80)" in line
    assert "'FR' (80)" in line
    one(remarks, "'us' (80 rows) is another domain than 'US' (80 rows)")


def test_the_split_follows_the_bytes_and_not_the_path(here):
    old, new = both()
    tests = []
    config(old, new)
    (here / "sub").mkdir()
    (here / "sub" / "copy.csv").write_bytes((here / "t.csv").read_bytes())
    os.symlink(here / "t.csv", here / "link.csv")
    for target in ("t.csv", "./t.csv", str(here / "t.csv"), "sub/copy.csv", "link.csv"):
        for setting in ({}, {"setting": "few_shot", "shots": 5}):
            data = PairedDataModule(FilesConfig(sources=["s.csv"], target=target, label="y", **setting), seed=0)
            data.setup()
            shown = data.sides.get("target_labeled")
            rows = data.release_evaluation()["target_test"].inputs["numeric"]
            tests.append((len(setting), rows.tolist(), None if shown is None else shown.inputs["numeric"].tolist()))
    assert all(found == tests[0] for found in tests[::2])
    assert all(found == tests[1] for found in tests[1::2])
    new.iloc[::-1].to_csv("t.csv", index=False)
    other = PairedDataModule(FilesConfig(sources=["s.csv"], target="t.csv", label="y"), seed=0)
    other.setup()
    assert other.release_evaluation()["target_test"].inputs["numeric"].tolist() != tests[0][1]
    assert content_digest("t.csv") != content_digest("link.csv") or os.path.samefile("t.csv", "link.csv")


@pytest.mark.parametrize(
    ("labelled", "fraction", "words"),
    [(1, 0.25, ["1 of 200 rows has a label"]), (4, 0.25, ["4 of 200 rows", "1 test row"]),
     (200, 0.001, ["data.test_fraction=0.001", "1 test row", "raise data.test_fraction"])],
)  # fmt: skip
def test_too_few_test_rows_are_refused_with_counts(labelled, fraction, words):
    old, new = both()
    new["y"] = new["y"].astype(object)
    new.loc[labelled:, "y"] = None
    if labelled == 4:
        new.loc[:3, "y"] = [0, 1, 0, 1]
    with pytest.raises(DataError) as caught:
        PairedDataModule(config(old, new, test_fraction=fraction), seed=0).setup()
    assert all(word in str(caught.value) for word in words), caught.value


def test_a_class_without_a_test_row_is_said():
    old, new = both()
    settings, positives = config(old, new.assign(y=[1, 1] + [0] * (NEW - 2))), set()
    for seed in range(8):
        data = PairedDataModule(settings, seed=seed)
        data.setup()
        tested = int(data.release_evaluation()["target_test"].label.sum())
        positives.add(min(tested, 1))
        found = [line for line in data.facts["remarks"] if "none of the 50 test rows" in line]
        assert bool(found) == (tested == 0)
        assert all("'1' (2)" in line for line in found)
        assert all("AUROC and average precision have no value" in line for line in found)
    assert positives == {0, 1}


def test_fit_and_evaluate_print_rows_interval_and_remarks(capsys):
    old, new = both()
    config(old, new.assign(y=1 - new["y"]).iloc[:100])
    words = ["data.name=files", "data.sources=[s.csv]", "data.target=t.csv", "data.label=y", "trainer.max_epochs=5"]
    words += ["trainer.accelerator=cpu", "wandb.mode=disabled", "optimizer.lr=0.01"]
    assert main(["fit", *words]) == 0
    out, err = capsys.readouterr()
    assert "target_test: 25 rows (0 " in out
    assert "95 % interval" in out
    assert "few rows to measure on: 25 rows" in err
    assert "the other way round" in err
    (folder,) = Path("runs").iterdir()
    shop(300, 5).assign(y=lambda f: 1 - f["y"]).to_csv("fresh.csv", index=False)
    assert main(["evaluate", str(folder), "--data", "fresh.csv"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("300 rows (0 ")
    assert "95 % interval" in out.splitlines()[0]
    assert "ranked backwards" in err
