"""Texts, images and rows of several modalities as tensors: against scikit-learn and plain loops."""

import io
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer

from tl_research.data.batch import Samples
from tl_research.data.matrix import as_matrix
from tl_research.data.modalities import Modalities, TextConfig
from tl_research.data.sampling.loaders import PairedLoader
from tl_research.data.transforms.make import make_transform, transform_from_state
from tl_research.data.transforms.modalities import ModalityTransform
from tl_research.data.transforms.text import TextTransform
from tl_research.errors import ConfigError, DataError, UserError

WORDS = ["red", "blue", "green", "dress", "shirt", "shoe", "size", "fits", "runs", "small", "large", "love", "the", "!"]


def texts(rows, seed=0):
    rng = np.random.default_rng(seed)
    return np.array([" ".join(rng.choice(WORDS, rng.integers(1, 12))) for _ in range(rows)], dtype=object)


def images(rows, size=8, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (rows, size, size, 3), dtype=np.uint8)


def table(rows, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame({"age": rng.normal(size=rows), "colour": rng.choice(["red", "blue"], rows).astype(object)})


def mixed(rows, seed=0, **config):
    text = texts(rows, seed)
    text[::5] = None
    present = np.arange(rows) % 3 != 0
    config = TextConfig(**({"form": "tfidf"} | config))
    return Modalities(images(rows, seed=seed), present, text, table(rows, seed), config, "shop.csv")


def through_a_file(transform):
    file = io.BytesIO()
    torch.save(transform.state_dict(), file)
    file.seek(0)
    return transform_from_state(torch.load(file, weights_only=True))


@pytest.mark.parametrize("form", ["tfidf", "hashed"])
def test_ngrams_are_the_vectorizer_of_scikit_learn(form):
    train, new = texts(200), texts(30, seed=1)
    config = TextConfig(form=form, ngrams=2, min_count=2, vocabulary=5000)
    transform = make_transform([Modalities(text=train[:90], text_config=config), Modalities(text=train[90:])], "none")
    if form == "tfidf":
        reference = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2).fit(train)
    else:
        reference = HashingVectorizer(n_features=5000, ngram_range=(1, 2), alternate_sign=False)
    out = transform.transform(Modalities(text=new))
    assert out["text_index"].dtype == torch.int32
    np.testing.assert_allclose(as_matrix(out, transform.spec).numpy(), reference.transform(new).toarray(), atol=1e-6)


def test_words_are_numbered_by_count_and_unseen_ones_are_one():
    train = np.array(["b b b a a c", "b a , rare", None], dtype=object)
    transform = TextTransform.fit([train[:1], train[1:]], TextConfig(form="words", min_count=2, length=4))
    assert transform.words == ["b", "a"]
    assert transform.cut == 1
    out = transform.transform(np.array(["A b zebra", None, "a a a a a a"], dtype=object))["text_ids"]
    assert out.tolist() == [[3, 2, 1, 0], [0, 0, 0, 0], [3, 3, 3, 3]]


def test_token_ids_are_no_matrix():
    raw = mixed(20, form="words")
    transform = make_transform([raw], "standard")
    with pytest.raises(ConfigError, match="words gives token ids, which are no matrix; use tfidf"):
        as_matrix(transform.transform(raw), transform.spec)


def test_rows_of_all_modalities_as_one_matrix():
    raw = mixed(20)
    transform = make_transform([raw], "standard")
    out = transform.transform(raw)
    matrix = as_matrix(out, transform.spec)
    image, text, pixels = out["image"], transform.spec.text.size, 8 * 8 * 3
    assert matrix.shape == (20, 1 + 2 + pixels + text)
    assert torch.equal(matrix[:, 0], out["numeric"][:, 0])
    assert torch.equal(matrix[1, 3 : 3 + pixels], image[1].flatten() / 255)
    assert (matrix[0, 3 : 3 + pixels] == 0).all(), "row 0 has no image"
    assert (matrix[::5, 3 + pixels :] == 0).all()


def test_of_a_long_text_the_weightiest_terms_stay():
    train = texts(100)
    transform = TextTransform.fit([train], TextConfig(form="tfidf", terms=3))
    whole = TextTransform.fit([train], TextConfig(form="tfidf"))
    few, all_ = transform.transform(train), whole.transform(train)
    assert few["text_value"].shape == (100, 3)
    torch.testing.assert_close(few["text_value"], all_["text_value"].sort(dim=1, descending=True).values[:, :3])
    counts = (all_["text_value"] > 0).sum(1)
    assert transform.cut == (counts > 3).sum()


@pytest.mark.parametrize("form", ["tfidf", "hashed", "words"])
def test_state_is_exact_through_a_weights_only_file(form):
    raw = mixed(60, form=form)
    transform = make_transform([raw], "standard")
    again = through_a_file(transform)
    assert again.spec == transform.spec
    assert again.info == transform.info
    one, two = transform.transform(raw), again.transform(raw)
    assert set(one) == set(two)
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("form", ["tfidf", "words"])
def test_rows_that_training_does_not_see_never_change_the_transform(form):
    def fit(extra):
        text = np.concatenate([texts(50), np.array([extra] * 50, dtype=object)])
        rows = Modalities(text=text, table=table(100), text_config=TextConfig(form=form))
        rows.table.loc[50:, "age"] = len(extra)
        return through_a_file(make_transform([rows[np.arange(50)]], "standard")).state_dict()

    one, two = fit("zebra zebra"), fit("quagga")
    assert str(one) == str(two)
    assert str(one) != str(through_a_file(make_transform([mixed(50, seed=3)], "standard")).state_dict())


def test_masks_say_what_is_missing_and_a_row_without_anything_is_named():
    raw = mixed(30)
    out = make_transform([raw], "standard").transform(raw)
    assert out["image"].dtype == torch.uint8
    assert torch.equal(out["image"], torch.from_numpy(raw.image))
    assert out["image_present"].tolist() == [i % 3 != 0 for i in range(30)]
    assert out["text_present"].tolist() == [i % 5 != 0 for i in range(30)]
    assert out["table_present"].all()
    assert (out["text_value"][::5] == 0).all()
    text_alone = raw.select(["text"])
    of_texts = make_transform([text_alone], "standard")
    with pytest.raises(DataError, match=r"shop\.csv, row 1: has no text \(6 such rows\)"):
        of_texts.transform(text_alone)
    without = raw.select(["image", "text"])
    with pytest.raises(DataError, match=r"shop\.csv, row 1: has neither image nor text \(2 such rows\)"):
        make_transform([without], "standard").transform(without)


def test_rows_are_taken_from_every_modality_alike():
    raw, rows = mixed(20), np.array([3, 4, 11])
    for chosen in (raw[rows], raw[np.isin(np.arange(20), rows)]):
        assert len(chosen) == 3
        np.testing.assert_array_equal(chosen.image, raw.image[rows])
        assert list(chosen.text) == list(raw.text[rows])
        assert chosen.table.equals(raw.table.iloc[rows])
        np.testing.assert_array_equal(chosen.present("image"), raw.present("image")[rows])


def test_what_does_not_fit_is_refused():
    raw = mixed(20)
    transform = make_transform([raw], "standard")
    with pytest.raises(DataError, match="has image, text, but training had image, text, table"):
        transform.transform(raw.select(["image", "text"]))
    with pytest.raises(DataError, match="got a DataFrame"):
        transform.transform(raw.table)
    with pytest.raises(DataError, match="one kind"):
        make_transform([raw, np.zeros((3, 2))], "none")
    with pytest.raises(DataError, match="differ in their rows"):
        Modalities(image=images(3), text=texts(4))
    with pytest.raises(DataError, match="neither an image"):
        Modalities()
    with pytest.raises(DataError, match="training rows"):
        TextTransform.fit([np.array(["a b", "c d"], dtype=object)], TextConfig(form="tfidf", min_count=2))
    with pytest.raises(ConfigError, match=r"data\.text\.form.*did you mean 'tfidf'"):
        TextConfig(form="tfid")
    with pytest.raises(UserError, match=r"data\.text\.tokenizer"):
        TextTransform.fit([texts(3)], TextConfig(form="pretrained"))


def test_plain_images_stay_bytes():
    raw = images(10)
    transform = make_transform([raw[:6], raw[6:]], "standard")
    assert transform.spec.image == (8, 8, 3)
    out = transform.transform(raw)
    assert out.dtype == torch.uint8
    assert torch.equal(out, torch.from_numpy(raw))
    assert torch.equal(through_a_file(transform).transform(raw), out)
    np.testing.assert_allclose(as_matrix(out, transform.spec), raw.reshape(10, -1) / 255.0, atol=1e-7)
    with pytest.raises(DataError, match="uint8"):
        transform.transform(raw.astype(np.float32))
    with pytest.raises(DataError, match="but training had"):
        transform.transform(images(4, size=9))


@pytest.mark.parametrize("kind", ["image", "modalities"])
def test_batches_are_bit_repeatable_and_resume_at_any_step(kind):
    raw = images(50) if kind == "image" else mixed(50)
    inputs = make_transform([raw], "standard").transform(raw)
    side = Samples(inputs, torch.arange(50), torch.arange(50), torch.zeros(50, dtype=torch.long))

    def loader():
        return PairedLoader({"source": side, "target": side.rows(torch.arange(20))}, {"source": 8, "target": 8}, seed=1)

    def parts(samples):
        return samples.inputs if isinstance(samples.inputs, dict) else {"image": samples.inputs}

    whole, again = list(loader()), list(loader())
    resumed = loader()
    resumed.load_state_dict({"step": 3})
    late = list(resumed)
    for one, two in [*zip(whole, again, strict=True), *zip(whole[3:], late, strict=True)]:
        for side_name in ("source", "target"):
            a, b = parts(getattr(one, side_name)), parts(getattr(two, side_name))
            assert all(torch.equal(a[name], b[name]) for name in a)
    # each row keeps its own content
    for batch in whole:
        for name, tensor in parts(batch.source).items():
            whole_tensor = inputs if kind == "image" else inputs[name]
            assert torch.equal(tensor, whole_tensor[batch.source.index])
            assert tensor.dtype == whole_tensor.dtype


def test_counts_of_words_by_a_plain_loop():
    train = texts(80)
    transform = ModalityTransform.fit([Modalities(text=train, text_config=TextConfig(form="words"))], "none")
    ids = transform.transform(Modalities(text=train))["text_ids"]
    counts = Counter(word for text in train for word in text.split())
    for number, word in enumerate(transform.parts["text"].words, start=2):
        assert (ids == number).sum() == counts[word]


@pytest.mark.parametrize("form", ["tfidf", "hashed", "words"])
@pytest.mark.parametrize(
    "texts", [["a b c", "b a"] * 5, ["", None] * 5, ["!!!", "? ?"] * 5], ids=["letters", "none", "marks"]
)
def test_texts_without_a_word_are_refused_by_the_key_that_would_read_them(form, texts):
    texts = np.array(texts, dtype=object)
    if form == "words" and texts[0]:
        assert TextTransform.fit([texts], TextConfig(form=form)).transform(texts)["text_ids"].any()
        return
    wants = "no word occurs" if form == "words" else rf"no word .*data\.text\.form={form} says nothing"
    with pytest.raises(DataError, match=wants):
        TextTransform.fit([texts], TextConfig(form=form))
