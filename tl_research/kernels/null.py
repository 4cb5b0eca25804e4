"""What a discrepancy would be if both sides had one distribution: a permutation test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from tl_research.kernels.arguments import check_rows, checked_kernel
from tl_research.kernels.backends.choice import check_backend, resolve
from tl_research.kernels.bandwidth import Ladder

#: Permutations that share one pass over the kernel: memory is this many columns.
CHUNK = 256


class PermutationTest(NamedTuple):
    """Fields are scalars, float64, on the device of the rows.

    value: the unbiased squared MMD of the two samples.
    p_value: (1 + number of permutations whose value is at least as large) / (1 + permutations).
    z_score: (value - null_mean) / null_std; nan or infinite where all permutations have one value.
    null_mean, null_std: mean and standard deviation (n - 1) of the permutations' values.
    """

    value: Tensor
    p_value: Tensor
    z_score: Tensor
    null_mean: Tensor
    null_std: Tensor


@torch.no_grad()
def permutation_test(
    x: Tensor,
    y: Tensor,
    *,
    bandwidths: Sequence[float] | Tensor | Ladder,
    kernel: str = "gaussian",
    alpha: float = 1.0,
    permutations: int = 200,
    generator: torch.Generator,
    backend: str = "auto",
) -> PermutationTest:
    """Test whether two samples have one distribution, by the unbiased squared MMD under permuted rows.

    With a the indicator (N,) of the rows that a permutation calls x, all sums of the statistic come from K a and K 1:

        within x: a'Ka - n k(0);  within y: (1 - a)'K(1 - a) - m k(0);  across: a'K(1 - a);

    so that one streaming product of K with a column for each permutation evaluates them all, exactly, for n != m too.

    Args:
        x: (n, d) float, n >= 2.
        y: (m, d) float, m >= 2.
        bandwidths: as of `mmd2`; fixed over the permutations, as they should be: those of the pooled rows, say.
        kernel: one of `kernel.FAMILIES`.
        alpha: exponent of the rational quadratic kernel.
        permutations: number of random divisions of the pooled rows, at least 2.
        generator: of the permutations.
        backend: `auto` or a backend's name.

    Returns:
        See `PermutationTest`. Half precision is widened. Memory is O((n + m) · (d + min(permutations, CHUNK))). A
        backend's rounding of k(z_i, z_i) moves the value and all of its null alike, by that rounding over n.

    Raises:
        ValueError: shapes that do not fit, too few rows or permutations, an unknown kernel or backend.

    Reference:
        Gretton et al. 2012, JMLR 13, eq. 3 and section 8 (permutation of the pooled sample); Phipson and Smyth 2010,
        eq. 2 (p-value that is never 0).
    """
    caller = "permutation_test"
    check_rows([x], [y], caller, least=2)
    check_backend(backend, caller)
    family = checked_kernel([bandwidths], kernel, alpha, x.device, caller)
    if permutations < 2:
        raise ValueError(f"{caller}: permutations: got {permutations}, wants at least 2")
    z = torch.cat([x, y])
    z = z.to(torch.promote_types(z.dtype, torch.float32))
    z = z - z.mean(dim=0)
    run = resolve(backend, z.device)
    values = []
    with torch.autocast(z.device.type, enabled=False):
        total = run.gram_product([z], [z], z.new_ones(len(z), 1), family).double()
        columns = 1 + permutations
        for first in range(0, columns, CHUNK):
            is_x = _divisions(z, len(x), range(first, min(first + CHUNK, columns)), generator)
            values.append(_statistic(run.gram_product([z], [z], is_x, family), is_x, total, family.at_zero))
    value, *_ = values = torch.cat(values)
    null = values[1:]
    # A division that equals the given one, sides exchanged say, may differ from it by rounding. Such ties come up in
    # small samples only; 1 / n keeps the allowance far below the null's spread, which is of the order of k(0) / n.
    tie = 64 * torch.finfo(z.dtype).eps * family.at_zero / min(len(x), len(y))
    p_value = (1 + (null >= value - tie).sum()).double() / (1 + permutations)
    return PermutationTest(value, p_value, (value - null.mean()) / null.std(), null.mean(), null.std())


def _divisions(z: Tensor, n: int, columns: range, generator: torch.Generator) -> Tensor:
    """Return (N, columns) indicators of the rows called x; column 0 of all is the given division."""
    is_x = z.new_zeros(len(z), len(columns))
    for place, column in enumerate(columns):
        if column == 0:
            is_x[:n, place] = 1
        else:
            drawn = torch.randperm(len(z), generator=generator, device=generator.device)[:n]
            is_x[drawn.to(z.device), place] = 1
    return is_x


def _statistic(product: Tensor, is_x: Tensor, total: Tensor, at_zero: int) -> Tensor:
    """Unbiased squared MMD (C,) of the divisions from K a (N, C) and K 1 (N, 1)."""
    is_x, product = is_x.double(), product.double()
    n = is_x[:, 0].sum()
    m = len(is_x) - n
    x_all = (is_x * total).sum(dim=0)
    x_x = (is_x * product).sum(dim=0)
    across = x_all - x_x
    y_y = total.sum() - x_all - across
    return (x_x - n * at_zero) / (n * (n - 1)) + (y_y - m * at_zero) / (m * (m - 1)) - 2 * across / (n * m)
