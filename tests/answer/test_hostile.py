"""Files and options that a hurried or hostile user gives `compare`: one message, and nothing lost without a word."""

import shlex

import numpy as np
import pandas as pd
import pytest
import torch

import tl_research
from tests.answer.files import FAST, amounts, shop, written
from tl_research.answer.calibration import calibration_of
from tl_research.answer.compare import _shares
from tl_research.answer.options import configuration
from tl_research.answer.rows import read_rows
from tl_research.cli.main import _parser, main
from tl_research.errors import DataError

QUICK = ["--resamples", "2", "--jobs", "1", "--set", "method.trees=5", "method.repeats=1"]


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written(tmp_path, old=shop(80, 0), new=shop(40, 1))
    return tmp_path


def refused(capsys, *words: str) -> str:
    assert main(["compare", *words]) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert "fault of tl-research" not in error
    return error


@pytest.mark.parametrize(
    ("command", "option", "first", "second"),
    [
        ("compare a b", "--keep-column", "paid", "coupon"),
        ("compare a b", "--set", "data.drop=[id]", "method.trees=9"),
        ("compare a b", "--metric", "auroc", "brier"),
        ("compare a b", "--methods", "coral", "kmm"),
        ("predict r --data a --out b", "--keep", "id", "city"),
    ],
)
def test_an_option_given_twice_keeps_both(command, option, first, second):
    """The answer's own screen says `--keep-column paid --keep-column coupon`."""
    parsed = _parser().parse_args([*command.split(), option, first, option, second])
    assert getattr(parsed, option[2:].replace("-", "_")) == [first, second]
    parsed = _parser().parse_args([*command.split(), option, first, second])
    assert getattr(parsed, option[2:].replace("-", "_")) == [first, second]


def test_a_group_of_one_value_is_refused(files, capsys):
    for name in ("old", "new"):
        pd.read_csv(f"{name}.csv").assign(cust="c1").to_csv(f"{name}.csv", index=False)
    error = refused(capsys, "old.csv", "new.csv", "--label", "bought", "--group", "cust", *QUICK)
    assert "--group: the labelled rows of the new file are one group" in error


def test_new_labels_that_are_one_number_are_refused_at_once(files, capsys):
    written(files, old=amounts(80, 0), new=amounts(40, 1).assign(amount=5.25))
    error = refused(capsys, "old.csv", "new.csv", "--label", "amount", *QUICK)
    assert "new.csv: all 40 labels are the same" in error
    assert "resamples" not in error


@pytest.mark.parametrize(
    "words",
    [["--metric", "r2"], ["--metric", "value:yes"], ["--group", "nope"], ["--shots", "500"], ["--prior", "maybe=0.3"]],
)
def test_a_question_that_is_refused_leaves_no_folder(files, capsys, words):
    refused(capsys, "old.csv", "new.csv", "--label", "bought", *words, *QUICK)
    assert list((files / "answers").iterdir()) == []


def test_shares_of_numbers_are_refused(files, capsys):
    written(files, old=amounts(80, 0), new=amounts(40, 1))
    error = refused(capsys, "old.csv", "new.csv", "--label", "amount", "--prior", "0.3", *QUICK)
    assert "--prior: got '0.3', wants nothing, as the label holds numbers" in error


def test_the_label_is_no_group(files, capsys):
    error = refused(capsys, "old.csv", "new.csv", "--label", "bought", "--group", "bought", *QUICK)
    assert "--group: got 'bought', wants a column beside the label" in error


def test_what_a_value_is_no_value_for_is_said_of_the_value(files, capsys):
    written(files, old=amounts(80, 0), new=amounts(40, 1))
    error = refused(capsys, "old.csv", "new.csv", "--label", "amount", "--value", "tp=2,fp=-1", *QUICK)
    assert "value:tp=2,fp=-1" in error
    assert "auroc" not in error


def test_the_command_of_a_folder_with_a_blank_can_be_pasted(files):
    answer = tl_research.compare(
        "old.csv", "new.csv", label="bought", overrides=FAST, jobs=1, resamples=2, output="my answers"
    )
    words = shlex.split(answer.command.replace("FILE", "new.csv"))
    assert main(words[1:]) == 0
    assert len(pd.read_parquet("scores.parquet")) == 40
    assert np.isfinite(answer.facts["seconds"])


def test_a_dataframe_is_named_as_one(files):
    """Not by the file that it was written to for the answer, whose name no reader knows and which is gone."""
    old, new, lines = shop(80, 0), shop(40, 1), []
    with pytest.raises(DataError, match=r"^the DataFrame new, row 4, column 'x0': the number is infinite"):
        tl_research.compare(old, new.assign(x0=[0.0] * 3 + [np.inf] + [0.0] * 36), label="bought", jobs=1)
    old = pd.concat([old, old.head(3)])
    answer = tl_research.compare(
        old, new, label="bought", overrides=FAST, jobs=1, resamples=2, say=lines.append, prior=0.3
    )
    assert answer.facts["question"]["old"] == ["the DataFrame old"]
    texts = ["\n".join(lines), (answer.folder / "answer.md").read_text(), (answer.folder / "answer.json").read_text()]
    assert "the DataFrame old: 3 of 83 rows repeat" in texts[0]
    assert not any("tl-research-" in text for text in texts)


def test_no_brier_score_is_said_to_be_below_zero():
    # Seven rows that are right, one that is wrong: the normal interval reaches below 0.
    probability = torch.tensor([[0.95, 0.05]] * 8, dtype=torch.float64)
    found = calibration_of(probability.log(), torch.tensor([0] * 7 + [1]), names=("no", "yes"))
    assert found.brier.low == 0
    assert found.brier.value == pytest.approx((7 * 0.05**2 + 0.95**2) / 8)


def test_what_is_not_tried_on_many_columns_is_said(files):
    def wide(rows: int, seed: int) -> pd.DataFrame:
        draw = np.random.default_rng(seed).normal(size=(rows, 1001)).round(2)
        return pd.DataFrame(draw, columns=[f"f{i}" for i in range(1001)]).assign(y=["a", "b"] * (rows // 2))

    said = "boosting is not tried: the rows have 1,001 columns, more than 1,000"
    config = configuration(["old.csv"], "new.csv", label="y")
    written(files, old=wide(40, 0), new=wide(20, 1))
    assert said in read_rows(config).remarks
    written(files, old=wide(40, 0).iloc[:, 1:], new=wide(20, 1).iloc[:, 1:])
    assert not any("boosting" in line for line in read_rows(config).remarks)


def test_a_prior_from_python_is_a_number_or_a_mapping():
    assert _shares(0.3) == ("0.3",)
    assert _shares("no=0.7,yes=0.3") == ("no=0.7", "yes=0.3")
    assert _shares({"yes": 0.3}) == ("yes=0.3",)
    assert _shares([0.7, 0.3]) == ("0.7", "0.3")
    assert _shares(None) == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.drop(columns="bought"), "new.csv: there is no label column"),
        (lambda frame: frame.assign(bought=""), "new.csv: no row has a label"),
    ],
)
def test_a_new_file_without_labels(files, capsys, change, message):
    change(pd.read_csv("new.csv")).to_csv("new.csv", index=False)
    assert message in refused(capsys, "old.csv", "new.csv", "--label", "bought", *QUICK)
