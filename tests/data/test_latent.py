"""Texts as latent columns: against scikit-learn, and what must not change them."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from tests.data.test_modalities import texts, through_a_file
from tl_research.config import compose
from tl_research.data.matrix import as_matrix, matrix_width
from tl_research.data.modalities import Modalities, TextConfig
from tl_research.data.transforms.latent import LatentText, drawn_texts, projection
from tl_research.data.transforms.make import make_transform
from tl_research.encoders.text_lsa import TextLsa, TextLsaConfig
from tl_research.errors import ConfigError, DataError

LSA = TextConfig(form="lsa", columns=5)


def test_latent_columns_are_those_of_scikit_learn_up_to_one_factor():
    train, new = list(texts(300)), list(texts(40, seed=1))
    latent = LatentText.fit([train[:100], train[100:]], columns=6)
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    svd = TruncatedSVD(6, random_state=0, algorithm="arpack").fit(vectorizer.fit_transform(train))
    own, theirs = latent.transform(new), svd.transform(vectorizer.transform(new))
    factor = np.linalg.norm(own) / np.linalg.norm(theirs)
    signs = np.sign((own * theirs).sum(axis=0))
    np.testing.assert_allclose(own, factor * theirs * signs, atol=2e-3)
    assert np.mean((latent.transform(train) ** 2).sum(axis=1)) == pytest.approx(1, abs=1e-5)


def test_the_columns_span_what_is_left_of_an_exact_low_rank():
    random = np.random.default_rng(0)
    exact = sp.csr_matrix(random.normal(size=(50, 3)) @ random.normal(size=(3, 30)))
    latent = exact @ projection(exact, 3)
    # Inner products of rows are kept, up to the one factor.
    squared = np.linalg.norm(exact.toarray()) ** 2 / 50
    np.testing.assert_allclose(latent @ latent.T * squared, (exact @ exact.T).toarray(), rtol=1e-3, atol=1e-3)


def test_a_row_is_read_by_itself_and_unknown_words_are_nothing():
    train = list(texts(200))
    latent = LatentText.fit([train], columns=4)
    some = ["red dress", "zebra quagga", None, "", "red dress zebra"]
    together = latent.transform(some)
    for row, text in enumerate(some):
        np.testing.assert_allclose(latent.transform([text])[0], together[row], atol=1e-6)
    assert (together[1:4] == 0).all()
    np.testing.assert_allclose(together[0], together[4], atol=1e-6)


def test_columns_are_no_more_than_the_texts_give():
    latent = LatentText.fit([["red dress", "red shoe", "blue dress"]], columns=100)
    assert latent.columns == 2
    with pytest.raises(ValueError, match="no terms"):
        LatentText.fit([["red", "blue"]], columns=2)


def test_of_many_texts_equally_many_of_each_domain_are_read():
    old, new = [f"old{i}" for i in range(1000)], [f"new{i}" for i in range(30)]
    assert drawn_texts([old, new], 2000) == old + new
    drawn = drawn_texts([old, new], 100)
    assert sum(text.startswith("new") for text in drawn) == 30
    assert len(set(drawn)) == 100
    assert drawn == drawn_texts([old, new], 100)


def test_labels_are_not_asked_and_a_file_gives_the_same_columns():
    train, new = texts(200), texts(20, seed=2)
    train[3] = None
    transform = make_transform([Modalities(text=train, text_config=LSA)], "standard")
    made = transform.transform(Modalities(text=new))
    assert set(made) == {"text_dense"}
    again = through_a_file(transform)
    torch.testing.assert_close(again.transform(Modalities(text=new))["text_dense"], made["text_dense"], rtol=0, atol=0)
    assert again.spec == transform.spec
    assert matrix_width(transform.spec) == 5
    torch.testing.assert_close(as_matrix(made, transform.spec), made["text_dense"])


def test_the_encoder_has_the_table_in_front_of_the_latent_columns():
    table = pd.DataFrame({"age": np.arange(200.0), "city": ["a", "b"] * 100})
    rows = Modalities(text=texts(200), table=table, text_config=LSA)
    transform = make_transform([rows], "standard")
    encoder = TextLsa(TextLsaConfig(), transform.spec)
    made = transform.transform(rows)
    features = encoder(made)
    assert features.shape == (200, encoder.out_features) == (200, 1 + 2 + 5)
    torch.testing.assert_close(features[:, 0], made["numeric"][:, 0])
    torch.testing.assert_close(features[:, 3:], made["text_dense"])


def test_the_encoder_decides_the_form_and_refuses_what_it_cannot_read():
    config = compose(
        {
            "data": {"name": "womens_clothing", "sources": ["tops"], "target": "dresses"},
            "method": "portfolio",
            "encoder": "text_lsa",
        }
    )
    assert config.data.text.form == "lsa"
    pixels = make_transform([np.zeros((9, 8, 8, 3), dtype=np.uint8)], "none")
    with pytest.raises(ConfigError, match="takes texts or named columns, but these rows are images"):
        TextLsa(TextLsaConfig(), pixels.spec)
    tfidf = make_transform([Modalities(text=texts(50), text_config=TextConfig(form="tfidf"))], "none")
    with pytest.raises(ConfigError, match=r"data\.text\.form: got 'tfidf', but encoder 'text_lsa' takes lsa"):
        TextLsa(TextLsaConfig(), tfidf.spec)


def test_texts_without_a_word_that_comes_twice_are_one_error():
    with pytest.raises(DataError, match="no word of two letters"):
        make_transform([Modalities(text=np.array(["red", "blue"], dtype=object), text_config=LSA)], "none")
