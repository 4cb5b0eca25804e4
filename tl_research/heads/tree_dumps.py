"""Trees of LightGBM and XGBoost, from their JSON dumps."""

from __future__ import annotations

from typing import Any

import numpy as np

from tl_research.heads.tree_tensors import TreeNodes, TreeTensors, pack

#: LightGBM reads numbers up to this size as 0 (its kZeroThreshold, a float32).
ZERO = float(np.float32(1e-35))


def from_lightgbm(dump: dict[str, Any]) -> TreeTensors:
    """Take the trees of `Booster.dump_model()`; their sum is the raw score, with no baseline.

    A split of missing type `None` reads nan as 0; one of type `NaN` has a side for it.

    Raises:
        ValueError: a split on categories, or with zeros taken for missing.
    """
    return pack([_lightgbm_tree(tree["tree_structure"]) for tree in dump["tree_info"]])


def from_xgboost(model: dict[str, Any]) -> tuple[TreeTensors, np.ndarray]:
    """Take the trees of `Booster.save_raw("json")`, one output per tree, and the baseline of the raw scores.

    XGBoost compares in float32 and strictly, x < t. `_below` turns that into our float64 x <= threshold.

    Returns:
        The trees, and (scores,) float64.

    Raises:
        ValueError: a split on categories.
    """
    learner = model["learner"]
    text = learner["learner_model_param"]["base_score"].strip("[]")  # one number before version 3.1
    baseline = np.array([float(part) for part in text.split(",")])
    if learner["objective"]["name"] == "binary:logistic":
        baseline = np.log(baseline / (1 - baseline))
    scores = max(1, int(learner["learner_model_param"]["num_class"]))
    trees = []
    for tree in learner["gradient_booster"]["model"]["trees"]:
        if any(tree.get("split_type", ())):
            raise ValueError("trees that split on categories cannot be taken over")
        left = np.array(tree["left_children"])
        condition = np.array(tree["split_conditions"], dtype=np.float32)
        trees.append(
            TreeNodes(
                feature=np.array(tree["split_indices"]),
                threshold=_below(condition),
                missing_left=np.array(tree["default_left"], dtype=bool),
                left=left,
                right=np.array(tree["right_children"]),
                value=condition.astype(np.float64),  # a leaf has its value there
                is_leaf=left < 0,
            )
        )
    return pack(trees), np.broadcast_to(baseline, scores).astype(np.float64)


def _below(threshold: np.ndarray) -> np.ndarray:
    """Return the largest float64 that rounds to a float32 below `threshold` (float32)."""
    previous = np.nextafter(threshold, np.float32(-np.inf))
    middle = (previous.astype(np.float64) + threshold.astype(np.float64)) / 2  # exact
    rounds_down = middle.astype(np.float32) < threshold  # a tie goes to the even one of the two
    return np.where(rounds_down, middle, np.nextafter(middle, -np.inf))


def _lightgbm_tree(root: dict[str, Any]) -> TreeNodes:
    nodes = [root]
    rows = []
    for node in nodes:  # grows while it is walked
        if "leaf_value" in node:
            rows.append((0, 0.0, False, 0, 0, node["leaf_value"], True))
            continue
        if node["decision_type"] != "<=" or node["missing_type"] not in ("None", "NaN"):
            raise ValueError("trees that split on categories or take zeros for missing cannot be taken over")
        threshold = node["threshold"]
        missing_left = node["default_left"] if node["missing_type"] == "NaN" else threshold >= 0
        if abs(threshold) <= ZERO:
            threshold = ZERO if threshold >= 0 else np.nextafter(-ZERO, -np.inf)
        place = len(nodes)
        nodes += [node["left_child"], node["right_child"]]
        rows.append((node["split_feature"], threshold, missing_left, place, place + 1, 0.0, False))
    return TreeNodes(*(np.array(column) for column in zip(*rows, strict=True)))
