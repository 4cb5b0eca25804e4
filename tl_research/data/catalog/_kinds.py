"""What the columns of text in the user's own files are: texts, categories, or categories of too many values."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np
import pandas as pd

from tl_research.data.domain import Domain
from tl_research.data.readers.many_values import values_to_keep, with_other
from tl_research.data.readers.marks import Wish
from tl_research.data.transforms.free_text import is_free_text
from tl_research.data.transforms.table import KINDS


def settle_texts(domains: dict[str, Domain], target: str, said: Collection[str]) -> None:
    """Tell texts from categories, over all rows, and tell the transform; but for columns in `said`, which the user has.

    The rule is `is_free_text`.
    """
    schema = domains[target].schema
    if schema is None or not isinstance(domains[target].inputs, pd.DataFrame):
        return
    for name, rule in schema.columns.items():
        if rule.kind == "category" and name not in said:
            values = np.concatenate([domain.inputs[name].dropna().to_numpy() for domain in domains.values()])
            if is_free_text(values):
                schema.columns[name] = replace(rule, kind="text")
    kinds = {name: rule.kind for name, rule in schema.columns.items() if rule.kind in ("category", "text")}
    for domain in domains.values():
        domain.inputs.attrs = {**domain.inputs.attrs, KINDS: kinds}


def bound_categories(domains: dict[str, Domain], target: str, wishes: dict[str, Wish]) -> None:
    """Keep the frequent values of columns that have too many, with a remark each; see `values_to_keep`."""
    schema = domains[target].schema
    if schema is None or not isinstance(domains[target].inputs, pd.DataFrame):
        return
    whole = {name for name, wish in wishes.items() if wish.values == "all"}
    names = [name for name, rule in schema.columns.items() if rule.kind == "category" and name not in whole]
    categories = {name: [domain.inputs[name] for domain in domains.values()] for name in names}
    numbers = len(domains[target].inputs.columns) - len(names)
    where = ", ".join(dict.fromkeys(domain.origin or domain.name for domain in domains.values()))
    for name, kept in values_to_keep(categories, numbers).items():
        count = len(pd.unique(pd.concat(categories[name]).dropna()))
        schema.columns[name] = replace(schema.columns[name], kept=kept)
        for domain in domains.values():
            domain.inputs[name] = with_other(domain.inputs[name], kept)
        domains[target].remarks = [
            *domains[target].remarks,
            f"column {name!r} ({where}) has {count:,} values: the {len(kept):,} most frequent are kept, the others are "
            f"read as one; data.schema.{name}={{kind: category, values: all}} keeps them all",
        ]
