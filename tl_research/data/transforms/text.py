"""Texts to tensors with one row per text: weighted n-grams, latent columns, or token ids.

Vocabulary and inverse document frequencies come from rows that train, and from no other.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cache
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from tl_research.data.modalities import NGRAM_FORMS, TextConfig
from tl_research.data.transforms.latent import LatentText
from tl_research.data.transforms.spec import InputSpec, TextSpec
from tl_research.errors import DataError, UserError

PADDING, UNKNOWN = 0, 1
_WORD = re.compile(r"\w+|[^\w\s]")


class TextTransform:
    """Texts to named tensors; a missing text is a row of padding.

    n-grams (`tfidf`, `hashed`): `text_index` (n, width) int32 holds the terms of a row, `text_value` (n, width) float32
    their weights, scaled so that the row has length 1. Padding has value 0. tf-idf is
    (1 + ln tf) (1 + ln((1 + n)/(1 + df))). Tokens (`words`, `pretrained`): `text_ids` (n, width) int32. For `words`,
    id 0 is padding and id 1 a word that training did not see. `lsa`: `text_dense` (n, width) float32; see `LatentText`.

    Args:
        config: group `data.text`, its form resolved.
        width: columns of the tensors.
        words: terms or words in the order of their numbers; empty for `hashed` and `pretrained`.
        idf: (terms,) float64, for `tfidf`.
        cut: training rows that were longer than `width`.
        latent: for `lsa`.
    """

    def __init__(
        self,
        config: TextConfig,
        width: int,
        words: list[str],
        idf: np.ndarray,
        cut: int,
        latent: LatentText | None = None,
    ):
        self.config, self.width, self.words, self.idf, self.cut = config, width, words, idf, cut
        self.latent = latent
        self._number = {word: number for number, word in enumerate(words, start=2)} if config.form == "words" else {}

    @classmethod
    def fit(cls, parts: Sequence[np.ndarray], config: TextConfig) -> TextTransform:
        """Fit vocabulary and width to the training texts of all domains together.

        Args:
            parts: training texts of each domain; "" or None where there is none.
            config: which form the texts take, and how many terms are kept.

        Raises:
            DataError: no word occurs often enough to be kept.
        """
        if config.form == "auto":
            config = replace(config, form="tfidf")
        if config.form == "lsa":
            return cls._fit_latent(parts, config)
        texts = [text or "" for part in parts for text in part]
        fitted = cls(config, 0, [], np.zeros(0), 0)
        if config.form == "tfidf":
            vectorizer = fitted._vectorizer()
            try:
                weights = sp.csr_matrix(vectorizer.fit_transform(texts))
            except ValueError:  # no term occurs often enough
                raise DataError(_no_word(config)) from None
            fitted.words, fitted.idf = list(vectorizer.get_feature_names_out()), vectorizer.idf_.astype(np.float64)
        elif config.form == "words":
            counts = Counter(word for text in texts for word in split_words(text))
            kept = sorted((-count, word) for word, count in counts.items() if count >= config.min_count)
            fitted.words = [word for _, word in kept[: config.vocabulary - 2]]
            if not fitted.words:
                raise DataError(f"the texts of the training rows: no word occurs {config.min_count} times")
        if config.form in NGRAM_FORMS:
            weights = fitted._weights(texts) if config.form == "hashed" else weights
            if not weights.nnz:
                raise DataError(_no_word(config))
            lengths, most = np.diff(weights.indptr), config.terms
        else:
            lengths, most = np.array([len(row) for row in fitted._tokens(texts, None)]), config.length
        return cls(config, int(min(most, max(1, lengths.max()))), fitted.words, fitted.idf, int((lengths > most).sum()))

    @classmethod
    def _fit_latent(cls, parts: Sequence[np.ndarray], config: TextConfig) -> TextTransform:
        try:
            latent = LatentText.fit(
                parts,
                columns=config.columns,
                vocabulary=config.vocabulary,
                min_count=config.min_count,
                ngrams=config.ngrams,
            )
        except ValueError:  # no term occurs often enough
            raise DataError(_no_word(config)) from None
        return cls(config, latent.columns, latent.words, latent.idf, 0, latent)

    @property
    def spec(self) -> InputSpec:
        """Form and width of the texts' tensors, and how many terms or token ids there are."""
        form = self.config.form
        size = {"hashed": self.config.vocabulary, "tfidf": len(self.words), "words": len(self.words) + 2}.get(form)
        if self.latent is not None:
            size = self.latent.columns
        padding = PADDING
        if form == "pretrained":
            tokenizer = load_tokenizer(self.config.tokenizer)
            size, padding = len(tokenizer), tokenizer.pad_token_id
        return InputSpec(numeric=0, text=TextSpec(form=form, size=size, width=self.width, padding=padding))

    @property
    def info(self) -> dict[str, Any]:
        """Facts for the result record."""
        return {
            "text": self.config.form,
            "terms": self.spec.text.size,
            "width": self.width,
            "training_rows_cut": self.cut,
        }

    @property
    def remarks(self) -> list[str]:
        """Sentences for the screen and the record, on texts that are cut."""
        return (
            [f"{self.cut} texts of the training rows have over {self.width} terms; the rest is not read"]
            if self.cut
            else []
        )

    def transform(self, raw: np.ndarray) -> dict[str, Tensor]:
        """Return the named tensors of n texts (object array of str or None)."""
        texts = [text or "" for text in raw]
        if self.latent is not None:
            return {"text_dense": torch.from_numpy(self.latent.transform(texts))}
        if self.config.form in NGRAM_FORMS:
            index, value = _padded(self._weights(texts), self.width)
            return {"text_index": torch.from_numpy(index), "text_value": torch.from_numpy(value)}
        ids = np.full((len(texts), self.width), self.spec.text.padding, dtype=np.int32)
        for row, tokens in enumerate(self._tokens(texts, self.width)):
            ids[row, : len(tokens)] = tokens
        return {"text_ids": torch.from_numpy(ids)}

    def unseen_counts(self, raw: np.ndarray) -> dict[str, int]:
        """Unseen words are not counted."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """The configuration, the vocabulary, the inverse document frequency of each of its terms, and the width."""
        latent = {} if self.latent is None else {"projection": self.latent.state_dict()["projection"]}
        return latent | {
            "kind": "text",
            "config": asdict(self.config),
            "width": self.width,
            "words": list(self.words),
            "idf": torch.from_numpy(self.idf.copy()),
            "cut": self.cut,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> TextTransform:
        """Make the transform of what `state_dict` gave."""
        config = TextConfig(**state["config"])
        latent = LatentText.from_state({**state, "ngrams": config.ngrams}) if "projection" in state else None
        idf = state["idf"].numpy().astype(np.float64)
        return cls(config, state["width"], list(state["words"]), idf, state["cut"], latent)

    def _vectorizer(self):
        # Here, because scikit-learn takes a second to import and only runs with texts need it.
        from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer

        config = self.config
        if config.form == "hashed":
            return HashingVectorizer(
                n_features=config.vocabulary, ngram_range=(1, config.ngrams), alternate_sign=False, dtype=np.float32
            )
        vectorizer = TfidfVectorizer(
            ngram_range=(1, config.ngrams),
            sublinear_tf=True,
            dtype=np.float32,
            **(
                {"vocabulary": self.words}
                if self.words
                else {"min_df": config.min_count, "max_features": config.vocabulary}
            ),
        )
        if self.words:
            vectorizer.idf_ = self.idf
        return vectorizer

    def _weights(self, texts: list[str]) -> sp.csr_matrix:
        return sp.csr_matrix(self._vectorizer().transform(texts))

    def _tokens(self, texts: list[str], most: int | None) -> list[list[int]]:
        if self.config.form == "words":
            return [[self._number.get(word, UNKNOWN) for word in split_words(text)[:most]] for text in texts]
        tokenizer = load_tokenizer(self.config.tokenizer)
        return tokenizer(texts, truncation=most is not None, max_length=most, verbose=False)["input_ids"]


def _no_word(config: TextConfig) -> str:
    often = "" if config.form == "hashed" else f" {config.min_count} times"
    return (
        f"the texts of the training rows: no word of two letters or digits or more occurs{often}, so that "
        f"data.text.form={config.form} says nothing; wants data.text.form=words, which reads single letters and marks, "
        "a smaller data.text.min_count, or texts"
    )


def split_words(text: str) -> list[str]:
    """Lower-cased words and single marks."""
    return _WORD.findall(text.lower())


@cache
def load_tokenizer(folder: str | None):
    """Read a Hugging Face tokenizer from a local folder.

    Raises:
        UserError: there is none, or it has no padding token; or the extra `[text]` is not installed.
    """
    if folder is None:
        raise UserError("data.text.tokenizer: missing; data.text.form=pretrained needs the folder of a tokenizer")
    try:
        from transformers import AutoTokenizer
    except ImportError:
        raise UserError("data.text.form=pretrained: pip install 'tl_research[text]'") from None
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise UserError(f"data.text.tokenizer: {folder}: no tokenizer ({str(error).splitlines()[0]})") from None
    if tokenizer.pad_token_id is None:
        raise UserError(f"data.text.tokenizer: {folder}: the tokenizer has no padding token")
    return tokenizer


def _padded(weights: sp.csr_matrix, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return index and value of the `width` terms of largest weight per row, padded with 0."""
    rows = np.repeat(np.arange(weights.shape[0]), np.diff(weights.indptr))
    order = np.lexsort((weights.indices, -weights.data, rows))
    place = np.arange(len(rows)) - weights.indptr[rows]
    kept = place < width
    index = np.zeros((weights.shape[0], width), dtype=np.int32)
    value = np.zeros((weights.shape[0], width), dtype=np.float32)
    index[rows[kept], place[kept]] = weights.indices[order][kept]
    value[rows[kept], place[kept]] = weights.data[order][kept]
    return index, value
