"""DeepJDOT: optimal transport of features and labels together."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tl_research.alignment.transport.exact import exact_plan
from tl_research.config import MethodConfig, at_least
from tl_research.losses.joint_cost import joint_cost
from tl_research.methods.base import AdaptationModule, Step
from tl_research.registry import register_method


@dataclass
class DeepJDOTConfig(MethodConfig):
    """Options of `deepjdot`: the weights of the two parts of the cost."""

    name: str = "deepjdot"
    feature_weight: float = at_least(0, default=1.0)  # alpha, per squared unit of the features
    label_weight: float = at_least(0, default=1.0)  # lambda_t, per nat


@register_method(
    "deepjdot",
    config=DeepJDOTConfig,
    family="feature",
    settings=("unsupervised", "few_shot"),
    targets=("class",),
    paper="Damodaran et al. 2018, ECCV, eq. 5 to 8",
    no_null="the cost of a plan between two samples of one distribution is above 0",
    gain=0.02,
)
class DeepJDOT(AdaptationModule):
    """Transport labels along with features: CE(source) + min_P <P, C>, c_ij = α ||f_i - g_j||² + λ CE(y_i, p_j).

    P is the exact plan of the batch, between equally weighted rows, held constant for the gradient. The plain sum of
    both parts is the default; it is not the paper's, which weighs them by data set.

    Solving for the plan takes a step to three times that of `source_only` (docs/step_cost.md).
    """

    config: DeepJDOTConfig

    def terms(self, step: Step) -> dict[str, Tensor]:
        source, target = step.source, step.target
        cost = joint_cost(
            source.features, source.label, target.features, target.logits,
            feature_weight=self.config.feature_weight, label_weight=self.config.label_weight,
        )  # fmt: skip
        n, m = cost.shape
        fixed = cost.detach().double()
        plan = exact_plan(fixed, fixed.new_full((n,), 1 / n), fixed.new_full((m,), 1 / m))
        return {"transport": (plan.to(cost.dtype) * cost).sum()}
