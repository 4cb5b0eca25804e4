"""The two matrix products of a panel by the library: rows with columns, and P with columns.

float32 rows may go as two bfloat16 numbers each, z = hi + lo with |lo| <= 2^-8 |hi|: of the four products of such pairs
three count, and tensor cores sum them in float32. Joined along the inner dimension they are one product,
[hi hi lo] · [hi lo hi]ᵀ, and P z = P_hi · [z_hi z_lo] + P_lo · z_hi. What is left out is below 2^-16 of a factor.
"""

from __future__ import annotations

import os

import torch
from torch import Tensor

#: Rows in all from which float32 goes in three bfloat16 products; few rows are bound by the host.
SPLIT_ROWS = 2048
#: `ieee`: float32 products of float32 rows whatever their number. Else `split`.
SWITCH = "TL_RESEARCH_FLOAT32_PRODUCTS"


def splits_float32(rows: Tensor, columns: Tensor) -> bool:
    """Whether products of these rows are made of three bfloat16 ones."""
    many = max(len(rows), len(columns)) > SPLIT_ROWS
    return (
        many and rows.device.type != "cpu" and rows.dtype == torch.float32 and os.environ.get(SWITCH, "split") != "ieee"
    )


class Products:
    """Products of one layer as they are, with float32 sums and results.

    Args:
        rows: (n, d).
        columns: (m, d), of the same type.
        p_dtype: of P.
    """

    def __init__(self, rows: Tensor, columns: Tensor, p_dtype: torch.dtype):
        self.rows, self.columns, self.p_dtype = rows, columns, p_dtype
        self.values = columns if columns.dtype == p_dtype else columns.to(p_dtype)

    def gram(self, rows: slice, columns: slice, out: Tensor) -> None:
        """Write rows · columnsᵀ of a panel."""
        _product(self.rows[rows], self.columns[columns].T, out)

    def panels(self, gram: Tensor, in_place: bool) -> tuple[Tensor, Tensor | None]:
        """Return where P goes, and where what it leaves out goes: float32 in the place of the Gram panel."""
        return gram if in_place and self.p_dtype == torch.float32 else torch.empty_like(gram, dtype=self.p_dtype), None

    def pull(self, grad: Tensor, p: Tensor, low: Tensor | None, columns: slice) -> None:
        """Take P z of a panel from the gradient of its rows."""
        _take_product(grad, p, self.values[columns, : grad.shape[1]])


class SplitProducts:
    """Products of one layer of float32 rows, in three of bfloat16 each."""

    def __init__(self, rows: Tensor, columns: Tensor):
        self.d, self.rows = columns.shape[1], rows
        high, low = split(columns)
        self.right = torch.cat([high, low, high], dim=1)
        self._of, self._left = None, None

    def gram(self, rows: slice, columns: slice, out: Tensor) -> None:
        """Write rows · columnsᵀ of a panel."""
        if self._of != rows:  # kept from one panel of the same rows to the next
            high, low = split(self.rows[rows])
            self._of, self._left = rows, torch.cat([high, high, low], dim=1)
        _product(self._left, self.right[columns].T, out)

    def panels(self, gram: Tensor, in_place: bool) -> tuple[Tensor, Tensor | None]:
        """Return where P's bfloat16 goes, and where that of the rest goes."""
        both = torch.empty((2, *gram.shape), dtype=torch.bfloat16, device=gram.device)
        return both[0], both[1]

    def pull(self, grad: Tensor, p: Tensor, low: Tensor | None, columns: slice) -> None:
        """Take P z of a panel from the gradient of its rows."""
        width, right = grad.shape[1], self.right[columns]
        both = grad.new_empty((grad.shape[0], 2 * self.d))
        _product(p, right[:, : 2 * self.d], both)
        grad.sub_(both[:, :width]).sub_(both[:, self.d : self.d + width])
        _take_product(grad, low, right[:, :width])


def split(z: Tensor) -> tuple[Tensor, Tensor]:
    """float32 as the sum of two bfloat16 numbers."""
    high = z.to(torch.bfloat16)
    return high, (z - high).to(torch.bfloat16)


def _product(a: Tensor, b: Tensor, out: Tensor) -> None:
    if a.dtype == torch.float32:
        torch.mm(a, b, out=out)
    elif a.device.type != "cpu":
        torch.mm(a, b, out_dtype=torch.float32, out=out)
    else:
        torch.mm(a.float(), b.float(), out=out)


def _take_product(grad: Tensor, p: Tensor, z: Tensor) -> None:
    if p.dtype == torch.float32:
        grad.addmm_(p, z, alpha=-1)
    elif p.device.type != "cpu":
        grad.sub_(torch.mm(p, z, out_dtype=torch.float32))
    else:
        grad.addmm_(p.float(), z.float(), alpha=-1)
