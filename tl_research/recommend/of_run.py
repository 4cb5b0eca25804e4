"""The recommender of a finished run (`tl-research fit`), ready to give lists."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch

from tl_research.errors import DataError
from tl_research.interactions.training import Training
from tl_research.methods.recommending import Recommending
from tl_research.recommend.model import RecommenderModel
from tl_research.recommenders.base import Recommender
from tl_research.runs.predictor import Predictor


class OfModule(Recommender):
    """Scores of a trained method."""

    def __init__(self, module: Recommending):
        super().__init__()
        self.module, self.catalogue = module, module.purchases.catalogue.numpy()

    def learn(self, training: Training, seed: int) -> None:
        """It has learnt already."""
        raise NotImplementedError("the method of a run has learnt already")

    @torch.inference_mode()
    def score(self, users: np.ndarray) -> np.ndarray:
        return self.module.score_catalogue(torch.from_numpy(users)).float().numpy()


def of_run(folder: str | Path) -> RecommenderModel:
    """Return the recommender of a run's folder.

    A user is known who has an interaction in training, in any domain.

    Raises:
        DataError: the folder holds no model, or one that gives no lists.
    """
    predictor = Predictor.load(folder)
    if not isinstance(predictor.module, Recommending):
        raise DataError(f"{predictor.path}: is no recommender: give it rows to predict, --data FILE")
    kept, known = predictor.module.purchases, predictor.transform.interactions
    ones = np.ones(len(kept.seen_item), np.float32)
    seen = sp.csr_matrix((ones, kept.seen_item.numpy(), kept.seen_start.numpy()), shape=(known.users, known.items))
    buyers = np.bincount(kept.seen_item.numpy(), minlength=known.items)[kept.catalogue.numpy()]
    popular = kept.catalogue.numpy()[np.argsort(-buyers, kind="stable")]
    users = predictor.transform.names("user", np.arange(known.users))
    users[np.setdiff1d(np.arange(known.users), np.unique(kept.bought.numpy() // known.items))] = ""
    items = predictor.transform.names("item", np.arange(known.items))
    return RecommenderModel(OfModule(predictor.module), users, items, seen, popular, str(predictor.path))
