"""`predict` and `evaluate` on a user's new file: read as training read its own, and one line for whatever differs."""

import os
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from tl_research.cli import main
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
    def call(frame, command="predict", run=trained, out="p.csv"):
        frame.to_csv(tmp_path / "new.csv", index=False)
        words = [command, str(run), "--data", str(tmp_path / "new.csv")]
        code = main([*words, "--out", str(tmp_path / out)] if command == "predict" else words)
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
