"""The work of a question: its resamples at each number of labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tl_research.answer.measured import Item
from tl_research.answer.options import FOLDS, Options
from tl_research.answer.resamples import resamples
from tl_research.answer.rows import TaskRows
from tl_research.answer.shots import draw_in_all, draw_per_class
from tl_research.errors import UserError


def items_of(rows: TaskRows, options: Options, *, seed: int, remarks: list[str]) -> list[Item]:
    """Return the items, resample after resample, and of each the smallest number of labels first.

    Numbers of labels that a training side does not have are left out of a curve, with a remark.

    Raises:
        UserError: `--shots` wants more labels than a training side has, or balanced draws of numbers.
    """
    label = rows.label.numpy()
    if options.balanced and not rows.stratified:
        raise UserError("--balanced: draws labels per class, and the label is a number")
    if rows.facts["groups"] < 2:
        raise UserError(
            "--group: the labelled rows of the new file are one group, which cannot be on both sides of a split; "
            "name a column of several values"
            if options.group is not None
            else "the labelled rows of the new file are equal in every column, so that they cannot be split"
        )
    splits = resamples(
        label, stratified=rows.stratified, groups=rows.groups, folds=FOLDS, repeats=options.repeats, seed=seed
    )[: options.resamples]
    sizes = _sizes_there(options, label, min(len(each.train) for each in splits), splits, remarks)
    items = []
    for number, split in enumerate(splits):
        numbers = [size for size in sizes if size is not None]
        drawn: dict[int | None, np.ndarray] = {None: np.arange(len(split.train))}
        if numbers:
            own = label[split.train]
            of_split = seed + 104_729 * (number + 1)
            if options.balanced:
                drawn |= draw_per_class(own, numbers, seed=of_split)
            else:
                drawn |= draw_in_all(own, numbers, stratified=rows.stratified, seed=of_split)
        items += [Item(number, size, split.train[drawn[size]], split.test, len(split.train)) for size in sizes]
    return items


def _sizes_there(options: Options, label, smallest_side: int, splits, remarks: list[str]) -> Sequence[int | None]:
    """The numbers of labels that every training side has."""
    most = smallest_side
    per_class = ""
    if options.balanced:
        most, per_class = min(int(np.bincount(label[each.train]).max()) for each in splits), " per class"
    there = [size for size in options.shots if size is None or size <= most]
    beyond = [size for size in options.shots if size is not None and size > most]
    if beyond and not there:
        raise UserError(
            f"--shots: {beyond[0]:,} labels{per_class} are wanted, and a training side has {most:,} of "
            f"{len(label):,} labelled rows; leave --shots out to use all"
        )
    if beyond:
        listed = ", ".join(f"{size:,}" for size in beyond)
        remarks.append(f"--curve: {listed} labels{per_class} are left out, as a training side has {most:,}")
    return there
