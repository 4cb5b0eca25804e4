"""`predict` and `evaluate` on a user's new file: read as training read its own, and one line for whatever differs."""

import os
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from tl_research.cli import main
from tl_research.errors import DataError
from tl_research.runs.predictor import Predictor
from tl_research.runs.record import read_record
from tl_research.storage.checkpoints import read_checkpoint
from tl_research.storage.names import MODEL_FILE


def rows(n, seed):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": rng.integers(20, 60, n),
            "price": [f"${value:,.2f}" for value in rng.uniform(500, 5000, n)],
            "city": rng.choice(["Oslo", "Rome", "NA"], n),
            "member": rng.choice(["True", "False", "Unknown"], n),
            "zip": rng.choice(["02494", "12010"], n),
        }
    )
    frame["y"] = np.where(frame["age"] + rng.normal(0, 5, n) > 40, "yes", "no")
    return frame


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    for name, seed in (("s", 0), ("t", 1)):
        rows(80, seed).to_csv(folder / f"{name}.csv", index=False)
    words = ["fit", "data.name=files", f"data.sources=[{folder / 's.csv'}]", f"data.target={folder / 't.csv'}"]
    words += ["data.label=y", "method.name=source_only", "trainer.max_epochs=1", "trainer.accelerator=cpu"]
    assert main([*words, "wandb.mode=disabled", f"output={folder / 'runs'}"]) == 0
    return next((folder / "runs").glob("*/result.json")).parent


@pytest.fixture
def predict(trained, tmp_path, capsys):
    def call(frame, command="predict", run=trained, out="p.csv", keep=()):
        frame.to_csv(tmp_path / "new.csv", index=False)
        words = [command, str(run), "--data", str(tmp_path / "new.csv")]
        words += ["--out", str(tmp_path / out)] if command == "predict" else []
        code = main([*words, "--keep", *keep] if keep else words)
        said = capsys.readouterr().err
        return code, said, pd.read_csv(tmp_path / out) if command == "predict" and code == 0 else None

    return call


def test_the_schema_is_in_the_record_and_with_the_model(trained):
    short = read_record(trained).data["schema"]
    assert short["price"] == {"kind": "number", "thousands": ",", "unit": "$"}
    assert short["zip"] == short["city"] == "category"
    remarks = " ".join(read_record(trained).data["remarks"])
    assert "'NA' are read as values" in remarks
    assert "codes with leading zeros" in remarks
    schema = Predictor.load(trained).schema
    assert schema.columns["price"].thousands == ","
    assert schema.label.kind == "category"


def test_a_row_is_predicted_alike_alone_and_beside_any_other(predict):
    frame = rows(30, 5)
    whole = predict(frame)[2]["p_yes"]
    for row in range(0, 30, 6):
        assert predict(frame.iloc[[row]])[2]["p_yes"][0] == pytest.approx(whole[row], abs=1e-6)


@pytest.mark.parametrize("label", ["", "0", "pending", "2020-01-01", "1,234", "True"])
def test_predict_does_not_look_at_the_label(predict, label):
    code, said, _ = predict(rows(5, 2).assign(y=label))
    assert (code, said) == (0, "")


def test_what_differs_is_one_line_a_column(predict):
    frame = rows(20, 2)
    assert predict(frame)[1] == ""
    cases = {
        "city": (
            ["OSLO"] * 20,
            "20 of 20 values were not in the training rows ('OSLO') and count as unknown; training",
        ),
        "zip": ([12] * 20, "20 of 20 values were not in the training rows ('12')"),
        "age": ([None] * 20, "20 of 20 rows have no value, and every training row had one; the training rows' median"),
        "member": ([None] * 20, "20 of 20 rows have no value, and every training row had one"),
    }
    for name, (values, said) in cases.items():
        code, err, _ = predict(frame.assign(**{name: values}))
        assert code == 0
        assert err.count("note:") == 1
        assert f"note: column '{name}'" in err
        assert said in err
        assert "new.csv" in err
    code, err, _ = predict(frame.assign(more=1, another="x"))
    assert code == 0
    assert "new.csv: 2 columns that training did not have are ignored: 'more', 'another'" in err
    # Enough rows that nothing is said of the figure itself.
    assert predict(rows(80, 2).assign(city="Lima"), "evaluate")[1].count("note:") == 1


def test_what_cannot_be_read_names_the_file(predict):
    frame = rows(20, 2)
    for changed, said in (
        (frame.drop(columns="age"), r"new.csv lacks the columns 'age', which training had"),
        (frame.assign(age="x"), r"new.csv, row 1, column 'age': 'x' is not a number"),
        (frame.assign(age="12%"), r"new.csv, row 1, column 'age': '12%' is not a number"),
        (
            frame.assign(price="12.50"),
            r"new.csv, row 1, column 'price': '12.50' is not a number as the column has them",
        ),
        (frame.assign(price="1.234,50 €"), r"new.csv, row 1, column 'price': '1.234,50 €' is not a number"),
    ):
        code, err, _ = predict(changed)
        assert code == 2
        assert said in err
    code, err, _ = predict(frame.assign(y="maybe"), "evaluate")
    assert code == 2
    assert "new.csv, row 1, column 'y': the label 'maybe' is none of the classes" in err


def test_weights_that_are_not_finite_are_one_message(predict, trained, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(trained, broken)
    content = read_checkpoint(broken / MODEL_FILE)
    content["model"] = {name: torch.full_like(value, torch.nan) for name, value in content["model"].items()}
    torch.save(content, broken / MODEL_FILE)
    for command in ("predict", "evaluate"):
        code, err, _ = predict(rows(5, 2), command, broken)
        assert code == 2
        assert MODEL_FILE in err
        assert err.strip().count("\n") == 0
        assert not (tmp_path / "p.csv").exists()


def test_a_model_file_without_a_schema_still_predicts(predict, trained, tmp_path):
    older = tmp_path / "older"
    shutil.copytree(trained, older)
    content = read_checkpoint(older / MODEL_FILE)
    content.pop("schema")
    torch.save(content, older / MODEL_FILE)
    frame = rows(10, 2)
    frame["price"] = frame["price"].str.replace("[$,]", "", regex=True)
    whole = predict(frame, run=older)[2]["p_yes"]
    for row in (0, 3):
        assert predict(frame.iloc[[row]], run=older)[2]["p_yes"][0] == pytest.approx(whole[row], abs=1e-6)


def test_the_output_must_not_be_the_input(trained, tmp_path, capsys):
    data = tmp_path / "data.csv"
    rows(5, 2).to_csv(data, index=False)
    before = data.read_bytes()
    os.link(data, tmp_path / "hard.csv")
    (tmp_path / "soft.csv").symlink_to(data)
    (tmp_path / "folder.csv").mkdir()
    for out, said in (
        ("data.csv", "is the file of --data itself"),
        ("./data.csv", "is the file of --data itself"),
        ("hard.csv", "is the file of --data itself"),
        ("soft.csv", "is the file of --data itself"),
        ("folder.csv", "is a folder, wants a file"),
        ("data.csv/p.csv", "is a file, wants a folder"),
        ("y" * 300 + ".csv", "cannot be a file"),
    ):
        assert main(["predict", str(trained), "--data", str(data), "--out", f"{tmp_path}/{out}"]) == 2
        err = capsys.readouterr().err
        assert said in err
        assert err.strip().count("\n") == 0
        assert err.count("--out:") == 1
    assert data.read_bytes() == before


def test_kept_columns_stand_in_front_as_they_are_in_the_file(predict, tmp_path, trained):
    frame = rows(8, 3).assign(order_id=[f"00{row}" for row in range(8)], note=["", "a, b"] * 4)
    code, said, _ = predict(frame, keep=["order_id", "y", "note"])
    assert (code, said) == (0, "")  # a kept column is not ignored
    found = pd.read_csv(tmp_path / "p.csv", dtype=str, keep_default_na=False)
    assert list(found) == ["order_id", "y", "note", "row", "prediction", "p_no", "p_yes"]
    assert found[["order_id", "y", "note"]].equals(frame[["order_id", "y", "note"]])
    plain = predict(frame)[2]
    assert found["p_yes"].astype(float).tolist() == plain["p_yes"].tolist()
    frame.to_parquet(tmp_path / "new.parquet")
    words = ["predict", str(trained), "--data", str(tmp_path / "new.parquet"), "--out", str(tmp_path / "q.parquet")]
    assert main([*words, "--keep", "age", "price"]) == 0
    kept = pd.read_parquet(tmp_path / "q.parquet")
    assert kept["age"].tolist() == frame["age"].tolist()
    for name, message in (
        ("order", "there is no column 'order' (--keep); did you mean 'order_id'"),
        ("row", "--keep: "),
    ):
        code, said, _ = predict(frame.assign(row=1), keep=[name])
        assert code == 2
        assert message in said


def test_one_empty_cell_refuses_no_file(predict):
    frame = rows(12, 4).astype(object)
    whole = predict(frame)[2]
    for column in ("age", "price", "city", "member", "zip"):
        for empty in ("", "  ", None, "NA" if column in ("age", "price") else ""):
            changed = frame.copy()
            changed.loc[3, column] = empty
            code, said, found = predict(changed)
            assert code == 0, said
            assert len(found) == 12
            assert found["p_yes"].drop(3).tolist() == pytest.approx(whole["p_yes"].drop(3).tolist(), abs=1e-6)
            assert said.count("note:") <= 2


def test_a_table_in_memory_is_read_as_the_file_is(trained, tmp_path):
    predictor = Predictor.load(trained)
    frame = rows(9, 6).assign(more=1)
    frame.to_csv(tmp_path / "new.csv", index=False)
    ours, file = predictor.read(frame, keep=["more"]), predictor.read(tmp_path / "new.csv")
    assert torch.equal(predictor.outputs(ours.inputs), predictor.outputs(file.inputs))
    assert ours.aside["more"].tolist() == [1] * 9
    with pytest.raises(DataError, match="the table lacks the columns 'age'"):
        predictor.read(frame.drop(columns="age"))


def test_dates_and_identifiers_of_new_rows(tmp_path, capsys):
    def dated(n, seed):
        days = pd.date_range("2024-01-03", periods=n, freq="31h").strftime("%d.%m.%Y %H:%M")
        return rows(n, seed).assign(day=days, id=np.arange(n) + 10**6 * seed)

    for name, seed in (("s", 0), ("t", 1)):
        dated(80, seed).to_csv(tmp_path / f"{name}.csv", index=False)
    words = ["fit", "data.name=files", f"data.sources=[{tmp_path / 's.csv'}]", f"data.target={tmp_path / 't.csv'}"]
    words += ["data.label=y", "method.name=source_only", "trainer.max_epochs=1", "trainer.accelerator=cpu"]
    assert main([*words, "wandb.mode=disabled", f"output={tmp_path / 'runs'}"]) == 0
    run = next((tmp_path / "runs").glob("*/result.json")).parent
    schema = read_record(run).data["schema"]
    assert schema["day"] == {"kind": "date", "order": "dmy", "parts": "month, weekday, hour"}
    assert schema["id"]["kind"] == "drop"
    new = dated(6, 2).drop(columns="id")
    new.loc[2, "day"] = ""
    new.to_csv(tmp_path / "new.csv", index=False)
    capsys.readouterr()
    out = str(tmp_path / "p.csv")
    assert main(["predict", str(run), "--data", str(tmp_path / "new.csv"), "--out", out, "--keep", "day"]) == 0
    assert pd.read_csv(out)["p_yes"].notna().all()
    new["day"] = "2024-13-45"
    new.to_csv(tmp_path / "new.csv", index=False)
    assert main(["predict", str(run), "--data", str(tmp_path / "new.csv"), "--out", out]) == 2
    assert "row 1, column 'day': '2024-13-45' is not one date (day first)" in capsys.readouterr().err
    new.drop(columns="day").to_csv(tmp_path / "new.csv", index=False)
    assert main(["predict", str(run), "--data", str(tmp_path / "new.csv"), "--out", out]) == 2
    assert "lacks the columns 'day', which training had" in capsys.readouterr().err
