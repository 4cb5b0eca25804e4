"""Fitted recommenders as tensors, numbers and texts alone, for files that load without pickles."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from tl_research.recommenders.als import ImplicitALS
from tl_research.recommenders.base import Recommender
from tl_research.recommenders.content import ContentKNN, ContentRidge
from tl_research.recommenders.ease import CrossEase, Ease, MarketEase
from tl_research.recommenders.graph_filter import CrossGraphFilter, GraphFilter
from tl_research.recommenders.item_knn import CoOccurrence, ItemKNN
from tl_research.recommenders.new_items import NewItems
from tl_research.recommenders.popularity import Popularity

KINDS: dict[str, type[Recommender]] = {
    kind.__name__: kind
    for kind in (
        Popularity, NewItems, CoOccurrence, ItemKNN, GraphFilter, CrossGraphFilter, Ease, CrossEase, MarketEase,
        ImplicitALS, ContentRidge, ContentKNN,
    )
}  # fmt: skip
_PARTS = ("data", "indices", "indptr")
#: Buffer of what is no array, as JSON.
_REST = "rest"


def packed_recommender(recommender: Recommender) -> dict[str, Any]:
    """Return `kind` and `state` of a fitted recommender."""
    state = {name: packed(value) for name, value in vars(recommender).items()}
    return {"kind": type(recommender).__name__, "state": state}


def unpacked_recommender(content: dict[str, Any]) -> Recommender | None:
    """Return the recommender of `packed_recommender`'s content; None where its kind is unknown."""
    kind = KINDS.get(content.get("kind", ""))
    if kind is None:
        return None
    recommender = kind.__new__(kind)
    vars(recommender).update({name: unpacked(value) for name, value in content["state"].items()})
    return recommender


def as_tensors(recommender: Recommender) -> dict[str, torch.Tensor]:
    """Return all of a fitted recommender as named tensors, for the buffers of a module."""
    content = packed_recommender(recommender)
    tensors, rest = {}, {"kind": content["kind"], "state": {}, "sparse": {}}
    for name, value in content["state"].items():
        if isinstance(value, torch.Tensor):
            tensors[name] = value
        elif isinstance(value, dict):
            tensors |= {f"{name}__{part}": value[part] for part in _PARTS}
            rest["sparse"][name] = value["shape"]
        else:
            rest["state"][name] = value
    tensors[_REST] = torch.frombuffer(bytearray(json.dumps(rest).encode()), dtype=torch.uint8)
    return tensors


def from_tensors(tensors: dict[str, torch.Tensor]) -> Recommender:
    """The inverse of `as_tensors`; the tensors may be on any device."""
    tensors = {name: tensor.cpu() for name, tensor in tensors.items()}
    content = json.loads(bytes(tensors.pop(_REST).numpy()))
    for name, shape in content.pop("sparse").items():
        parts = {part: tensors.pop(f"{name}__{part}") for part in _PARTS}
        content["state"][name] = {"shape": shape, **parts}
    content["state"] |= tensors
    return unpacked_recommender(content)


def packed(value: Any) -> Any:
    """Return an array or a sparse matrix as tensors, a dtype as text, and anything else as it is."""
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(value))
    if sp.issparse(value):
        csr = value.tocsr()
        return {"shape": list(csr.shape), **{part: torch.from_numpy(getattr(csr, part)) for part in _PARTS}}
    if isinstance(value, type):
        return f"dtype {np.dtype(value).name}"
    return value


def unpacked(value: Any) -> Any:
    """The inverse of `packed`."""
    if isinstance(value, torch.Tensor):
        return value.numpy()
    if isinstance(value, dict):
        return sp.csr_matrix(tuple(value[part].numpy() for part in _PARTS), shape=tuple(value["shape"]))
    if isinstance(value, str) and value.startswith("dtype "):
        return np.dtype(value.removeprefix("dtype ")).type
    return value
