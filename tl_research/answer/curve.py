"""Where the old data stop paying: the gain at each number of labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tl_research.answer.verdict import HELPED, HURT, Verdict


def said(points: Sequence[Verdict]) -> str:
    """Return up to how many labels a gain is shown, in one sentence.

    Args:
        points: verdicts, the smallest number of labels first.
    """
    helped = [at for at, point in enumerate(points) if point.kind == HELPED]
    tried = ", ".join(f"{point.labels:,}" for point in points)
    if not helped:
        return f"At no number of labels tried ({tried}) could a gain from the old data be shown."
    last = helped[-1]
    if last == len(points) - 1:
        return f"At the largest number of labels tried ({points[last].labels:,} of {tried}) the old data still pay."
    then = points[last + 1]
    what = "they hurt" if then.kind == HURT else "no gain can be shown"
    return f"The old data pay up to {points[last].labels:,} labels; from {then.labels:,} on {what} (tried: {tried})."


def points_of(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """Return the points as `answer.json` has them."""
    return [verdict.as_dict() for verdict in verdicts]
