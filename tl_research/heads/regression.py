"""Heads for regression: one number per row, on the standardised scale of the labels."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import Ridge
from torch import Tensor

from tl_research.heads.base import Head, PenaltyConfig, register_head
from tl_research.heads.boosting import Boosting, BoostingConfig, PooledBins, TransferBoosting, trees_of
from tl_research.heads.nearest import NearestNeighbours, NeighboursConfig
from tl_research.heads.support import check_weight


@register_head("ridge", config=PenaltyConfig, targets=("regression",))
class RidgeRegression(Head):
    """Least squares: Σ_i w_i (y_i - w·x_i - b)² + penalty · ||w||², b not penalised; output (n, 1)."""

    def fit(self, features: Tensor, label: Tensor, weight: Tensor | None, *, classes: int, seed: int) -> None:
        check_weight(weight, len(label))
        x, y = (part.detach().cpu().double().numpy() for part in (features, label))
        weight = None if weight is None else weight.cpu().double().numpy()
        fitted = Ridge(alpha=self.config.penalty).fit(x, y, sample_weight=weight)
        coefficient, intercept = torch.from_numpy(fitted.coef_[None]), torch.tensor([fitted.intercept_])
        self.keep(coefficient=coefficient.to(features), intercept=intercept.to(features))

    def forward(self, features: Tensor) -> Tensor:
        return torch.addmm(self.intercept, features, self.coefficient.T)


@register_head("nearest_neighbours", config=NeighboursConfig, targets=("regression",))
class NearestNeighbourRegression(NearestNeighbours):
    """Mean label of the k nearest training rows by Euclidean distance; output (n, 1)."""

    def fit(self, features: Tensor, label: Tensor, weight: Tensor | None, *, classes: int, seed: int) -> None:
        self.check_weight(weight)
        self.keep_rows(features, label.to(features.dtype)[:, None])

    def forward(self, features: Tensor) -> Tensor:
        return self.mean_of_nearest(features)


@register_head("boosting", config=BoostingConfig, targets=("regression",))
class BoostingRegression(Boosting):
    """Histogram gradient boosting of the squared error; output (n, 1) = baseline + sum of the trees' leaf values."""

    estimator_class = HistGradientBoostingRegressor

    def fit(self, features: Tensor, label: Tensor, weight: Tensor | None, *, classes: int, seed: int) -> None:
        check_weight(weight, len(label))
        x, y = features.detach().cpu().double().numpy(), label.cpu().double().numpy()
        weight = None if weight is None else weight.detach().cpu().double().numpy()
        self.take(*trees_of(self.estimator(seed).fit(x, y, sample_weight=weight)), np.zeros(1), 1, features.device)

    def forward(self, features: Tensor) -> Tensor:
        return self.raw(features).to(features.dtype)


class PooledBinsRegressor(PooledBins, HistGradientBoostingRegressor):
    """`HistGradientBoostingRegressor` with `PooledBins`."""


class TransferBoostingRegression(TransferBoosting):
    """As `TransferBoosting`, of the squared error; output (n, 1)."""

    estimator_class = PooledBinsRegressor

    def forward(self, features: Tensor) -> Tensor:
        return self.raw(features).to(features.dtype)
