"""The user's own images and texts: read, trained on, killed and resumed, predicted; what is broken is named."""

import io

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from tl_research.cli import main
from tl_research.config import compose, run_id
from tl_research.data.catalog import product_files
from tl_research.data.paired import PairedDataModule
from tl_research.errors import ConfigError, DataError
from tl_research.registry import DATASETS
from tl_research.runs.experiment import run
from tl_research.runs.predictor import Predictor

WORDS = {"shoe": ["runs", "sole", "laces"], "shirt": ["cotton", "collar", "sleeve"]}


def picture(label, rng, size=20):
    """A shoe is dark below, a shirt above; noise all over."""
    pixels = rng.integers(120, 256, (size, size, 3))
    half = slice(size // 2, None) if label == "shoe" else slice(0, size // 2)
    pixels[half] //= 3
    return Image.fromarray(pixels.astype(np.uint8))


def png(image):
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def products(rows, seed, *, missing=True):
    rng = np.random.default_rng(seed)
    label = rng.choice(list(WORDS), rows)
    image = [png(picture(value, rng)) for value in label]
    name = [" ".join(rng.choice([*WORDS[value], "the", "red"], 4)) for value in label]
    price = rng.normal(size=rows) + (label == "shoe")
    frame = pd.DataFrame({"label": label, "photo": image, "name": name, "price": price})
    if missing:
        frame.loc[::4, "photo"] = None
        frame.loc[1::4, "name"] = None
    return frame


@pytest.fixture
def tables(tmp_path):
    for name, seed in (("old", 0), ("new", 1)):
        products(90, seed).to_parquet(tmp_path / f"{name}.parquet")
    return tmp_path


def recipe(folder, **encoder):
    encoder = encoder or {
        "name": "fusion",
        "width": 16,
        "image": {"model": "test_resnet", "crop": 2, "flip": True},
        "ngrams": {"hidden": [8], "dropout": 0.2},
        "table": {"hidden": [8]},
    }
    return {
        "data": {
            "name": "product_files",
            "sources": [str(folder / "old.parquet")],
            "target": str(folder / "new.parquet"),
            "label": "label",
            "image_column": "photo",
            "text_columns": ["name"],
            "batch_size": 16,
            "text": {"min_count": 1},
        },
        "encoder": encoder,
        "trainer": {"max_epochs": 2, "accelerator": "cpu", "checkpoint_every_seconds": None},
        "wandb": {"mode": "disabled"},
    }


def test_bytes_paths_and_folders_give_the_same_images(tmp_path):
    frame = products(12, 0, missing=False)
    for row, content in enumerate(frame["photo"]):
        path = tmp_path / "folder" / frame["label"][row] / f"{row:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    frame.to_parquet(tmp_path / "bytes.parquet")
    named = frame.assign(photo=[f"folder/{label}/{row:03}.png" for row, label in enumerate(frame["label"])])
    named.to_csv(tmp_path / "paths.csv", index=False)
    structs = frame.assign(photo=[{"bytes": content, "path": None} for content in frame["photo"]])
    structs.to_parquet(tmp_path / "structs.parquet")
    config = DATASETS.get("product_files").config

    def images(name, size=20):
        given = {"label": "label", "image_column": "photo", "drop": ["name", "price"], "image_size": size}
        names = [str(tmp_path / name), str(tmp_path / "folder")]
        return product_files.load(config(sources=names[:1], target=names[1], **given), names)

    expected = np.stack([np.asarray(Image.open(io.BytesIO(content))) for content in frame["photo"]])
    for name in ("bytes.parquet", "paths.csv", "structs.parquet"):
        table, folder = images(name).values()
        np.testing.assert_array_equal(table.inputs.image, expected)
        assert table.inputs.image_present.all()
        assert [table.classes[code] for code in table.label] == frame["label"].tolist()
        order = np.argsort([f"{label}/{row:03}" for row, label in enumerate(frame["label"])])
        np.testing.assert_array_equal(folder.inputs, expected[order])
        assert folder.label.tolist() == table.label[order].tolist()
    small = images("bytes.parquet", size=9)[str(tmp_path / "bytes.parquet")].inputs.image
    resized = Image.open(io.BytesIO(frame["photo"][3])).resize((9, 9), Image.BILINEAR)
    np.testing.assert_array_equal(small[3], np.asarray(resized))


def test_one_table_with_a_domain_column(tables):
    both = [pd.read_parquet(tables / f"{name}.parquet").assign(market=name) for name in ("old", "new")]
    pd.concat(both).to_parquet(tables / "all.parquet", index=False)
    config = DATASETS.get("product_files").config(
        sources=["old"],
        target="new",
        label="label",
        path=str(tables / "all.parquet"),
        domain_column="market",
        image_column="photo",
        text_columns=["name"],
    )
    domains = product_files.load(config, ["old", "new"])
    assert [len(domain) for domain in domains.values()] == [90, 90]
    for name, domain in domains.items():
        raw = pd.read_parquet(tables / f"{name}.parquet")
        assert list(domain.inputs.table) == ["price"]
        assert domain.inputs.present("image").tolist() == raw["photo"].notna().tolist()
        assert domain.inputs.present("text").tolist() == raw["name"].notna().tolist()
        np.testing.assert_array_equal(domain.inputs.table["price"], raw["price"])
    config.target = "nw"
    with pytest.raises(ConfigError, match=r"data\.target: .* has no 'nw' .*did you mean 'new'"):
        product_files.load(config, ["old", "nw"])


@pytest.mark.parametrize("broken", ["noise", "truncated", "number", "absent"])
def test_a_broken_image_is_named_by_file_row_and_column(tables, broken):
    frame = pd.read_parquet(tables / "new.parquet")
    content = frame["photo"][5]
    file = "new.parquet"
    if broken == "absent":
        frame["photo"] = "gone.png"
        frame.loc[:4, "photo"] = None
        file = "new.csv"
        frame.to_csv(tables / file, index=False)
    elif broken == "number":
        frame["photo"] = 3
        frame.to_parquet(tables / file)
    else:
        frame.at[5, "photo"] = b"noise" if broken == "noise" else content[: len(content) // 2]
        frame.to_parquet(tables / file)
    row = 1 if broken == "number" else 6
    given = recipe(tables)
    given["data"]["target"] = str(tables / file)
    config = DATASETS.get("product_files").config(
        **{key: value for key, value in given["data"].items() if key != "text"}
    )
    with pytest.raises(DataError, match=rf"{file}, row {row}, column 'photo'"):
        product_files.load(config, [*config.sources, config.target])


def test_a_broken_file_of_a_folder_is_named(tmp_path):
    path = tmp_path / "old" / "shoe" / "one.jpg"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"noise")
    config = DATASETS.get("product_files").config(
        sources=[str(tmp_path / "old")], target=str(tmp_path / "new"), label="y"
    )
    with pytest.raises(DataError, match=r"one\.jpg: not an image"):
        product_files.load(config, config.sources)
    (tmp_path / "new").mkdir()
    with pytest.raises(DataError, match="holds no <class>/<image>"):
        product_files.load(config, [config.target])


def test_killed_and_resumed_equals_uninterrupted(tables, tmp_path, monkeypatch):
    """With augmentation, dropout, modality dropout and batch norm on."""
    import tl_research.training.resume as checkpoint

    def composed(output):
        return compose(recipe(tables), [f"output={tmp_path / output}", "trainer.checkpoint_every_n_steps=2"])

    whole = run(composed("whole"))
    config = composed("killed")
    save = checkpoint.ResumeCheckpoint.save
    count = []

    def save_and_die(self, trainer):
        save(self, trainer)
        count.append(trainer.global_step)
        if len(count) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint.ResumeCheckpoint, "save", save_and_die)
    with pytest.raises(KeyboardInterrupt):
        run(config)
    monkeypatch.setattr(checkpoint.ResumeCheckpoint, "save", save)
    assert (tmp_path / "killed" / run_id(config) / "resume.ckpt").is_file()
    resumed = run(config)
    assert resumed.metrics == whole.metrics
    one, two = (Predictor.load(tmp_path / name / whole.run_id) for name in ("whole", "killed"))
    for (name, value), other in zip(one.module.state_dict().items(), two.module.state_dict().values(), strict=True):
        assert torch.equal(value, other), name


@pytest.mark.slow
def test_it_learns_and_predicts_from_a_new_file(tables, tmp_path, capsys):
    config = compose(
        recipe(tables), [f"output={tmp_path / 'runs'}", "trainer.max_epochs=12", "encoder.modality_dropout=0.2"]
    )
    record = run(config)
    assert record.metrics["last"]["target_test/accuracy"] > 0.85
    folder = str(tmp_path / "runs" / record.run_id)
    new = products(40, 7)
    new.drop(columns="label").to_parquet(tmp_path / "unseen.parquet")
    new.to_parquet(tmp_path / "seen.parquet")
    assert main(["predict", folder, "--data", str(tmp_path / "unseen.parquet"), "--out", str(tmp_path / "p.csv")]) == 0
    predicted = pd.read_csv(tmp_path / "p.csv")["prediction"]
    assert (predicted == new["label"]).mean() > 0.85
    assert main(["evaluate", folder, "--data", str(tmp_path / "seen.parquet")]) == 0
    shown = capsys.readouterr().out
    accuracy = float(next(line.split()[1] for line in shown.splitlines() if line.startswith("accuracy")))
    assert accuracy == pytest.approx((predicted == new["label"]).mean(), abs=1e-4)


def test_a_row_without_anything_has_its_number_in_the_file(tmp_path):
    """Not its number among the rows that train."""
    for name, seed in (("old", 0), ("new", 1)):
        frame = products(90, seed, missing=False)[["label", "photo"]]
        frame.loc[frame.index == 61, "photo"] = None if name == "new" else frame["photo"][61]
        frame.to_parquet(tmp_path / f"{name}.parquet")
    wanted = recipe(tmp_path, name="vision", model="test_resnet")
    wanted["data"] |= {"text_columns": [], "text": {}}
    data = PairedDataModule(OmegaConf.to_object(compose(wanted).data), seed=0)
    with pytest.raises(DataError, match=r"new\.parquet, row 62: has no image \(1 such rows\)"):
        data.setup()
