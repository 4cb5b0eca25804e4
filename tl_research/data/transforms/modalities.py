"""Rows of several modalities to one dict of tensors, with a mask for each modality."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from tl_research.data.modalities import Modalities, refuse_empty_rows
from tl_research.data.transforms.image import ImageTransform
from tl_research.data.transforms.spec import InputSpec
from tl_research.data.transforms.table import TableTransform
from tl_research.data.transforms.text import TextTransform
from tl_research.errors import DataError

_KINDS = {"image": ImageTransform, "text": TextTransform, "table": TableTransform}


class ModalityTransform:
    """Modalities to the tensors `image`, `text_*`, `numeric` and `categorical`, each made by its own transform.

    Rows of several modalities also have `<modality>_present` (n,) bool per modality. A row must have at least one.
    """

    def __init__(self, parts: dict[str, Any]):
        self.parts = parts

    @classmethod
    def fit(cls, parts: Sequence[Modalities], scale: str) -> ModalityTransform:
        """Fit the transform of each modality to the training rows of all domains.

        Args:
            parts: training rows of each domain.
            scale: `data.scale`, of the table's numbers.

        Raises:
            DataError: domains that hold different modalities.
        """
        names = parts[0].names
        for part in parts:
            _check_names(part, names)
        fitted: dict[str, Any] = {}
        for name in names:
            raw = [getattr(part, name) for part in parts]
            fitted[name] = (
                TextTransform.fit(raw, parts[0].text_config) if name == "text" else _KINDS[name].fit(raw, scale)
            )
        return cls(fitted)

    @property
    def spec(self) -> InputSpec:
        """What the transforms of the modalities give, in one."""
        specs = {name: part.spec for name, part in self.parts.items()}
        spec = specs.get("table", InputSpec(numeric=0))
        return replace(
            spec,
            image=specs["image"].image if "image" in specs else None,
            text=specs["text"].text if "text" in specs else None,
            modalities=tuple(specs),
        )

    @property
    def info(self) -> dict[str, Any]:
        """Facts for the result record."""
        return {name: part.info for name, part in self.parts.items()}

    @property
    def remarks(self) -> list[str]:
        """The remarks of every modality."""
        return [line for part in self.parts.values() for line in part.remarks]

    def transform(self, raw: Modalities) -> dict[str, Tensor]:
        """Return the named tensors of n rows."""
        names = tuple(self.parts)
        _check_names(raw, names)
        refuse_empty_rows(raw, lambda row: f"{raw.origin}, row {row + 1}")
        present = {name: raw.present(name) for name in self.parts}
        tensors: dict[str, Tensor] = {}
        for name, part in self.parts.items():
            made = part.transform(getattr(raw, name))
            tensors |= made if isinstance(made, dict) else {name: made}
            if len(self.parts) > 1:
                tensors[f"{name}_present"] = torch.from_numpy(present[name])
        return tensors

    def unseen_counts(self, raw: Modalities) -> dict[str, int]:
        """Count the categories of the table that no training row held."""
        return self.parts["table"].unseen_counts(raw.table) if "table" in self.parts else {}

    def state_dict(self) -> dict[str, Any]:
        """The state of each modality's transform, by its name."""
        return {"kind": "modalities", "parts": {name: part.state_dict() for name, part in self.parts.items()}}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> ModalityTransform:
        """Make the transform of what `state_dict` gave."""
        return cls({name: _KINDS[name].from_state(part) for name, part in state["parts"].items()})


def _check_names(raw, names: tuple[str, ...]) -> None:
    if not isinstance(raw, Modalities):
        raise DataError(f"rows of {', '.join(names)} are wanted, got a {type(raw).__name__}")
    if raw.names != names:
        raise DataError(f"{raw.origin}: has {', '.join(raw.names)}, but training had {', '.join(names)}")
