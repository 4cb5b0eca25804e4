"""The recommenders that a comparison tries, each with a small grid of options that validation users decide."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

from tl_research.interactions.training import Training
from tl_research.recommenders.als import ImplicitALS
from tl_research.recommenders.base import Recommender, sums
from tl_research.recommenders.content import ContentKNN, ContentRidge
from tl_research.recommenders.ease import CrossEase, Ease, MarketEase
from tl_research.recommenders.graph_filter import CrossGraphFilter, GraphFilter
from tl_research.recommenders.item_knn import CoOccurrence, ItemKNN
from tl_research.recommenders.new_items import NewItems
from tl_research.recommenders.popularity import Popularity

#: EASE inverts a matrix of this size at most: of users or of items, whichever are fewer.
LARGEST_INVERSE = 16_000
#: Pairs of an item bought and one offered that are compared by their attributes, at most.
MOST_PAIRS = 1_000_000_000


class Candidate(NamedTuple):
    """One method with the options that are tried.

    Fields:
        name: in tables.
        uses_sources: whether it reads the old shops.
        make: options -> unfitted recommender.
        options: that are tried.
        inverts: whether it inverts a matrix of the smaller of users and items.
        personal: whether its lists follow what a user has bought.
        reads_items: whether it reads attributes of items.
    """

    name: str
    uses_sources: bool
    make: Callable[..., Recommender]
    options: tuple[dict[str, Any], ...]
    inverts: bool = False
    personal: bool = True
    reads_items: bool = False


def candidates(training: Training, *, timed: bool) -> tuple[list[Candidate], list[str]]:
    """Return the candidates for a task, and a sentence on each method that is left out.

    Every method stands twice: on the target alone, and on all domains; then come those that weigh the domains. Those
    that read attributes are tried where there are any, and `new items` where items wait for their first sale.

    Args:
        training: of the task.
        timed: whether the target has times.
    """
    found = [Candidate("popularity", False, Popularity, ({},), personal=False)]
    if timed:
        recent = tuple({"recent": share} for share in (0.1, 0.3))
        found.append(Candidate("recent popularity", False, Popularity, recent, personal=False))
    if training.unsold:
        found.append(Candidate("new items", False, NewItems, ({},), personal=False))
    alike = [
        ("co-occurrence", CoOccurrence, ({},), False),
        ("item_knn", ItemKNN, _grid(shrink=(0.0, 10.0), user_power=(0.0, 0.5)), False),
        ("graph_filter", GraphFilter, _grid(alpha=(0.0, 0.3)), False),
        ("ease", Ease, _grid(ridge=(10.0, 50.0, 250.0)), True),
        ("als", ImplicitALS, _grid(ridge=(1.0, 10.0)), False),
    ]
    for name, make, options, inverts in alike:
        found.append(Candidate(name, False, make, options, inverts))
        both = tuple(option | {"use_sources": True} for option in options)
        found.append(Candidate(f"{name} on all", True, make, both, inverts))
    by_content, left = _by_content(training)
    found += [
        *by_content,
        Candidate("popularity on all", True, Popularity, ({"use_sources": True},), personal=False),
        Candidate("cross_graph_filter", True, CrossGraphFilter, _grid(bridge=(0.1, 0.4), history=(0.2, 1.0))),
        Candidate("cross_ease", True, CrossEase, tuple(_ridges()), True),
        Candidate("market_ease", True, MarketEase, _grid(ridge=(10.0, 50.0), source_weight=(0.03, 0.1, 0.3)), True),
    ]
    if not _share_items(training):
        found = [each for each in found if each.name != "market_ease"]
    if not training.sources:
        found = [each for each in found if not each.uses_sources]
    size = min(_used(training, axis) for axis in (0, 1))
    if size <= LARGEST_INVERSE:
        return found, left
    names = [each.name for each in found if each.inverts]
    said = f"{', '.join(names)}: left out, a matrix of {size:,} × {size:,} is too large (at most {LARGEST_INVERSE:,})"
    return [each for each in found if not each.inverts], [*left, said]


def _by_content(training: Training) -> tuple[list[Candidate], list[str]]:
    """Return what reads attributes, and a sentence on what is left out."""
    if training.attributes is None:
        return [], []
    kinds = [("content_ridge", ContentRidge, _grid(ridge=(0.03, 1.0), common=(0.0, 1.0)))]
    left, pairs = [], _used(training, 1) * len(training.catalogue)
    if pairs <= MOST_PAIRS:
        kinds.append(("content_knn", ContentKNN, _grid(neighbours=(10, 100))))
    else:
        left.append(f"content_knn: left out, {pairs:,} pairs of items are too many (at most {MOST_PAIRS:,})")
    found, item = [], training.attributes.item
    is_own = bool(sums(training.own, 0)[item].any())
    for name, make, options in kinds:
        both = tuple(option | {"use_sources": True} for option in options)
        if is_own:
            found.append(Candidate(name, False, make, options, reads_items=True))
        found.append(Candidate(f"{name} on all", True, make, both, reads_items=True))
    if not is_own:
        left.append(f"{training.attributes.origin}: no item bought in the new shop has a row; content on all alone")
    return found, left


def _share_items(training: Training) -> bool:
    return bool(sums(training.other, 0)[training.catalogue].any())


def _used(training: Training, axis: int) -> int:
    return int((sums(training.both, 1 - axis) > 0).sum())


def _grid(**values: Sequence[Any]) -> tuple[dict[str, Any], ...]:
    return tuple(dict(zip(values, point, strict=True)) for point in product(*values.values()))


def _ridges() -> Iterator[dict[str, float]]:
    for ridge in (10.0, 50.0, 250.0):
        for ratio in (2.0, 8.0):
            yield {"ridge": ridge, "source_ridge": ratio * ridge}
