"""Several fitted heads that are heard by voice, and a head as a scikit-learn classifier or regressor."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from torch import Tensor, nn

from tl_research.errors import DataError
from tl_research.heads.base import SMALLEST, Head


class HeadEstimator(ClassifierMixin, BaseEstimator):
    """A head behind scikit-learn's interface, for algorithms over any estimator; it predicts with the head's tensors.

    Args:
        make: returns an unfitted head.
        classes: number of classes; labels are 0 .. classes - 1.
        seed: of the fit.
        device: of rows and tensors.
    """

    def __init__(self, make: Callable[[], Head], classes: int, seed: int, device: torch.device):
        self.make, self.classes, self.seed, self.device = make, classes, seed, device

    def fit(self, x: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None = None) -> HeadEstimator:
        """Fit a new head to rows x (n, d) of classes y (n,), with weights (n,) or none."""
        label = torch.as_tensor(y, device=self.device)
        weight = None if sample_weight is None else torch.as_tensor(sample_weight, device=self.device)
        self.head_ = self.make()
        self.head_.fit(self._rows(x), label, weight, classes=self.classes, seed=self.seed)
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return the class (n,) of the largest logit."""
        with torch.no_grad():
            return self.head_(self._rows(x)).argmax(dim=1).cpu().numpy()

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        """Softmax of the head's logits (n, classes), float64."""
        with torch.no_grad():
            return self.head_(self._rows(x)).double().softmax(dim=1).cpu().numpy()

    def _rows(self, x: np.ndarray) -> Tensor:
        return torch.as_tensor(x, device=self.device)


class HeadRegressor(RegressorMixin, HeadEstimator):
    """A head of one output (n, 1) behind scikit-learn's interface; arguments as of `HeadEstimator`."""

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return the head's number (n,) for each row."""
        with torch.no_grad():
            return self.head_(self._rows(x))[:, 0].cpu().numpy()


class SeveralHeads(Head):
    """Fitted heads of one kind; a checkpoint says how many there are.

    Args:
        make: returns an unfitted head, into which one of a checkpoint is loaded.
    """

    def __init__(self, make: Callable[[], Head]):
        super().__init__()
        self.make, self.heads = make, nn.ModuleList()

    def _load_from_state_dict(self, state_dict, prefix, *args, **kwargs):
        place = re.compile(rf"{re.escape(prefix)}heads\.(\d+)\.")
        count = len({found[1] for found in map(place.match, state_dict) if found})
        # Before the children are loaded, which follows.
        self.heads = nn.ModuleList([self.make() for _ in range(count)])
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


class WeightedMedian(SeveralHeads):
    """The weighted median (n, 1) of what fitted heads of one output say.

    The least of the predictions, in ascending order, at which the voices add to half of all or more.
    """

    def take(self, heads: Sequence[Head], voice: Tensor) -> None:
        """Keep fitted heads and their voices (heads,) >= 0, of positive sum."""
        self.heads = nn.ModuleList(heads)
        self.keep(voice=voice)

    def forward(self, features: Tensor) -> Tensor:
        said, order = torch.cat([head(features) for head in self.heads], dim=1).sort(dim=1)
        heard = self.voice[order].cumsum(dim=1)
        middle = (heard >= 0.5 * heard[:, -1:]).to(torch.uint8).argmax(dim=1, keepdim=True)
        return said.gather(1, middle)


class MeanProbability(SeveralHeads):
    """Logits are the logs of the mean of fitted heads' probabilities, each by its own voice.

    log Σ_t share_t softmax(h_t(x)), share_t the voice over the sum of all.
    """

    def take(self, heads: Sequence[Head], voice: Tensor, present: Tensor, classes: int) -> None:
        """Keep fitted heads.

        Args:
            heads: of which each tells the classes `present` apart, in their order.
            voice: (heads,) >= 0, of positive sum.
            present: (c,) int64 classes.
            classes: number of all classes; one that is not present has the probability `SMALLEST`.
        """
        self.heads = nn.ModuleList(heads)
        classes = torch.tensor(classes, device=voice.device)
        self.keep(share=voice / voice.sum(), present=present, classes=classes)

    def _load_from_state_dict(self, state_dict, prefix, *args, **kwargs):
        if f"{prefix}voice" in state_dict:
            raise DataError("the model is of a version of tradaboost that counted hard votes; fit it anew")
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def forward(self, features: Tensor) -> Tensor:
        mean = self.share.new_zeros(len(features), int(self.classes))
        for head, share in zip(self.heads, self.share):
            mean[:, self.present] += share * head(features).to(self.share.dtype).softmax(dim=1)
        return mean.clamp_min(SMALLEST).log().to(features.dtype)
