"""EasyTL: labels of target rows by a linear programme on the distances to the source's class centres."""

from __future__ import annotations

from typing import NamedTuple

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from tl_research.errors import DataError
from tl_research.heads.centre import centre_distances


class Programme(NamedTuple):
    """What intra-domain programming found.

    Fields:
        label: (m,) class index of each target row.
        cost: the programme's optimum, Σ_j D[label_j, j].
        forced: how many rows left their nearest centre so that no class stays empty.
    """

    label: Tensor
    cost: float
    forced: int


def intra_domain_programming(x: Tensor, centres: Tensor) -> Programme:
    """Give each target row one class and each class at least one row, at the least total distance.

    min_M Σ_cj D_cj M_cj  subject to  Σ_c M_cj = 1,  Σ_j M_cj >= 1,  0 <= M_cj <= 1.

    The programme has an integral optimum, and every feasible labelling holds one distinct row for each class. So
    the optimum is each row's nearest centre, but for one row per class that is chosen by the assignment problem of
    least regret D_cj - min_c' D_c'j: exact, without a solver for the programme itself.

    Args:
        x: (m, d) target rows.
        centres: (classes, d) centres of the aligned source's classes; classes without rows (NaN) take no part.

    Raises:
        DataError: fewer target rows than classes.

    Reference:
        Wang et al. 2019, ICME, "Easy Transfer Learning by Exploiting Intra-domain Structures", eq. 3 and 4.
    """
    distance = centre_distances(x, centres)
    present = (~centres.isnan().any(dim=1)).nonzero().flatten()
    if len(x) < len(present):
        raise DataError(f"easy_tl: {len(x)} target row(s) cannot fill {len(present)} classes")
    least, label = distance.min(dim=1)
    regret = (distance[:, present] - least[:, None]).T
    forced = 0
    if len(label.unique()) < len(present):
        chosen_class, chosen_row = linear_sum_assignment(regret.cpu().numpy())
        rows = torch.as_tensor(chosen_row, device=x.device)
        wanted = present[torch.as_tensor(chosen_class, device=x.device)]
        forced = int((label[rows] != wanted).sum())
        label = label.clone()
        label[rows] = wanted
    cost = float(distance.gather(1, label[:, None]).sum())
    return Programme(label, cost, forced)
