"""A tiny random BERT and its tokenizer in a folder, as save_pretrained writes them."""

import numpy as np
import pytest
import torch

from tl_research.config import compose
from tl_research.data.modalities import Modalities, TextConfig
from tl_research.data.transforms.make import make_transform, transform_from_state
from tl_research.errors import ConfigError, UserError
from tl_research.registry import ENCODERS

transformers = pytest.importorskip("transformers", reason="the extra [text] is not installed")

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "red", "dress", "fits", "badly", "love", "##s"]
TEXTS = np.array(
    ["The red dress fits", "love loves", "fits", "the the the the the the the the the", "zebra"], dtype=object
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bert")
    (folder / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    transformers.BertTokenizer(vocab={word: i for i, word in enumerate(WORDS)}).save_pretrained(folder)
    torch.manual_seed(0)
    settings = transformers.BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=12,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    transformers.BertModel(settings).save_pretrained(folder)
    return str(folder)


def rows(folder, **settings):
    return Modalities(text=TEXTS, text_config=TextConfig(form="pretrained", tokenizer=folder, **settings))


def make(folder, spec, **settings):
    entry = ENCODERS.get("text_hf")
    return entry.target(entry.config(path=folder, **settings), spec)


def test_token_ids_are_the_tokenizers(folder):
    raw = rows(folder, length=8)
    transform = make_transform([raw], "none")
    assert transform.info["text"]["training_rows_cut"] == 1
    ids = transform.transform(raw)["text_ids"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    expected = tokenizer(
        [text or "" for text in TEXTS], padding="max_length", truncation=True, max_length=8, return_tensors="pt"
    )["input_ids"]
    assert torch.equal(ids.long(), expected)
    assert ids[1].tolist() == [2, 10, 10, 11, 3, 0, 0, 0]
    again = transform_from_state(transform.state_dict())
    assert again.spec == transform.spec
    assert torch.equal(again.transform(raw)["text_ids"], ids)


@pytest.mark.parametrize("pool", ["mean", "first"])
def test_features_are_those_of_the_folders_weights(folder, pool):
    raw = rows(folder)
    transform = make_transform([raw], "none")
    encoder = make(folder, transform.spec, pool=pool)
    assert encoder.training
    inputs = transform.transform(raw)
    model = transformers.BertModel.from_pretrained(folder)
    for row, text in enumerate(TEXTS):
        tokens = transformers.AutoTokenizer.from_pretrained(folder)(text or "", return_tensors="pt")
        states = model(**tokens).last_hidden_state[0]
        expected = states.mean(0) if pool == "mean" else states[0]
        torch.testing.assert_close(encoder(inputs)[row], expected, atol=1e-5, rtol=1e-4)
    assert encoder.out_features == 16


def test_gradient_blocks_and_precision(folder):
    raw = rows(folder)
    transform = make_transform([raw], "none")
    inputs = transform.transform(raw)
    encoder = make(folder, transform.spec, random_weights=True)
    (encoder(inputs) * torch.randn(16)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())
    assert encoder.blocks() == ["model.embeddings", "model.encoder.layer.0", "model.encoder.layer.1"]
    assert set(encoder.block_of().values()) == set(encoder.blocks())
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.isfinite(encoder(inputs)).all()
    saved = make(folder, transform.spec, grad_checkpointing=True)
    saved(inputs).sum().backward()
    empty = {"text_ids": torch.zeros(2, 9, dtype=torch.int32)}
    assert torch.equal(encoder(empty), torch.zeros(2, 16))


def test_a_recipe_names_the_folder_once(folder):
    recipe = {
        "data": {"name": "fdu_reviews", "sources": ["books"], "target": "dvd"},
        "encoder": {"name": "text_hf", "path": folder},
    }
    config = compose(recipe)
    assert config.data.text.form == "pretrained"
    assert config.data.text.tokenizer == folder
    recipe["encoder"] = {"name": "text_transformer"}
    assert compose(recipe).data.text.form == "words"
    recipe["encoder"] = {"name": "text_ngrams"}
    assert compose(recipe).data.text.form == "tfidf"
    assert compose(recipe, ["data.text.form=hashed"]).data.text.form == "hashed"


def test_what_is_wrong_is_named(folder, tmp_path):
    transform = make_transform([rows(folder)], "none")
    with pytest.raises(ConfigError, match=r"encoder\.path: missing"):
        make(None, transform.spec)
    with pytest.raises(ConfigError, match=r"encoder\.path: .*holds no config\.json"):
        make(str(tmp_path), transform.spec)
    with pytest.raises(UserError, match=r"data\.text\.tokenizer: .*no tokenizer"):
        make_transform([rows(str(tmp_path))], "none")
    long = Modalities(
        text=np.array(["the " * 30], dtype=object), text_config=TextConfig(form="pretrained", tokenizer=folder)
    )
    with pytest.raises(ConfigError, match=r"data\.text\.length: got 32 tokens"):
        make(folder, make_transform([long], "none").spec)
