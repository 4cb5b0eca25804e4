"""Two-stage boosting by LightGBM and XGBoost: trees of the source, then more of them on the target's labels."""

from __future__ import annotations

import json
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from tl_research.errors import ConfigError
from tl_research.heads.tree_dumps import from_lightgbm, from_xgboost
from tl_research.heads.tree_tensors import TreeTensors

if TYPE_CHECKING:
    from tl_research.heads.boosting import TransferBoosting


class Stages(NamedTuple):
    """Pooled rows and what they weigh in each stage.

    Fields:
        x: (n, d) float64; nan where missing.
        y: (n,) class places 0 .. classes - 1, or numbers.
        first, second: (n,) weights >= 0.
        classes: that have rows, 2 or more; 1 for numbers.
    """

    x: np.ndarray
    y: np.ndarray
    first: np.ndarray
    second: np.ndarray
    classes: int


def boost_lightgbm(rows: Stages, head: TransferBoosting, seed: int) -> tuple[TreeTensors, np.ndarray]:
    """Return the trees of both stages (`init_model`) and the baseline, which LightGBM keeps in its first trees.

    Both stages see the pooled rows, so that `min_rows` counts what it does with scikit-learn.
    """
    library, config = _library("lightgbm"), head.config
    objectives = {1: "regression", 2: "binary"}
    options: dict[str, Any] = {
        "objective": objectives.get(rows.classes, "multiclass"),
        "num_leaves": config.leaves,
        "min_data_in_leaf": config.min_rows,
        "lambda_l2": config.penalty,
        "seed": seed,
        "num_threads": torch.get_num_threads(),
        "deterministic": True,  # whatever the number of threads
        "force_row_wise": True,
        "verbosity": -1,
    }
    if rows.classes > 2:
        options["num_class"] = rows.classes

    def boosted(weight: np.ndarray, iterations: int, lr: float, begun=None):
        data = library.Dataset(rows.x, rows.y, weight=weight)
        return library.train(options | {"learning_rate": lr}, data, iterations, init_model=begun)

    model = boosted(rows.first, config.iterations, config.lr)
    if config.target_iterations and rows.second.any():
        model = boosted(rows.second, config.target_iterations, config.target_lr, model)
    return from_lightgbm(model.dump_model()), np.zeros(1 if rows.classes <= 2 else rows.classes)


def boost_xgboost(rows: Stages, head: TransferBoosting, seed: int) -> tuple[TreeTensors, np.ndarray]:
    """Return the trees of both stages (`xgb_model`) and the baseline of the raw scores.

    Each stage sees the rows that weigh something in it: `min_hessian` counts no others.
    """
    library, config = _library("xgboost"), head.config
    if np.isinf(rows.x.astype(np.float32)).any():
        raise ConfigError("library=xgboost: a feature is infinite in float32, which it does not take")
    objectives = {1: "reg:squarederror", 2: "binary:logistic"}
    options: dict[str, Any] = {
        "objective": objectives.get(rows.classes, "multi:softprob"),
        "tree_method": "hist",
        "grow_policy": "lossguide",
        "max_leaves": config.leaves,
        "max_depth": 0,
        "min_child_weight": config.min_hessian,
        "lambda": config.penalty,
        "seed": seed,
        "nthread": torch.get_num_threads(),
        "verbosity": 0,
    }
    if rows.classes > 2:
        options["num_class"] = rows.classes

    def boosted(weight: np.ndarray, iterations: int, lr: float, begun=None):
        used = weight > 0
        data = library.DMatrix(rows.x[used], rows.y[used], weight=weight[used])
        return library.train(options | {"eta": lr}, data, iterations, xgb_model=begun)

    model = boosted(rows.first, config.iterations, config.lr)
    if config.target_iterations and rows.second.any():
        model = boosted(rows.second, config.target_iterations, config.target_lr, model)
    return from_xgboost(json.loads(bytes(model.save_raw("json"))))


def _library(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError:
        raise ConfigError(f"library={name}: pip install 'tl_research[trees]'") from None


#: Beside scikit-learn.
LIBRARIES = {"lightgbm": boost_lightgbm, "xgboost": boost_xgboost}
