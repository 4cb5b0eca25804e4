"""Which classes a head can learn: those whose rows weigh something."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from tl_research.errors import DataError

#: A class whose share of all weight is no more than rounding weighs nothing.
ROUNDING = torch.finfo(torch.float64).eps


class Support(NamedTuple):
    """What is to be learnt from rows with labels and weights.

    Fields:
        present: (c,) int64 classes that weigh something, ascending; at least one.
        kept: (n,) bool, rows of these classes; None where that is every row.
        label: (k,) int64, place in `present` of each kept row's class.
        weight: (k,) weights of the kept rows, or None for equal ones.
    """

    present: Tensor
    kept: Tensor | None
    label: Tensor
    weight: Tensor | None

    def of(self, rows: Tensor) -> Tensor:
        """The kept rows (k, ...) of (n, ...)."""
        return rows if self.kept is None else rows[self.kept]


def support(label: Tensor, weight: Tensor | None, classes: int) -> Support:
    """Return the classes that weigh something and their rows.

    A class is present where its rows have a share of all weight above rounding. A class whose rows all weigh nothing is
    as absent as one without a row: a head leaves its rows out and never predicts it. A row of weight 0 of a class that
    is present stays.

    Args:
        label: (n,) int64, 0 .. classes - 1.
        weight: (n,) relative weights >= 0, or None for equal ones.
        classes: number of classes.

    Raises:
        DataError (a ValueError): no row, a label out of range, or weights that `check_weight` refuses.
    """
    if len(label) == 0:
        raise DataError("a head is fitted to rows with labels, got none")
    if int(label.min()) < 0 or int(label.max()) >= classes:
        raise DataError(f"labels are {int(label.min())} to {int(label.max())}, wants 0 to {classes - 1}")
    check_weight(weight, len(label))
    present, place = label.unique(return_inverse=True)
    if weight is None:
        return Support(present, None, place, None)
    mass = torch.zeros(len(present), dtype=torch.float64, device=label.device)
    mass.index_add_(0, place, weight.to(mass))
    heard = mass > ROUNDING * mass.sum()
    if bool(heard.all()):
        return Support(present, None, place, weight)
    kept = heard[place]
    return Support(present[heard], kept, (heard.cumsum(0) - 1)[place[kept]], weight[kept])


def check_weight(weight: Tensor | None, rows: int) -> None:
    """Refuse weights that no fit can use.

    Raises:
        DataError (a ValueError): another shape than (rows,), a weight that is negative or not finite (the first is
            named), or every weight 0.
    """
    if weight is None:
        return
    if weight.shape != (rows,):
        raise DataError(f"weights have the shape {tuple(weight.shape)}, wants ({rows},)")
    wrong = ~(weight.isfinite() & (weight >= 0))
    if bool(wrong.any()):
        row = int(wrong.nonzero()[0])
        raise DataError(f"the weight of row {row} is {weight[row].item():g}, wants a finite number of 0 or more")
    if not bool((weight > 0).any()):
        raise DataError(f"every one of the {rows} rows has the weight 0, so that there is nothing to fit")


def refuse_unknown(method: str, target_label: Tensor, label: Tensor, present: Tensor) -> None:
    """Refuse target labels (k,) of a class that is not among those `present` in the source's labels (n,).

    Raises:
        DataError: the first such class is named.
    """
    missing = target_label[~torch.isin(target_label, present)]
    if len(missing):
        weighs = " that weighs anything (method.weighting)" if bool((label == missing[0]).any()) else ""
        raise DataError(f"{method}: class {int(missing[0])} has target labels but no source row{weighs}")
