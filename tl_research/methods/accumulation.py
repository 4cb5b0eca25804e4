"""What each batch of an accumulated gradient weighs, so that the step is that of one batch of all their rows."""

from __future__ import annotations

from lightning import Trainer

from tl_research.data.sampling.loaders import PairedLoader


def factor_on_loss(trainer: Trainer, batch_idx: int, side: str | None) -> float:
    """Factor on a term of one batch, which Lightning then divides by k = `trainer.accumulate_grad_batches`.

    The batches of an epoch are cut into groups of k; the last group may have fewer, r. With n_i the rows of `side` in
    the group's i-th batch (1 where there is no side), the step is taken on Σ_i n_i l_i / Σ_j n_j: for a term that is a
    mean over the rows of that side, the mean over all rows of the group. The factor is k n_i / Σ_j n_j, and 1 where
    k = 1.

    Args:
        trainer: in a training step.
        batch_idx: number of the batch in its epoch.
        side: that the term is a mean over (`source`, `target`, `target_labeled`); None for a term that is no mean over
            the rows of one side, of which the step has the mean over the r batches.
    """
    k = trainer.accumulate_grad_batches
    if k == 1:
        return 1.0
    first = batch_idx - batch_idx % k
    group = range(first, min(first + k, trainer.num_training_batches))
    loader = trainer.train_dataloader
    if side is None or not isinstance(loader, PairedLoader):
        return k / len(group)
    begin = trainer.current_epoch * len(loader)
    sizes = [loader.plans[side].size(begin + number) for number in group]
    return k * sizes[batch_idx - first] / sum(sizes)
