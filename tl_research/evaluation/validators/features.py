"""Validators that read features of both domains."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from tl_research.evaluation.rules import register_rule
from tl_research.evaluation.validators.rows import finite_matrix, some_rows

if TYPE_CHECKING:
    from torch import Tensor

# torch and scikit-learn are imported where they are used: whoever reads a record asks for the names of rules alone.


@register_rule("mmd", reads=("source/features", "target/features"), offline=True)
def negative_mmd(source_features: Tensor, target_features: Tensor, *, max_rows: int = 1000, seed: int = 0) -> float:
    """Negative squared MMD (unbiased) of source and target features under five Gaussian kernels.

    Features are divided by the root of their mean squared distance first, so that a network that merely shrinks its
    features scores no higher. Bandwidths are 1/4, 1/2, 1, 2 and 4.

    Args:
        source_features: (n, d) float.
        target_features: (m, d) float.
        max_rows: at most this many rows of each side are drawn.
        seed: of that draw.

    Raises:
        ValueError: no rows, widths that differ, or a feature that is not finite.

    Reference:
        Long et al. 2015, ICML (the distance); as a validator in Musgrave et al. 2022, arXiv:2208.07360.
    """
    import torch

    from tl_research.kernels.mmd import mmd2

    rng = np.random.default_rng(seed)
    source = some_rows(finite_matrix("source_features", source_features), max_rows, rng)
    target = some_rows(finite_matrix("target_features", target_features), max_rows, rng)
    _same_width(source, target)
    both = np.concatenate([source, target])
    # Mean squared distance of two rows: twice the sum of the variances.
    scale = np.sqrt(2 * both.var(axis=0).sum()) or 1.0
    x, y = (torch.from_numpy((rows - both.mean(axis=0)) / scale) for rows in (source, target))
    return -float(mmd2(x, y, bandwidths=(0.25, 0.5, 1.0, 2.0, 4.0)))


@register_rule("class_cluster", reads=("target/features", "target/outputs"), of=("class",), offline=True)
def class_cluster_agreement(
    target_features: Tensor, target_logits: Tensor, *, max_rows: int = 1000, seed: int = 0
) -> float:
    """Adjusted mutual information of the predicted classes and k-means clusters of the features; 1 where they agree.

    Features are scaled to unit length, k is the number of classes, k-means begins five times.

    Args:
        target_features: (n, d) float.
        target_logits: (n, classes) float.
        max_rows: at most this many rows are drawn.
        seed: of that draw and of k-means.

    Raises:
        ValueError: no rows, unequal numbers of rows, or a value that is not finite.

    Reference:
        Musgrave et al. 2022, arXiv:2208.07360 (validator "ClassAMI").
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import adjusted_mutual_info_score

    features, logits = finite_matrix("target_features", target_features), finite_matrix("target_logits", target_logits)
    _same_rows(features, logits)
    place = some_rows(np.arange(len(features)), max_rows, np.random.default_rng(seed))
    features, predicted = _unit(features[place]), logits[place].argmax(axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct rows than clusters
        clusters = KMeans(min(logits.shape[1], len(features)), n_init=5, random_state=seed).fit_predict(features)
    return float(adjusted_mutual_info_score(predicted, clusters))


@register_rule(
    "nearest_source",
    reads=("source_val/features", "source_val/outputs", "source_val/labels", "target/features"),
    of=("class",),
    offline=True,
)
def nearest_source_accuracy(
    source_features: Tensor, source_logits: Tensor, source_label: Tensor, target_features: Tensor
) -> float:
    """Accuracy on the source validation rows that are nearest to target rows: mean over target rows, by cosine.

    Args:
        source_features: (n, d) float, of source rows held out from training.
        source_logits: (n, classes) float.
        source_label: (n,) class numbers.
        target_features: (m, d) float.

    Raises:
        ValueError: no rows, shapes that do not fit, or a value that is not finite.

    Reference:
        The validator "NearestSource" of the library pytorch-adapt, which compares outputs instead of features.
    """
    source, target = (
        finite_matrix("source_features", source_features),
        finite_matrix("target_features", target_features),
    )
    logits = finite_matrix("source_logits", source_logits)
    _same_width(source, target)
    _same_rows(source, logits)
    is_right = logits.argmax(axis=1) == source_label.cpu().numpy()
    source, target = _unit(source), _unit(target)
    blocks = np.array_split(target, -(-len(target) // 1000))
    nearest = np.concatenate([(rows @ source.T).argmax(axis=1) for rows in blocks])
    return float(is_right[nearest].mean())


@register_rule(
    "reverse",
    reads=("target/features", "target/outputs", "source_val/features", "source_val/labels"),
    of=("class",),
    offline=True,
)
def reverse_validation(
    target_features: Tensor, target_logits: Tensor, source_features: Tensor, source_label: Tensor
) -> float:
    """Balanced accuracy on source rows of a classifier that has learnt the model's predictions of target rows.

    The classifier is a logistic regression (C = 1) on standardised features. Where the model predicts one class alone,
    so does the classifier: the score is 1 / classes.

    Args:
        target_features: (n, d) float.
        target_logits: (n, classes) float.
        source_features: (m, d) float, of source rows held out from training.
        source_label: (m,) class numbers.

    Raises:
        ValueError: no rows, shapes that do not fit, or a value that is not finite.

    Reference:
        Zhong et al. 2010, ECML PKDD, "Cross validation framework to choose amongst models and datasets for transfer
        learning"; Ganin et al. 2016, JMLR 17(59), section 5.1.2. There the whole method is trained backwards; here a
        linear classifier on the features is.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    target, source = (
        finite_matrix("target_features", target_features),
        finite_matrix("source_features", source_features),
    )
    logits, label = finite_matrix("target_logits", target_logits), source_label.cpu().numpy()
    _same_width(source, target)
    _same_rows(target, logits)
    predicted = logits.argmax(axis=1)
    if len(np.unique(predicted)) == 1:
        said = np.full(len(label), predicted[0])
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200)).fit(target, predicted)
        said = model.predict(source)
    return float(np.mean([(said[label == one] == one).mean() for one in np.unique(label)]))


def _unit(rows: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length > 0, length, 1.0)


def _same_width(source: np.ndarray, target: np.ndarray) -> None:
    if source.shape[1] != target.shape[1]:
        raise ValueError(f"features of unequal width: {source.shape[1]} and {target.shape[1]}")


def _same_rows(features: np.ndarray, logits: np.ndarray) -> None:
    if len(features) != len(logits):
        raise ValueError(f"got features of {len(features)} rows and logits of {len(logits)}")
