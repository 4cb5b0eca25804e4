"""What a closed-form alignment is, and `register_alignment`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from torch import Tensor

from tl_research.nn.fitted import FittedPart
from tl_research.registry import PAIRED, MethodEntry, Registry

#: An alignment's entry says what the method that it becomes says of itself.
ALIGNMENTS: Registry[MethodEntry] = Registry("alignment", "tl_research.alignment", "method")


class Rows(NamedTuple):
    """What training may see of one domain.

    Fields:
        x: (n, d) float features.
        label: (n,) class index, or None where they are hidden.
        weight: (n,) relative weights >= 0 of the rows, or None for equal ones.
    """

    x: Tensor
    label: Tensor | None = None
    weight: Tensor | None = None


@dataclass
class NoOptions:
    """The config of an alignment without options."""


class Alignment(FittedPart):
    """Maps rows of the source and of the target into one space of `out_features` columns.

    The fit runs on the device of the rows, in float64 where a decomposition needs it. The maps take new rows as well
    as those of the fit, and return the dtype that they are given. What is fitted lies in buffers (`keep`).
    """

    #: Whether `fit` estimates anything from the rows. One that does not may stand behind an encoder in training.
    estimates: ClassVar[bool] = True
    #: Whether the mapped rows are logits already, so that no head follows.
    classifies: ClassVar[bool] = False

    def __init__(self, config: Any = None, **options: Any):
        super().__init__(config, **options)
        #: What `fit` has to tell `facts`.
        self.found: dict[str, float | int | str] = {}

    def fit(self, source: Rows, target: Rows, *, labeled: Rows | None = None, classes: int, seed: int) -> None:
        """Fit to the training rows.

        Args:
            source: (n, d) rows with labels.
            target: (m, d) rows without labels.
            labeled: target rows with labels, where the setting shows any.
            classes: number of classes.
            seed: of whatever is drawn (landmarks, random features); the same seed gives the same map.
        """
        raise NotImplementedError

    def source(self, x: Tensor) -> Tensor:
        """Map source rows (n, d) to (n, out_features)."""
        return self.target(x)

    def target(self, x: Tensor) -> Tensor:
        """Map target rows (m, d) to (m, out_features)."""
        raise NotImplementedError

    def width(self, features: int) -> int:
        """Number of columns of the mapped rows, known before the fit: a head that is trained needs it."""
        return features

    def facts(self) -> dict[str, float | int | str]:
        """What the result record keeps: components, the path taken (exact, Nyström with how many landmarks), ..."""
        return dict(self.found)


def register_alignment(
    name: str,
    *,
    paper: str,
    config: type = NoOptions,
    family: str = "feature",
    settings: tuple[str, ...] = PAIRED,
    **facts: Any,
) -> Callable[[type[Alignment]], type[Alignment]]:
    """Register an alignment. The method of the same name fits it to whole domains, and then a head to the mapped rows.

    Args:
        name: of the alignment, and value of `method.name`.
        paper, family, settings: as of a `MethodEntry`.
        config: dataclass of the options: their names, types, defaults and, in `__post_init__`, ranges. They become
            keys of the group `method`.
        facts: its other fields (`gain`, `over`, `problem`, `targets`).
    """
    entry = MethodEntry(name, config=config, paper=paper, family=family, settings=settings, **facts)

    def add(alignment: type[Alignment]) -> type[Alignment]:
        alignment.Config = config
        ALIGNMENTS.add(dataclasses.replace(entry, target=alignment))
        return alignment

    return add
