"""Relational knowledge distillation: distances and angles between rows, as the teacher sees them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tl_research.nn.rounding import unit_rows


def relational_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Huber loss of pairwise distances, each side's in units of its mean distance.

    mean_{i != j} h(|s_i - s_j| / mu_s - |t_i - t_j| / mu_t), with mu the mean distance of two different rows and h
    the Huber loss of delta 1. In float32 or wider.

    Args:
        student: (n, d) float, n >= 2.
        teacher: (n, e) float; taken as constant.

    Returns:
        Scalar with a gradient to the student; 0 where the sides differ by a motion and a scale.

    Raises:
        ValueError: shapes that do not fit, or fewer than 2 rows.

    Reference:
        Park et al. 2019, CVPR, eq. 5 to 7.
    """
    _require_rows("relational_distance", student, teacher, at_least=2)
    with torch.autocast(student.device.type, enabled=False):
        return F.smooth_l1_loss(_relative_distances(student), _relative_distances(teacher.detach()))


def relational_angle(student: Tensor, teacher: Tensor) -> Tensor:
    """Huber loss of the cosines of the angles of all triplets of different rows.

    mean over i, j, k all different of h(cos s_i s_j s_k - cos t_i t_j t_k), the angle being that at row j. In float32
    or wider. Memory and time are O(n³) and O(n³ d).

    Args:
        student: (n, d) float, n >= 3.
        teacher: (n, e) float; taken as constant.

    Returns:
        Scalar with a gradient to the student; 0 where the sides differ by a motion and a scale.

    Raises:
        ValueError: shapes that do not fit, or fewer than 3 rows.

    Reference:
        Park et al. 2019, CVPR, eq. 8 to 10.
    """
    _require_rows("relational_angle", student, teacher, at_least=3)
    n = student.shape[0]
    same = torch.eye(n, dtype=torch.bool, device=student.device)
    different = ~(same[:, :, None] | same[:, None, :] | same[None, :, :])
    with torch.autocast(student.device.type, enabled=False):
        return F.smooth_l1_loss(_cosines(student)[different], _cosines(teacher.detach())[different])


def _relative_distances(rows: Tensor) -> Tensor:
    # pdist has the gradient 0 where two rows are equal, where sqrt has none.
    distances = F.pdist(_wide(rows))
    mean = distances.mean()
    return distances / mean.where(mean > 0, 1.0)


def _cosines(rows: Tensor) -> Tensor:
    """[j, i, k]: cosine of the angle at row j between rows i and k; 0 where two of them are equal."""
    rows = _wide(rows)
    directions = unit_rows(rows[None, :, :] - rows[:, None, :], dim=2)
    return directions @ directions.transpose(1, 2)


def _wide(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _require_rows(name: str, student: Tensor, teacher: Tensor, *, at_least: int) -> None:
    if student.ndim != 2 or teacher.ndim != 2 or len(student) != len(teacher) or len(student) < at_least:
        got = f"{tuple(student.shape)} and {tuple(teacher.shape)}"
        raise ValueError(f"{name}: got {got}, wants (n, d) and (n, e) with n >= {at_least}")
