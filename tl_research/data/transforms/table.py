"""Tables: numbers are scaled and their gaps filled, categories become codes, texts become latent columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from tl_research.data.readers.columns import as_number, as_text
from tl_research.data.transforms.free_text import is_free_text, joined
from tl_research.data.transforms.latent import LatentText
from tl_research.data.transforms.numbers import moments, scale_block
from tl_research.data.transforms.spec import Column, InputSpec
from tl_research.errors import DataError, nearest
from tl_research.nn.rounding import relative_rounding

#: A text column counts as an identifier if it has at least this many values, and more than this share is distinct.
IDENTIFIER_ROWS, IDENTIFIER_SHARE = 50, 0.9


class TableTransform:
    """Tables to `{"numeric": (n, p) float32, "categorical": (n, c) int64}`; see `make_transform`.

    Numbers: a missing number takes the median of the training rows, then the column is scaled. A column with gaps in
    the training rows gets a 0/1 indicator column for them. Categories have codes 1, 2, ... in sorted order, and one
    more code for "missing" if the training rows have gaps. Code 0 is a value that no training row holds.

    Texts (`is_free_text`): those of a row are joined and become latent columns behind the numbers; see `LatentText`.

    Some columns are left out, judged by the training rows alone, and named in `dropped`: columns without any value, and
    columns of words that are nearly unique per row (identifiers), from which nothing carries over to other rows.
    """

    def __init__(
        self,
        scale: str,
        numeric: list[Column],
        categorical: list[Column],
        dropped: dict[str, str],
        texts: Sequence[str] = (),
        latent: LatentText | None = None,
    ):
        self.scale, self.numeric, self.categorical, self.dropped = scale, numeric, categorical, dropped
        self.texts, self.latent = list(texts), latent

    @classmethod
    def fit(cls, parts: Sequence[pd.DataFrame], scale: str) -> TableTransform:
        """Fit scales and categories to the training rows of all domains together.

        Args:
            parts: training rows of each domain, with the same columns.
            scale: `data.scale`, of the numeric columns.

        Raises:
            DataError: a domain lacks a column, or no column has a value.
        """
        names = list(parts[0].columns)
        for part in parts[1:]:
            _check_names(part, names, (), "the other domains have")
        numeric, categorical, texts, dropped = [], [], [], {}
        for name in names:
            columns = [part[name] for part in parts]
            if is_numeric(columns):
                values = np.concatenate([as_number(column, "training rows") for column in columns])
                if np.isnan(values).all():
                    dropped[name] = "no value in any training row"
                else:
                    numeric.append(_fit_numeric(name, values, scale, max(map(_rounding_of, columns))))
            else:
                text = np.concatenate([as_text(column) for column in columns])
                present = text[text != None]  # noqa: E711
                values = sorted(pd.unique(present))
                if not values:
                    dropped[name] = "no value in any training row"
                elif is_free_text(present):
                    texts.append(name)
                elif len(present) >= IDENTIFIER_ROWS and len(values) > IDENTIFIER_SHARE * len(present):
                    dropped[name] = f"{len(values)} distinct texts in {len(present)} training rows"
                else:
                    has_missing = len(present) < len(text)
                    categorical.append({"name": name, "values": values, "missing": has_missing})
        latent = None
        if texts:
            try:
                latent = LatentText.fit([joined(part, texts) for part in parts])
            except ValueError:  # no term occurs often enough
                dropped |= dict.fromkeys(texts, "texts of which no word of two letters or more occurs twice")
                texts = []
        if not numeric and not categorical and not texts:
            raise DataError(f"no column is left to learn from; left out: {dropped}")
        return cls(scale, numeric, categorical, dropped, texts, latent)

    @property
    def spec(self) -> InputSpec:
        """Numeric columns, indicators of missing values, latent columns, and the codes of each categorical column."""
        names = [column["name"] for column in self.numeric]
        indicators = [f"{column['name']} (missing)" for column in self.numeric if column["missing"]]
        cardinalities = [1 + len(column["values"]) + column["missing"] for column in self.categorical]
        categories = [column["name"] for column in self.categorical]
        width = 0 if self.latent is None else self.latent.columns
        indicators += [f"{' + '.join(self.texts)} (text {number})" for number in range(1, width + 1)]
        return InputSpec(
            numeric=len(names) + len(indicators),
            cardinalities=tuple(cardinalities),
            is_table=True,
            columns=(*names, *indicators, *categories),
        )

    @property
    def info(self) -> dict[str, Any]:
        """Facts for the result record."""
        return {
            "scale": self.scale,
            "numeric_columns": len(self.numeric),
            "categorical_columns": len(self.categorical),
            "columns_left_out": dict(self.dropped),
        } | ({"text_columns": list(self.texts)} if self.texts else {})

    @property
    def remarks(self) -> list[str]:
        """Sentences for the screen and the record: columns that are left out, and those that are read as texts."""
        said = [f"column {name!r} is left out: {why}" for name, why in self.dropped.items()]
        if self.latent is not None:
            several = "s" if len(self.texts) > 1 else ""
            said.append(
                f"column{several} {', '.join(map(repr, self.texts))} hold{'' if several else 's'} texts: their words "
                f"and pairs of words become {self.latent.columns} columns of numbers"
            )
        return said

    def transform(self, raw: pd.DataFrame) -> dict[str, Tensor]:
        """Return `numeric` (n, p) float32 and `categorical` (n, c) int64, in the order of `spec.columns`."""
        self._check_columns(raw)
        return {"numeric": self._numbers(raw), "categorical": self._codes(raw)}

    def unseen_counts(self, raw: pd.DataFrame) -> dict[str, int]:
        """Return column -> number of values that no training row held (code 0), for columns that have any."""
        self._check_columns(raw)
        counts = (self._codes(raw) == 0).sum(0).tolist()
        return {column["name"]: count for column, count in zip(self.categorical, counts) if count}

    def state_dict(self) -> dict[str, Any]:
        """What was fitted to each column, and the columns that were dropped with the reason."""
        texts = {"texts": list(self.texts), "parts": {"latent": self.latent.state_dict()}} if self.latent else {}
        return texts | {
            "kind": "table",
            "scale": self.scale,
            "numeric": [dict(column) for column in self.numeric],
            "categorical": [{**column, "values": list(column["values"])} for column in self.categorical],
            "dropped": dict(self.dropped),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> TableTransform:
        """Make the transform of what `state_dict` gave."""
        latent = LatentText.from_state(state["parts"]["latent"]) if "texts" in state else None
        fitted = list(state["numeric"]), list(state["categorical"]), dict(state["dropped"])
        return cls(state["scale"], *fitted, state.get("texts", ()), latent)

    def _check_columns(self, raw) -> None:
        if not isinstance(raw, pd.DataFrame):
            raise DataError("a feature matrix was given where a table is wanted")
        used = [*(column["name"] for column in (*self.numeric, *self.categorical)), *self.texts]
        _check_names(raw, used, self.dropped, "training had")

    def _numbers(self, raw: pd.DataFrame) -> Tensor:
        columns, indicators = [], []
        for column in self.numeric:
            values = as_number(raw[column["name"]], "table")
            missing = np.isnan(values)
            columns.append(np.where(missing, column["median"], values))
            if column["missing"]:
                indicators.append(missing)
        numbers = np.stack(columns, axis=1) if columns else np.zeros((len(raw), 0))
        mean = np.array([column["mean"] for column in self.numeric])
        factor = np.array([column["factor"] for column in self.numeric])
        names = [column["name"] for column in self.numeric]
        scaled = scale_block(numbers, self.scale, mean, factor, 0, names)
        latent = [] if self.latent is None else [self.latent.transform(joined(raw, self.texts))]
        return torch.from_numpy(np.column_stack([scaled, *indicators, *latent]).astype(np.float32))

    def _codes(self, raw: pd.DataFrame) -> Tensor:
        codes = np.zeros((len(raw), len(self.categorical)), dtype=np.int64)
        for position, column in enumerate(self.categorical):
            text = as_text(raw[column["name"]])
            found = pd.Index(column["values"], dtype=object).get_indexer(pd.Index(text, dtype=object))
            codes[:, position] = found + 1  # get_indexer gives -1 where there is none
            if column["missing"]:
                codes[text == None, position] = len(column["values"]) + 1  # noqa: E711
        return torch.from_numpy(codes)


def _rounding_of(column: pd.Series) -> float:
    """Return the relative rounding of the type that a column's numbers were read in."""
    narrow = {"float": np.float32, "halffloat": np.float16}  # pyarrow's names
    name = str(column.dtype).lower().removesuffix("[pyarrow]")
    kind = narrow.get(name) or (np.dtype(name) if name in ("float16", "float32") else np.float64)
    return relative_rounding(kind)


def _fit_numeric(name: str, values: np.ndarray, scale: str, rounding: float) -> dict[str, Any]:
    missing = np.isnan(values)
    median = float(np.median(values[~missing]))
    filled = np.where(missing, median, values)
    mean, factor = moments([filled[:, None]], rounding) if scale == "standard" else (np.zeros(1), np.ones(1))
    return {
        "name": name,
        "median": median,
        "mean": float(mean[0]),
        "factor": float(factor[0]),
        "missing": bool(missing.any()),
    }


def is_numeric(columns: Sequence[pd.Series]) -> bool:
    """Whether a column is of numbers, and not of booleans, in every one of the tables."""
    return all(
        pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype)
        for column in columns
    )


def _check_names(frame: pd.DataFrame, wanted: Sequence[str], allowed: Sequence[str], who: str) -> None:
    present = list(frame.columns)
    lacking = [name for name in wanted if name not in present]
    if lacking:
        raise DataError(
            f"the table lacks the columns {', '.join(map(repr, lacking))}, which {who}"
            f"{nearest(lacking[0], map(str, present))}"
        )
    extra = [name for name in present if name not in wanted and name not in allowed]
    if extra:
        raise DataError(
            f"the table has the extra columns {', '.join(map(repr, extra))}; leave them out, or list them in data.drop"
        )
