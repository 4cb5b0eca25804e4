"""Names of the streaming backends."""

from __future__ import annotations

import importlib

from torch import Tensor

from tl_research.errors import nearest
from tl_research.kernels.sums import Backend

BACKENDS = {"reference": "tl_research.kernels.reference"}


def backend_for(name: str, rows: Tensor) -> Backend:
    """Return the module behind a name, or for `auto` the fastest one for these rows.

    Raises:
        ValueError: an unknown name.
    """
    if name != "auto" and name not in BACKENDS:
        raise ValueError(f"backend: got {name!r}{nearest(name, ['auto', *BACKENDS])}")
    return importlib.import_module(BACKENDS["reference" if name == "auto" else name])
