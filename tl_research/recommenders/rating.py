"""`RatingModel`: predicts how high a user rates an item of the target; and the means to hold such models against."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from tl_research.interactions.log import Log
from tl_research.interactions.training import Training


class RatingModel(ABC):
    """A method that is fitted once to ratings and then predicts those of pairs of the target.

    Predictions lie within the range of the target's training ratings. Nothing is refused: of a user or an item without
    a rating the method says what it says of anybody.
    """

    def fit(self, training: Training, *, seed: int = 0) -> RatingModel:
        """Learn, and return itself.

        Args:
            training: logs with ratings.
            seed: of what is drawn at random.

        Raises:
            ValueError: a log has no ratings, or one that is not finite; the target has no row.
        """
        if not len(training.target):
            raise ValueError(f"{training.target.name}: no rating to learn from")
        for log in (training.target, *training.sources):
            refuse_unrated(log)
        rating = training.target.rating.astype(np.float64)
        self.least, self.most, self.mean = rating.min(), rating.max(), rating.mean()
        self.learn(training, seed)
        return self

    @abstractmethod
    def learn(self, training: Training, seed: int) -> None:
        """Learn from the ratings; `mean`, of the target's training ratings, is known."""

    @abstractmethod
    def raw(self, user: np.ndarray, item: np.ndarray) -> np.ndarray:
        """Return (n,) float64 predictions of pairs of codes, wherever they lie."""

    def predict(self, user: np.ndarray, item: np.ndarray) -> np.ndarray:
        """Return (n,) float64 predictions of pairs of codes (n,), within the range of the training ratings."""
        return np.clip(self.raw(user, item), self.least, self.most)


def refuse_unrated(log: Log) -> None:
    """Check that every row has a rating.

    Raises:
        ValueError: there is no column of ratings, or the first row whose rating is not finite.
    """
    if log.rating is None:
        raise ValueError(f"{log.name}: has no ratings")
    if not np.isfinite(log.rating).all():
        row = int((~np.isfinite(log.rating)).argmax())
        raise ValueError(f"{log.name}, row {row}: rating {log.rating[row]}, wants a finite number")


def centred(training: Training, use_sources: bool) -> list[tuple[Log, np.ndarray]]:
    """Return the logs that count, each with its ratings less their mean: shops that rate higher are no better."""
    logs = (training.target, *(training.sources if use_sources else ()))
    return [(log, log.rating.astype(np.float64) - log.rating.mean(dtype=np.float64)) for log in logs if len(log)]


class GlobalMean(RatingModel):
    """The mean of all training ratings of the target."""

    def learn(self, training: Training, seed: int) -> None:
        pass

    def raw(self, user: np.ndarray, item: np.ndarray) -> np.ndarray:
        return np.full(len(user), self.mean)


class UserMean(RatingModel):
    """μ + the mean of a user's r - μ_d over the ratings in all domains d that count; without a rating μ.

    On the target alone it is the mean of the user's ratings.

    Args:
        use_sources: whether ratings of the other domains count.
    """

    def __init__(self, use_sources: bool = False):
        self.use_sources = use_sources

    def learn(self, training: Training, seed: int) -> None:
        parts = centred(training, self.use_sources)
        self.offset = _means([(log.user, value) for log, value in parts], training.target.users)

    def raw(self, user: np.ndarray, item: np.ndarray) -> np.ndarray:
        return self.mean + self.offset[user]


class ItemMean(RatingModel):
    """The mean of an item's training ratings in the target; without one the mean of all."""

    def learn(self, training: Training, seed: int) -> None:
        parts = centred(training, False)
        self.offset = _means([(log.item, value) for log, value in parts], training.target.items)

    def raw(self, user: np.ndarray, item: np.ndarray) -> np.ndarray:
        return self.mean + self.offset[item]


def _means(parts: list[tuple[np.ndarray, np.ndarray]], size: int) -> np.ndarray:
    """Return (size,) means per code, 0 for a code without a value."""
    total = sum(np.bincount(code, weights=value, minlength=size) for code, value in parts)
    count = sum(np.bincount(code, minlength=size) for code, _ in parts)
    return np.divide(total, count, out=np.zeros(size), where=count > 0)
