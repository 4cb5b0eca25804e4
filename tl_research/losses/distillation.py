"""Knowledge distillation: what a teacher says, and what it sees."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def distillation(student: Tensor, teacher: Tensor, *, temperature: float = 2.0) -> Tensor:
    """Divergence of softened predictions: T² mean_i KL(softmax(t_i / T) || softmax(s_i / T)).

    The cross-entropy of the papers less the teacher's entropy, which has no gradient: 0 where both agree.

    Args:
        student: (n, classes) logits s, float.
        teacher: (n, classes) logits t, float; taken as constant.
        temperature: T > 0.

    Returns:
        Scalar, in nats, with a gradient to the student.

    Raises:
        ValueError: shapes that differ, or a temperature of 0 or less.

    Reference:
        Li & Hoiem 2016, ECCV, "Learning without Forgetting", eq. 2; the factor T²: Hinton et al. 2015, section 2.
    """
    _require_same("distillation", student, teacher)
    if temperature <= 0:
        raise ValueError(f"distillation: got temperature {temperature}, wants above 0")
    with torch.autocast(student.device.type, enabled=False):
        student, teacher = _wide(student) / temperature, _wide(teacher.detach()) / temperature
        log_p, log_q = F.log_softmax(teacher, dim=1), F.log_softmax(student, dim=1)
        return temperature**2 * (log_p.exp() * (log_p - log_q)).sum(dim=1).mean()


def feature_distillation(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of features: mean_ij (s_ij - t_ij)².

    Args:
        student: (n, ...) float.
        teacher: same shape; taken as constant.

    Returns:
        Scalar with a gradient to the student.

    Raises:
        ValueError: shapes that differ.

    Reference:
        Romero et al. 2015, ICLR (FitNets), eq. 3, with the identity as regressor and a mean for the sum.
    """
    _require_same("feature_distillation", student, teacher)
    with torch.autocast(student.device.type, enabled=False):
        return F.mse_loss(_wide(student), _wide(teacher.detach()))


def _wide(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _require_same(name: str, student: Tensor, teacher: Tensor) -> None:
    if student.shape != teacher.shape or student.ndim < 2:
        raise ValueError(f"{name}: got {tuple(student.shape)} and {tuple(teacher.shape)}, wants one shape (n, ...)")
