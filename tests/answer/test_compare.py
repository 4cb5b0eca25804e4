"""From two files to the verdict, whose truth is known, and to a model that predicts what was measured."""

import json

import joblib
import numpy as np
import pandas as pd
import pytest

import tl_research
from tests.answer.files import FAST, amounts, shop, written
from tl_research.answer.answer import Answer
from tl_research.answer.workers import _parallel, begun
from tl_research.cli.main import main
from tl_research.errors import UserError

FASTEST = ["method.trees=5", "method.repeats=1"]


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written(tmp_path, old=shop(150, 0), new=shop(40, 1), fresh=shop(200, 2))
    return tmp_path


@pytest.fixture(scope="module")
def helped(tmp_path_factory):
    """The answer where a thousand old rows of the same law stand beside sixteen new labels."""
    folder = tmp_path_factory.mktemp("helped")
    lines = []
    old, new = shop(1000, 0, noise=12), shop(200, 1, noise=12)
    answer = tl_research.compare(
        old, new, label="bought", shots=16, overrides=FAST, jobs=1, output=folder, resamples=5, say=lines.append
    )
    return answer, lines


def test_old_rows_of_the_same_law_help(helped):
    answer, _ = helped
    assert answer.verdict.startswith("The old data helped: AUROC 0.")
    assert "; use `with old data` (mostly " in answer.verdict
    verdict = answer.facts["verdict"]
    assert 0 < verdict["low"] < verdict["mean"] < verdict["high"]
    assert verdict["row"] - verdict["base"] == pytest.approx(verdict["mean"])


def test_the_table_has_every_part_in_the_order_of_its_loss(helped):
    answer, _ = helped
    table = answer.table
    parts = table[table["sees_labels"] & ~table["row"].isin(["with old data", "new data only", "old data in any case"])]
    assert len(parts) >= 10
    assert parts["loss"].is_monotonic_increasing
    assert set(table.loc[~table["sees_labels"], "row"]) == {"linear", "forest", "boosting"}
    base = table.set_index("row").loc["new data only"]
    both = table.set_index("row").loc["with old data"]
    assert both["auroc"] - base["auroc"] == pytest.approx(both["gain"])
    assert parts["weight"].sum() == pytest.approx(1, abs=1e-6)


def test_first_figures_come_after_the_first_resample(helped):
    _, lines = helped
    counted = [line for line in lines if " of 5 resamples (16 labels): AUROC " in line]
    assert [line[0] for line in counted] == list("12345")
    assert "with the old data" in counted[0]
    assert "left" in counted[0]
    assert "left" not in counted[-1]


def test_first_figures_come_before_any_resample_and_are_those_of_linear_models(helped):
    answer, lines = helped
    (line,) = [line for line in lines if line.startswith("first figures, of linear models on 1 of 5 resamples: ")]
    assert lines.index(line) < next(at for at, each in enumerate(lines) if "1 of 5 resamples (16" in each)
    # The first resample's own figures: the old file's linear model as it is, and one of its training labels.
    kept = json.loads((answer.folder / "resamples" / "16-0.json").read_text())
    assert f"AUROC {kept['unlabelled']['linear']['auroc']:.3f} of the old data alone" in line
    assert f"{kept['figures']['target linear']['auroc']:.3f} of the new labels alone" in line


def test_the_processes_that_begin_while_files_are_read_are_those_that_measure():
    """They import neither Lightning nor torchmetrics; after a mistake in the files they are there for the next call."""
    with begun(2):
        pass
    asked = "__import__('os').getpid(), list(__import__('sys').modules)"
    one, two = (list(_parallel(2)(joblib.delayed(eval)(asked) for _ in range(8))) for _ in range(2))
    # One process may answer a whole call.
    assert len({pid for pid, _ in [*one, *two]}) <= 2, "they are used again"
    assert all("tl_research.answer.measured" in modules for _, modules in two)
    assert not [modules for _, modules in two if {"lightning", "torchmetrics", "torchvision"} & {*modules}]
    with pytest.raises(UserError, match="a mistake"), begun(2):
        raise UserError("a mistake")


def test_the_model_ranks_new_rows_as_well_as_it_was_measured(helped):
    answer, _ = helped
    fresh = shop(400, 5, noise=12)
    said = answer.model.predict(fresh.drop(columns="bought"))
    assert list(said) == ["prediction", "p_no", "p_yes"]
    positive = (fresh["bought"] == "yes").to_numpy()
    p = said["p_yes"].to_numpy()
    auroc = (p[positive][:, None] > p[~positive][None]).mean()
    assert auroc > answer.facts["verdict"]["row"] - 0.05
    shuffled = fresh.drop(columns="bought").sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(answer.model.predict(shuffled).sort_index(), said, atol=1e-6)


def test_the_folder_says_the_same(helped):
    answer, _ = helped
    assert Answer.load(answer.folder).verdict == answer.verdict
    page = (answer.folder / "answer.md").read_text()
    assert f"**{answer.verdict}**" in page
    read = pd.read_csv(answer.folder / "answer.csv")
    pd.testing.assert_frame_equal(read, answer.table, check_dtype=False)
    assert (answer.folder / "answer.png").stat().st_size > 10_000
    json.loads((answer.folder / "answer.json").read_text(), parse_constant=lambda name: pytest.fail(name))


def test_old_rows_that_say_the_opposite_do_no_harm(tmp_path):
    """The gate keeps them out; in any case they would have hurt, or are turned round by the learners of both."""
    old, new = shop(400, 0, turned=-1), shop(100, 1)
    answer = tl_research.compare(old, new, label="bought", overrides=FAST, jobs=1, output=tmp_path, resamples=3)
    assert answer.facts["verdict"]["kind"] in ("undecided", "would have hurt", "helped")
    table = answer.table.set_index("row")
    assert table.loc["with old data", "auroc"] > table.loc["new data only", "auroc"] - 0.03
    assert table.loc["boosting", "auroc"] < 0.3  # of the old files alone


def test_a_number_is_compared_by_r2_in_its_own_unit(tmp_path):
    old, new = amounts(400, 0), amounts(40, 1)
    answer = tl_research.compare(old, new, label="amount", overrides=FAST, jobs=1, output=tmp_path, resamples=3)
    assert answer.metric == "r2"
    table = answer.table.set_index("row")
    assert table.loc["with old data", "r2"] > 0.9
    assert 0.5 < table.loc["with old data", "rmse"] < 15
    said = answer.model.predict(amounts(300, 7).drop(columns="amount"))
    assert np.corrcoef(said["prediction"], amounts(300, 7)["amount"])[0, 1] > 0.95


def test_the_command_answers_once_and_its_model_predicts(files, capsys):
    words = ["compare", "old.csv", "new.csv", "--label", "bought", "--resamples", "2", "--jobs", "1", "--set", *FASTEST]
    assert main(words) == 0
    shown = capsys.readouterr()
    lines = shown.out.strip().splitlines()
    assert lines[0].startswith(("The old data helped", "No gain"))
    assert len(lines) <= 24
    folder = lines[-2].split()[1]
    assert lines[-1] == f"Apply it: tl-research predict {folder} --data FILE --out scores.parquet"
    assert main(["predict", folder, "--data", "fresh.csv", "--out", "scores.csv"]) == 0
    assert len(pd.read_csv("scores.csv")) == 200
    assert main(["evaluate", folder, "--data", "fresh.csv"]) == 0
    assert "auroc" in capsys.readouterr().out
    assert main(words) == 0
    again = capsys.readouterr()
    assert again.out == shown.out
    assert "answered already" in again.err
    assert "resamples: " not in again.err
    shop(41, 1).to_csv("new.csv", index=False)
    assert main(words) == 0
    assert "answered already" not in capsys.readouterr().err


def test_what_is_done_is_kept_when_it_is_interrupted(files, capsys, monkeypatch):
    from tl_research.answer import workers

    whole, calls = workers.measure, []

    def interrupted(question, item):
        calls.append(item.number)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(question, item)

    monkeypatch.setattr(workers, "measure", interrupted)
    words = ["compare", "old.csv", "new.csv", "--label", "bought", "--resamples", "3", "--jobs", "1", "--set", *FASTEST]
    assert main(words) == 130
    assert "1 of 3 resamples are kept in answers/" in capsys.readouterr().err
    assert main(words) == 0
    assert calls == [0, 1, 1, 2]
    monkeypatch.setattr(workers, "measure", whole)
    interrupted_said = capsys.readouterr().out
    assert main([*words[: -len(FASTEST) - 1], "--output", "other", *words[-len(FASTEST) - 1 :]]) == 0
    assert capsys.readouterr().out.replace("other", "answers") == interrupted_said


@pytest.mark.slow
def test_two_processes_give_the_figures_of_one(files):
    one, two = (
        tl_research.compare(
            "old.csv", "new.csv", label="bought", overrides=FAST, jobs=jobs, output=f"by{jobs}", resamples=3
        )
        for jobs in (1, 2)
    )
    pd.testing.assert_frame_equal(one.table, two.table)
    assert one.verdict == two.verdict
    fresh = shop(50, 9).drop(columns="bought")
    pd.testing.assert_frame_equal(one.model.predict(fresh), two.model.predict(fresh), check_exact=True)


def test_a_curve_says_from_where_the_old_data_do_not_pay(tmp_path):
    lines = []
    answer = tl_research.compare(
        shop(300, 0), shop(90, 1), label="bought", curve="10,30,500,all", overrides=FAST, jobs=1, output=tmp_path,
        resamples=2, say=lines.append,
    )  # fmt: skip
    assert [point["labels"] for point in answer.facts["curve"]] == [10, 30, 72]
    assert answer.facts["curve"][0]["mean"] > answer.facts["curve"][2]["mean"]
    assert answer.facts["curve_said"].startswith(("The old data pay", "At "))
    assert any("500 labels are left out" in line for line in lines)
    assert (answer.folder / "curve.png").is_file()
    assert answer.facts["verdict"]["labels"] == 72


def test_rows_of_a_group_are_on_one_side_and_the_column_is_no_feature(tmp_path):
    new = shop(120, 1).assign(customer=np.repeat(np.arange(40), 3))
    answer = tl_research.compare(
        shop(300, 0).assign(customer=0), new, label="bought", group="customer", overrides=FAST, jobs=1, resamples=2,
        output=tmp_path,
    )  # fmt: skip
    assert answer.facts["rows"]["groups"] == 40
    assert answer.facts["columns_left_out"] == ["customer"]
    assert len(answer.model.predict(shop(5, 3))) == 5
    with pytest.raises(UserError, match=r"--group: .* has no column 'custommer'; did you mean 'customer'"):
        tl_research.compare(new, new.head(90), label="bought", group="custommer", output=tmp_path)


REFUSED = {
    "one file": (["old.csv", "--label", "bought"], "wants one or more old files"),
    "no such label": (["old.csv", "new.csv", "--label", "buyt"], "buyt"),
    "half a label": (["old.csv", "new.csv", "--label", "bought", "--shots", "2.5"], "--shots: got 2.5"),
    "more than there are": (["old.csv", "new.csv", "--label", "bought", "--shots", "1000"], "1,000 labels are wanted"),
    "too few for the classes": (["old.csv", "new.csv", "--label", "bought", "--shots", "3"], "at least 4"),
    "both": (["old.csv", "new.csv", "--label", "bought", "--shots", "5", "--curve", "5,9"], "give one of them"),
    "no number": (["old.csv", "new.csv", "--label", "bought", "--curve", "5,many"], "--curve: got 'many'"),
    "metric of numbers": (["old.csv", "new.csv", "--label", "bought", "--metric", "rmse"], "--metric"),
    "no metric": (["old.csv", "new.csv", "--label", "bought", "--metric", "aurok"], "--metric"),
    "no resample": (["old.csv", "new.csv", "--label", "bought", "--resamples", "0"], "--resamples"),
    "no process": (["old.csv", "new.csv", "--label", "bought", "--jobs", "0"], "--jobs"),
    "a key of a network": (["old.csv", "new.csv", "--label", "bought", "--set", "trainer.max_epochs=3"], "--deep"),
    "its own key": (["old.csv", "new.csv", "--label", "bought", "--set", "data.shots=3"], "data.shots: not in --set"),
    "a wrong key": (["old.csv", "new.csv", "--label", "bought", "--set", "method.tres=3"], "did you mean 'trees'"),
    "an option of --deep": (["old.csv", "new.csv", "--label", "bought", "--seeds", "3"], "--seeds: is an option of"),
}


@pytest.mark.parametrize(("words", "message"), REFUSED.values(), ids=REFUSED)
def test_a_mistake_is_one_line_before_anything_is_computed(files, capsys, words, message):
    assert main(["compare", *words]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert message in error[-1]
    assert not list(files.glob("answers/*/answer.json"))


def test_seven_labels_are_too_few(files, capsys):
    shop(7, 1).to_csv("new.csv", index=False)
    assert main(["compare", "old.csv", "new.csv", "--label", "bought"]) == 2
    assert "7 of 7 rows have a label, too few" in capsys.readouterr().err
