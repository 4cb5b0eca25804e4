"""What a backend computes: weighted sums of a kernel over pairs of rows, with their gradients, nothing kept."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor

from tl_research.kernels.kernel import Kernel

#: Rows of `scale`: pairs within x, pairs within y, pairs across.
WITHIN_X, WITHIN_Y, ACROSS = 0, 1, 2


class Sums(NamedTuple):
    """Value and gradients of  L = Σ_c Σ_{i, j} scale[block(i, j), c] · s_ic · t_jc · k(z_i, z_j).

    Fields:
        sums: (3, C) float64, each block's Σ_{i, j} s_ic t_jc k over ordered pairs without `scale`, so that
            L = (scale * sums).sum() and dL/dscale = sums. `ACROSS` holds both orders of a pair.
        grad: for each layer dL/d(rows) (n, d_l), float32 or wider; empty where not asked for. Rows of a side whose
            gradient was not asked for are 0.
        weight_grad: dL/ds (n, C), float32 or wider; None where not asked for.
    """

    sums: Tensor
    grad: list[Tensor]
    weight_grad: Tensor | None


class Backend(Protocol):
    """Three streaming computations over rows that are centred already (their offset is taken out by the caller).

    Every backend accumulates in float32 at least (float64 for float64 rows), forms no (n, m, d) tensor, keeps no
    (n, m) one beyond a tile, does not read the device from the host, and gives the same bits for the same call.
    Rows come as float32 or float64; a backend with `HALF = True` gets bfloat16 and float16 rows as they are (rounded
    after centring) and takes norms from these rounded values. Weights and scale are float32 or float64 and may be 0
    or negative.
    """

    HALF: bool

    def pair_sums(
        self,
        rows: list[Tensor],
        n_x: int,
        weight: Tensor,
        scale: Tensor,
        kernel: Kernel,
        *,
        gradient: tuple[bool, bool],
        weight_gradient: bool,
    ) -> Sums:
        """All ordered pairs i != j of the rows z = [x; y], of which the first `n_x` are x; s = t = `weight` (N, C).

        As the sum is symmetric, a pair's gradient arrives from both of its orders:
        dL/dz_i = -4 Σ_j (Σ_c scale s_ic s_jc) · slope(z_i, z_j) · (z_i - z_j), with slope = -dk/d(r²) >= 0, and
        dL/ds_ic = 2 Σ_j scale s_jc k(z_i, z_j). `gradient` says for which side, x and y, dL/dz is wanted.
        """

    def row_sums(
        self,
        rows: list[Tensor],
        rows_x: int,
        columns: list[Tensor],
        columns_x: int,
        row_weight: Tensor,
        column_weight: Tensor,
        scale: Tensor,
        kernel: Kernel,
        *,
        self_column: Tensor | None,
        gradient: tuple[bool, bool],
        weight_gradient: bool,
    ) -> Sums:
        """A block of rows of the above: pairs of `rows` (s = `row_weight`) with `columns` (t = `column_weight`).

        `self_column` (n,) int64 names the column that is row i itself and is left out; None leaves out none. Only the
        sums of these rows are returned (a pair across in both orders needs both blocks), but the gradients have the
        factors of `pair_sums`: added over the blocks of a partition they are the whole.
        """

    def gram_product(self, rows: list[Tensor], columns: list[Tensor], vectors: Tensor, kernel: Kernel) -> Tensor:
        """K v, (n, C): Σ_j k(rows_i, columns_j) v_jc, for vectors v (m, C)."""
