"""Unsupervised validators: selection rules that score a model without a target label. Higher is better in all.

Those that are `offline` are scored where `selection.rule` names one, or later, from outputs that a run has saved
(`selection.save_outputs`): all of them in every epoch would cost more than small networks' training.
"""

from tl_research.evaluation.validators.features import (
    class_cluster_agreement,
    nearest_source_accuracy,
    negative_mmd,
    reverse_validation,
)
from tl_research.evaluation.validators.mixed import mixtures, mixval, partners
from tl_research.evaluation.validators.outputs import (
    class_correlation,
    information_maximization,
    negative_entropy,
    nuclear_norm,
    soft_neighborhood_density,
)
from tl_research.evaluation.validators.risks import (
    control_variate_risk,
    deep_embedded_validation,
    density_ratio,
    importance_weighted_risk,
    importance_weighted_validation,
)

__all__ = [
    "class_cluster_agreement",
    "class_correlation",
    "control_variate_risk",
    "deep_embedded_validation",
    "density_ratio",
    "importance_weighted_risk",
    "importance_weighted_validation",
    "information_maximization",
    "mixtures",
    "mixval",
    "nearest_source_accuracy",
    "negative_entropy",
    "negative_mmd",
    "nuclear_norm",
    "partners",
    "reverse_validation",
    "soft_neighborhood_density",
]
