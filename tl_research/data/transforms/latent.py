"""Latent semantics: the n-grams of a text as few columns, by a truncated singular value decomposition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

#: Texts that the decomposition reads at most; of more, equally many are drawn from each domain, the same every time.
FITTED_ROWS = 20_000


def drawn_texts(parts: Sequence[Sequence[str]], most: int = FITTED_ROWS) -> list[str]:
    """Return the texts of all parts, or at most `most` of them: of each part all it has, up to an equal share.

    What a small part does not need, the others have.
    """
    if sum(map(len, parts)) <= most:
        return [text for part in parts for text in part]
    random = np.random.default_rng(0)
    left, texts = most, []
    for place, part in enumerate(sorted(parts, key=len)):
        take = min(len(part), left // (len(parts) - place))
        rows = np.sort(random.choice(len(part), take, replace=False))
        texts += [part[row] for row in rows]
        left -= take
    return texts


def projection(weights: sp.csr_matrix, columns: int) -> np.ndarray:
    """Return the matrix P (terms, k) float32 by which weights X (n, terms) become latent columns X P (n, k).

    P = V_k / r: V_k the right singular vectors of the k largest singular values of X, r the root mean square length of
    the rows of X V_k, so that rows of X P have a mean square length of 1: the first columns are the widest, as in X.
    Signs are those of scikit-learn's TruncatedSVD.

    Args:
        weights: rows of tf-idf; one at least is not 0.
        columns: k, or fewer where there are fewer rows or terms.

    Reference:
        Deerwester et al. 1990, Journal of the American Society for Information Science 41(6); Halko, Martinsson & Tropp
        2011, SIAM Review 53(2) (the randomised decomposition).
    """
    # Here, because scikit-learn takes a second to import and only runs with texts need it.
    from sklearn.decomposition import TruncatedSVD

    k = min(columns, *weights.shape)
    vectors = TruncatedSVD(k, random_state=0).fit(weights.astype(np.float64)).components_.T
    length = np.sqrt(np.square(weights @ vectors).sum(axis=1).mean())
    return (vectors / length).astype(np.float32)


class LatentText:
    """Texts to latent columns (n, k) float32: X P of their tf-idf weights X; a text without a known word is 0.

    tf-idf is (1 + ln tf) (1 + ln((1 + n) / (1 + df))) of words and of pairs of words, rows of length 1. Nothing of it
    reads a label.

    Args:
        words: terms in the order of their numbers.
        idf: (terms,) float64, their inverse document frequencies.
        projected: P (terms, k) float32; see `projection`.
        ngrams: longest n-gram, in words.
    """

    def __init__(self, words: list[str], idf: np.ndarray, projected: np.ndarray, ngrams: int = 2):
        self.words, self.idf, self.projected, self.ngrams = words, idf, projected, ngrams

    @classmethod
    def fit(
        cls,
        parts: Sequence[Sequence[str | None]],
        *,
        columns: int = 100,
        vocabulary: int = 20_000,
        min_count: int = 2,
        ngrams: int = 2,
    ) -> LatentText:
        """Fit vocabulary, frequencies and projection to the texts of all domains together.

        Args:
            parts: texts of each domain; "" or None where there is none.
            columns: k at most.
            vocabulary: terms that are kept at most, the most frequent.
            min_count: texts that a term must be in.
            ngrams: longest n-gram, in words.

        Raises:
            ValueError: no word of two letters or digits or more is in `min_count` texts.
        """
        from sklearn.feature_extraction.text import TfidfVectorizer

        texts = drawn_texts([[text or "" for text in part] for part in parts])
        vectorizer = TfidfVectorizer(
            ngram_range=(1, ngrams), sublinear_tf=True, dtype=np.float32, min_df=min_count, max_features=vocabulary
        )
        weights = sp.csr_matrix(vectorizer.fit_transform(texts))
        words, idf = list(vectorizer.get_feature_names_out()), vectorizer.idf_.astype(np.float64)
        return cls(words, idf, projection(weights, columns), ngrams)

    @property
    def columns(self) -> int:
        """Number of latent columns."""
        return self.projected.shape[1]

    def transform(self, texts: Sequence[str | None]) -> np.ndarray:
        """Return (n, k) float32."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        vectorizer = TfidfVectorizer(
            ngram_range=(1, self.ngrams), sublinear_tf=True, dtype=np.float32, vocabulary=self.words
        )
        vectorizer.idf_ = self.idf
        return np.asarray(sp.csr_matrix(vectorizer.transform([text or "" for text in texts])) @ self.projected)

    def state_dict(self) -> dict[str, Any]:
        """Terms, their inverse document frequencies, the projection, the longest n-gram."""
        return {
            "words": list(self.words),
            "idf": torch.from_numpy(self.idf.copy()),
            "projection": torch.from_numpy(self.projected.copy()),
            "ngrams": self.ngrams,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> LatentText:
        """Make the transform of what `state_dict` gave."""
        idf = state["idf"].numpy().astype(np.float64)
        return cls(list(state["words"]), idf, state["projection"].numpy(), int(state["ngrams"]))
