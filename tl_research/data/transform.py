"""From raw rows to tensors, by statistics of the rows that training may see.

A transform is fitted once, on training-visible rows, and then applied to every row: no statistic, vocabulary or
choice of columns ever depends on a test row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from torch import Tensor

from tl_research.data.domain import Domain
from tl_research.data.readers.columns import as_number, as_text
from tl_research.errors import DataError, nearest
from tl_research.rounding import relative_rounding

SCALES = ("none", "standard", "log1p", "unit", "log1p_unit")
#: A text column is an identifier where it has this many values, and more than this share of them are distinct.
IDENTIFIER_ROWS, IDENTIFIER_SHARE = 50, 0.9
_ROWS_AT_ONCE = 4096
#: Numbers from here to its inverse may be squared and summed in float64.
_LEAST = 1e-100

Column = dict[str, Any]
RawInputs = np.ndarray | sp.csr_matrix | pd.DataFrame | Any


class Transform(Protocol):
    """What every transform is: fitted once, saved with the model, applied to raw rows."""

    spec: InputSpec
    info: dict[str, Any]
    remarks: list[str]

    def transform(self, raw: RawInputs) -> Tensor | dict[str, Tensor]: ...

    def unseen_counts(self, raw: RawInputs) -> dict[str, int]: ...

    def state_dict(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class TextSpec:
    """Texts as tensors.

    Fields:
        form: `tfidf` or `hashed` (`text_index`, `text_value`), `words` or `pretrained` (`text_ids`).
        size: number of terms or of token ids.
        width: columns of the tensors.
        padding: token id that is no token; n-grams are padded with value 0.
    """

    form: str
    size: int
    width: int
    padding: int = 0


@dataclass(frozen=True)
class InputSpec:
    """What a transform gives, which is what an encoder takes.

    Fields:
        numeric: number of float columns, missing indicators among them.
        cardinalities: number of codes of each categorical column, 0 (unknown) among them.
        is_table: inputs are `{"numeric": (n, numeric), "categorical": (n, c)}` rather than one tensor.
        columns: names of a table's numeric and then categorical columns; empty for a matrix.
        image: height, width and channels of uint8 images: the inputs, or their field `image`.
        text: what the fields `text_*` hold.
        modalities: of `image`, `text`, `table`, those that the inputs hold by name; with more than one, each has a
            field `<modality>_present` (n,) bool. Empty for a matrix, a plain table and plain images.
    """

    numeric: int
    cardinalities: tuple[int, ...] = ()
    is_table: bool = False
    columns: tuple[str, ...] = ()
    image: tuple[int, int, int] | None = None
    text: TextSpec | None = None
    modalities: tuple[str, ...] = ()


def make_transform(inputs_of_training_rows: Sequence[RawInputs], scale: str) -> Transform:
    """Fit a transform to raw inputs.

    Args:
        inputs_of_training_rows: one part a domain, training-visible rows only; all matrices (n, d), dense or
            CSR, or all tables, or all images (n, height, width, 3) uint8, or all `Modalities`.
        scale: `none`; `standard` (x - mean) / std; `log1p` log(1 + x); `unit` x / ||x||_2 by row; `log1p_unit`
            the one and then the other. A constant column becomes 0 under `standard`.

    Raises:
        DataError: parts that do not fit together, or values the scale cannot take.
    """
    if scale not in SCALES:
        raise ValueError(f"scale: got {scale!r}, wants one of {SCALES}")
    parts = list(inputs_of_training_rows)
    from tl_research.data.image_transform import ImageTransform
    from tl_research.data.modalities import Modalities
    from tl_research.data.modality_transform import ModalityTransform

    tables = [isinstance(part, pd.DataFrame) for part in parts]
    if not parts or sum(part.shape[0] for part in parts) == 0:
        raise DataError("there are no training rows to fit the scaling on")
    if len({isinstance(part, Modalities) for part in parts}) > 1:
        raise DataError("some domains have named modalities and some have not; they must be of one kind")
    if isinstance(parts[0], Modalities):
        return ModalityTransform.fit(parts, scale)
    if getattr(parts[0], "ndim", 2) == 4:
        return ImageTransform.fit(parts, scale)
    if any(tables) and not all(tables):
        raise DataError("some domains are tables and some are feature matrices; they must be of one kind")
    return TableTransform.fit(parts, scale) if all(tables) else MatrixTransform.fit(parts, scale)


def transform_from_state(state: dict[str, Any]) -> Transform:
    """Rebuild a transform from its `state_dict()`."""
    from tl_research.data.image_transform import ImageTransform
    from tl_research.data.modality_transform import ModalityTransform

    kinds = {
        "matrix": MatrixTransform,
        "table": TableTransform,
        "image": ImageTransform,
        "modalities": ModalityTransform,
    }
    return kinds[state["kind"]].from_state(state)


def refuse_negative(domain: Domain, scale: str) -> None:
    """Raise `DataError` with the file, row and column of the first number that `scale` cannot take the logarithm of."""
    if scale not in ("log1p", "log1p_unit"):
        return
    inputs = domain.inputs
    if isinstance(inputs, pd.DataFrame):
        numeric = {name: inputs[name].to_numpy() for name in inputs if _is_numeric([inputs[name]])}
        found = [(int((values < 0).argmax()), name) for name, values in numeric.items() if (values < 0).any()]
        wrong = min(found, key=lambda place: place[0], default=None)
        number = None if wrong is None else numeric[wrong[1]][wrong[0]]
    elif sp.issparse(inputs) or getattr(inputs, "ndim", 0) == 2:
        # Zeros that are not stored are not negative.
        places = sorted(zip(*(inputs < 0).nonzero(), strict=True))[:1]
        wrong = tuple(int(at) for at in places[0]) if places else None
        number = inputs[wrong] if wrong else None
    else:
        return
    if wrong is not None:
        raise DataError(
            f"{domain.place(wrong[0])}, column {wrong[1]!r}: {number:g} is negative, and data.scale={scale} takes a "
            "logarithm of 1 + x; choose data.scale=standard"
        )


class MatrixTransform:
    """Feature matrices to a float32 tensor (n, d); see `make_transform`.

    Args:
        scale: one of `SCALES`.
        mean, factor: (d,) float64: `standard` gives (x - mean) * factor, with factor 1 / std, or 0 for a column
            that was constant; empty for other scales.
        width: d.
    """

    def __init__(self, scale: str, width: int, mean: np.ndarray, factor: np.ndarray):
        self.scale, self.width, self.mean, self.factor = scale, width, mean, factor

    @classmethod
    def fit(cls, parts: Sequence[np.ndarray | sp.csr_matrix], scale: str) -> MatrixTransform:
        width = parts[0].shape[1]
        empty = np.zeros(0)
        fitted = cls(scale, width, empty, empty)
        for part in parts:
            fitted._check_columns(part)
        if scale == "standard":
            fitted.mean, fitted.factor = _moments(parts)
        return fitted

    @property
    def spec(self) -> InputSpec:
        return InputSpec(numeric=self.width)

    @property
    def info(self) -> dict[str, Any]:
        """Facts for the result record."""
        return {"scale": self.scale, "features": self.width}

    @property
    def remarks(self) -> list[str]:
        """Nothing is left out of a matrix."""
        return []

    def transform(self, raw: np.ndarray | sp.csr_matrix) -> Tensor:
        """Return (n, d) float32."""
        self._check_columns(raw)
        out = np.empty((raw.shape[0], self.width), dtype=np.float32)
        for start, block in _blocks(raw):
            _check_finite(block, start)
            scaled = _scaled(block, self.scale, self.mean, self.factor, start)
            _check_narrow(scaled, block, start)
            out[start : start + len(block)] = scaled
        return torch.from_numpy(out)

    def unseen_counts(self, raw: np.ndarray | sp.csr_matrix) -> dict[str, int]:
        """A matrix has no categories: nothing is unseen."""
        self._check_columns(raw)
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {
            "kind": "matrix",
            "scale": self.scale,
            "width": self.width,
            "mean": torch.from_numpy(self.mean.copy()),
            "factor": torch.from_numpy(self.factor.copy()),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> MatrixTransform:
        return cls(state["scale"], state["width"], _array(state["mean"]), _array(state["factor"]))

    def _check_columns(self, raw) -> None:
        if isinstance(raw, pd.DataFrame):
            raise DataError("a table was given where a feature matrix is wanted")
        if raw.ndim != 2 or raw.shape[1] != self.width:
            raise DataError(f"features of shape {tuple(raw.shape)}, wants (rows, {self.width})")


class TableTransform:
    """Tables to `{"numeric": (n, p) float32, "categorical": (n, c) int64}`; see `make_transform`.

    Numbers: a missing one takes the median of the training rows, then the column is scaled; a column that lacked
    values in the training rows gets a 0/1 indicator beside it. Categories: codes 1, 2, ... in sorted order, then
    one code for missing where the training rows lack values; 0 is whatever the training rows did not hold.

    Left out, by the training rows alone, and named in `dropped`: columns without any value, and text columns that
    are nearly unique per row (identifiers, free text), from which nothing carries over to another row.
    """

    def __init__(self, scale: str, numeric: list[Column], categorical: list[Column], dropped: dict[str, str]):
        self.scale, self.numeric, self.categorical, self.dropped = scale, numeric, categorical, dropped

    @classmethod
    def fit(cls, parts: Sequence[pd.DataFrame], scale: str) -> TableTransform:
        names = list(parts[0].columns)
        for part in parts[1:]:
            _check_names(part, names, (), "the other domains have")
        numeric, categorical, dropped = [], [], {}
        for name in names:
            columns = [part[name] for part in parts]
            if _is_numeric(columns):
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
                elif len(present) >= IDENTIFIER_ROWS and len(values) > IDENTIFIER_SHARE * len(present):
                    dropped[name] = f"{len(values)} distinct texts in {len(present)} training rows"
                else:
                    has_missing = len(present) < len(text)
                    categorical.append({"name": name, "values": values, "missing": has_missing})
        if not numeric and not categorical:
            raise DataError(f"no column is left to learn from; left out: {dropped}")
        return cls(scale, numeric, categorical, dropped)

    @property
    def spec(self) -> InputSpec:
        names = [column["name"] for column in self.numeric]
        indicators = [f"{column['name']} (missing)" for column in self.numeric if column["missing"]]
        cardinalities = [1 + len(column["values"]) + column["missing"] for column in self.categorical]
        categories = [column["name"] for column in self.categorical]
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
        }

    @property
    def remarks(self) -> list[str]:
        """Sentences for the screen and the record: columns that are left out."""
        return [f"column {name!r} is left out: {why}" for name, why in self.dropped.items()]

    def transform(self, raw: pd.DataFrame) -> dict[str, Tensor]:
        """Return `numeric` (n, p) float32 and `categorical` (n, c) int64, in the order of `spec.columns`."""
        self._check_columns(raw)
        return {"numeric": self._numbers(raw), "categorical": self._codes(raw)}

    def unseen_counts(self, raw: pd.DataFrame) -> dict[str, int]:
        """Count, for each categorical column that has any, the values that no training row held (code 0)."""
        self._check_columns(raw)
        counts = (self._codes(raw) == 0).sum(0).tolist()
        return {column["name"]: count for column, count in zip(self.categorical, counts) if count}

    def state_dict(self) -> dict[str, Any]:
        return {
            "kind": "table",
            "scale": self.scale,
            "numeric": [dict(column) for column in self.numeric],
            "categorical": [{**column, "values": list(column["values"])} for column in self.categorical],
            "dropped": dict(self.dropped),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> TableTransform:
        return cls(state["scale"], list(state["numeric"]), list(state["categorical"]), dict(state["dropped"]))

    def _check_columns(self, raw) -> None:
        if not isinstance(raw, pd.DataFrame):
            raise DataError("a feature matrix was given where a table is wanted")
        used = [column["name"] for column in (*self.numeric, *self.categorical)]
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
        scaled = _scaled(numbers, self.scale, mean, factor, 0, names)
        return torch.from_numpy(np.column_stack([scaled, *indicators]).astype(np.float32))

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
    """Relative rounding of a column's numbers as they were read: float32 keeps its own."""
    narrow = {"float": np.float32, "halffloat": np.float16}  # pyarrow's names
    name = str(column.dtype).lower().removesuffix("[pyarrow]")
    kind = narrow.get(name) or (np.dtype(name) if name in ("float16", "float32") else np.float64)
    return relative_rounding(kind)


def _fit_numeric(name: str, values: np.ndarray, scale: str, rounding: float) -> dict[str, Any]:
    missing = np.isnan(values)
    median = float(np.median(values[~missing]))
    filled = np.where(missing, median, values)
    mean, factor = _moments([filled[:, None]], rounding) if scale == "standard" else (np.zeros(1), np.ones(1))
    return {
        "name": name,
        "median": median,
        "mean": float(mean[0]),
        "factor": float(factor[0]),
        "missing": bool(missing.any()),
    }


def _is_numeric(columns: Sequence[pd.Series]) -> bool:
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


def _moments(
    parts: Sequence[np.ndarray | sp.csr_matrix], rounding: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and 1/std of each column over all parts; the factor of a constant column is 0.

    A column is constant where its numbers differ by no more than the rounding of their magnitude (0.3 and 0.1 + 0.2):
    the share `rounding` of it, or that of the parts' own numbers.
    """
    count = sum(part.shape[0] for part in parts)
    total, low, high = 0.0, np.inf, -np.inf
    for part in parts:
        for start, block in _blocks(part):
            _check_finite(block, start)
            with np.errstate(over="ignore", invalid="ignore"):
                total = total + block.sum(axis=0)
            low, high = np.minimum(low, block.min(axis=0)), np.maximum(high, block.max(axis=0))
    peak = np.maximum(np.abs(low), np.abs(high))
    # A power of two, which costs no digits, where sums or squares would leave float64.
    extreme = (peak > 0) & ((peak < _LEAST) | (peak > 1 / _LEAST))
    unit = np.where(extreme, np.exp2(np.floor(np.log2(np.where(extreme, peak, 1.0)))), 1.0)
    if extreme.any():
        total = sum((block / unit).sum(axis=0) for part in parts for _, block in _blocks(part))
    mean = total / count * unit
    # A second pass: the mean of squares less the square of the mean loses its digits where the mean is large.
    squares = sum((((block - mean) / unit) ** 2).sum(axis=0) for part in parts for _, block in _blocks(part))
    std = np.sqrt(squares / count) * unit
    # By the range: the mean of many rows is off by more than the numbers are.
    rounding = max(relative_rounding(part.dtype) for part in parts) if rounding is None else rounding
    noise = high / unit - low / unit <= rounding * (peak / unit)
    if (noise & (high > low)).any():
        noise &= ~_whole(parts, peak)
    with np.errstate(divide="ignore", over="ignore"):
        factor = 1.0 / std
    return mean, np.where((high > low) & ~noise & np.isfinite(factor), factor, 0.0)


def _whole(parts: Sequence[np.ndarray | sp.csr_matrix], peak: np.ndarray) -> np.ndarray:
    """Which columns hold whole numbers alone, all of them exact: numbers that differ by 1 differ, large as they are."""
    whole = peak < 2**53
    for part in parts:
        for _, block in _blocks(part):
            whole &= (block == np.rint(block)).all(axis=0)
    return whole


def _blocks(raw: np.ndarray | sp.csr_matrix) -> Iterator[tuple[int, np.ndarray]]:
    for start in range(0, raw.shape[0], _ROWS_AT_ONCE):
        block = raw[start : start + _ROWS_AT_ONCE]
        yield start, np.asarray(block.toarray() if sp.issparse(block) else block, dtype=np.float64)


def _scaled(block, scale: str, mean, factor, first_row: int, names: Sequence[str] | None = None) -> np.ndarray:
    if scale == "standard":
        return (block - mean) * factor
    if scale in ("log1p", "log1p_unit"):
        if (block < 0).any():
            row, column = np.argwhere(block < 0)[0]
            name = repr(names[column]) if names else column
            raise DataError(
                f"row {first_row + row}, column {name}: {block[row, column]:g} is negative, and data.scale={scale} "
                "takes a logarithm of 1 + x; choose data.scale=standard"
            )
        block = np.log1p(block)
    if scale in ("unit", "log1p_unit"):
        peak = np.abs(block).max(axis=1, keepdims=True, initial=0.0)
        # As in `_moments`: squares must not leave float64.
        extreme = (peak > 0) & ((peak < _LEAST) | (peak > 1 / _LEAST))
        if extreme.any():
            block = np.where(extreme, block / np.where(extreme, peak, 1.0), block)
        norm = np.linalg.norm(block, axis=1, keepdims=True)
        block = block / np.where(norm > 0, norm, 1.0)
    return block


def _check_finite(block: np.ndarray, first_row: int) -> None:
    if not np.isfinite(block).all():
        row, column = np.argwhere(~np.isfinite(block))[0]
        raise DataError(f"row {first_row + row}, column {column}: {block[row, column]} is not a finite number")


def _check_narrow(scaled: np.ndarray, block: np.ndarray, first_row: int) -> None:
    """Refuse what float32 has no number for: it would be infinite behind the transform, without a word."""
    beyond = np.abs(scaled) > np.finfo(np.float32).max
    if beyond.any():
        row, column = np.argwhere(beyond)[0]
        raise DataError(
            f"row {first_row + row}, column {column}: {block[row, column]:g} is beyond what float32 holds behind "
            "data.scale; mend the value, or choose data.scale=standard"
        )


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy().astype(np.float64)
