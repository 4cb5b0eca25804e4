"""The closed-form methods of the alignments: one for each registered alignment, under its name."""

from __future__ import annotations

from dataclasses import make_dataclass, replace

from tl_research.alignment.base import ALIGNMENTS
from tl_research.config import MethodConfig
from tl_research.errors import keys_of
from tl_research.methods.closed_form import ClosedForm, ClosedFormConfig
from tl_research.registry import METHODS, MethodEntry


def config_of(alignment: MethodEntry) -> type[MethodConfig]:
    """Return the dataclass of the group `method`: the alignment's options, and the head's keys where one follows."""
    common = MethodConfig if alignment.target.classifies else ClosedFormConfig

    def check_ranges(self) -> None:
        if common is ClosedFormConfig:
            ClosedFormConfig.__post_init__(self)
        if hasattr(alignment.config, "__post_init__"):
            with keys_of("method"):
                alignment.config.__post_init__(self)

    return make_dataclass(
        f"{alignment.target.__name__}MethodConfig",
        [("name", str, alignment.name)],
        bases=(alignment.config, common),
        namespace={"__post_init__": check_ranges, "__module__": __name__},
    )


def register_closed_form(alignment: MethodEntry) -> None:
    """Register the method that fits the alignment and then a head."""
    made = {"alignment_class": alignment.target, "__doc__": alignment.target.__doc__, "__module__": __name__}
    method = type(f"{alignment.target.__name__}Method", (ClosedForm,), made)
    METHODS.add(replace(alignment, config=config_of(alignment), target=method, encoder="identity"))


ALIGNMENTS.each(register_closed_form)
