"""What a training step refuses: batches of too few rows, and losses that are no numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from tl_research.data.batch import PairedBatch
from tl_research.errors import ConfigError, NonFiniteLoss, UserError

#: Angles need three rows, variances and norms over a batch two.
FEW_ROWS = 2


@contextmanager
def refuses_few_rows(batch: PairedBatch) -> Iterator[None]:
    """Say by its key that a batch has too few rows, where a norm or a term of the loss says so of its tensors.

    Raises:
        ConfigError: a side of the batch has `FEW_ROWS` rows or fewer.
    """
    try:
        yield
    except ValueError as error:
        sizes = {side: samples.size for side, samples in zip(batch._fields, batch, strict=True) if samples is not None}
        if isinstance(error, UserError) or min(sizes.values()) > FEW_ROWS:
            raise
        has = " and ".join(f"{rows} {side} row{'s' * (rows != 1)}" for side, rows in sizes.items())
        raise ConfigError(
            f"data.batch_size: a batch of {has} is too small ({str(error).splitlines()[0]}); wants larger batches, "
            "more rows of that side, or an encoder without batch norm"
        ) from error


def refuse_non_finite(terms: dict[str, Tensor], step: int) -> None:
    """Raise `NonFiniteLoss`, which names the term, where one is nan or infinite."""
    for name, term in terms.items():
        if not bool(torch.isfinite(term)):
            raise NonFiniteLoss(
                f"the loss term {name!r} is {term.item()} at step {step}; a smaller optimizer.lr may help"
            )
