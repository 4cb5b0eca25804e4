"""The user's own products: images, texts and table fields, in folders of images or in tables."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tl_research.config import DataConfig, added_later, check
from tl_research.data.audit import audit, refuse_too_few
from tl_research.data.audit.population import left_out
from tl_research.data.content import SPLIT_RULE, content_digest, is_same_file
from tl_research.data.domain import Domain
from tl_research.data.modalities import Modalities, TextConfig
from tl_research.data.new_rows import NewRows, kept_columns, read_table_columns
from tl_research.data.readers.deciding import unknown_columns
from tl_research.data.readers.domain_file import LabelledRows, class_names, domains_of, to_domain
from tl_research.data.readers.images import read_image_column, read_image_folder
from tl_research.data.readers.labels import read_label
from tl_research.data.readers.paths import local_path
from tl_research.data.readers.schema import RawRows, Schema, Wishes, decide_schema
from tl_research.data.readers.tabular import PARQUET_ENDINGS, read_table, refuse_nested, require_column
from tl_research.data.readers.text import join_text
from tl_research.errors import ConfigError, DataError, nearest
from tl_research.registry import SOURCE_FREE, register_dataset


@dataclass
class ProductFilesConfig(DataConfig):
    """Group `data` of `product_files`.

    `sources` and `target` are folders of images (`<folder>/<class>/<image>`), or tables (csv, parquet); or, with `path`
    and `domain_column`, values of that column of that table.
    """

    name: str = "product_files"
    path: str | None = None  # one table for all domains
    domain_column: str | None = None  # its column that names the domain
    image_column: str | None = None  # column of image bytes (parquet), or of paths from the table's own folder
    image_size: int = 32  # side in pixels that images are resized to
    text_columns: list[str] = field(default_factory=list)  # joined to one text per row
    drop: list[str] = field(default_factory=list)  # columns to leave out; all others are table fields
    categorical: list[str] = field(default_factory=list)  # columns that are categories though they look like numbers
    text: TextConfig = field(default_factory=TextConfig)
    schema: dict[str, Any] | None = added_later(None, from_file=True)  # column: number, category, ...; or a YAML file
    missing: list[str] | None = added_later(None)  # further words that mean "no value"

    def __post_init__(self):
        super().__post_init__()
        self.wishes()
        check(1 <= self.image_size <= 1024, "data.image_size", self.image_size, "1 to 1024 pixels")
        together = (self.path is None) == (self.domain_column is None)
        key = "data.domain_column" if self.domain_column is None else "data.path"
        check(together, key, None, "a value: data.path (one table for all domains) and data.domain_column go together")
        tables = [name for name in _paths(self) if not local_path(name).is_dir()]
        if tables and self.label is None:
            raise ConfigError(f"data.label: missing; which column of {tables[0]} is the label?")

    def wishes(self) -> Wishes:
        """What the user says of the columns; `ConfigError` names the full key."""
        return Wishes.of(self.schema, self.categorical, self.missing, "class")

    def content(self) -> str:
        """Hash the bytes of tables and of the images in folders (not of images that a table only names)."""
        digest = hashlib.sha256(SPLIT_RULE)
        for name in _paths(self):
            path = Path(os.path.expanduser(name))
            for file in sorted(path.glob("*/*")) if path.is_dir() else [path]:
                if not file.is_file() and self.setting == SOURCE_FREE and name in self.sources:
                    continue
                if not file.is_file():
                    return ""
                digest.update(str(file.relative_to(path)).encode())
                digest.update(file.read_bytes())
        return digest.hexdigest()


@dataclass
class _Products:
    """Rows of one table before their columns are typed: fields and label as they stand, images and texts as read."""

    raw: RawRows
    image: np.ndarray | None
    present: np.ndarray | None
    text: np.ndarray | None


@register_dataset(
    "product_files", config=ProductFilesConfig, domains=(), metric="accuracy", encoder="fusion", paper="your own data"
)
def load(config: ProductFilesConfig, names: list[str]) -> dict[str, Domain]:
    """Your own products: images, texts and table fields, in folders of images or in tables (csv, parquet).

    A row may lack its image or its text where it has something else. Classes are the labels of all files, which must
    agree, or the names of the folders. Target rows of a table may lack a label: they train unlabelled.
    """
    parts = _split_table(config, names) if config.path is not None else _one_each(config, names)
    refuse_too_few(parts[config.target])
    classes = class_names(list(parts.values()))
    target = parts[config.target]
    _leave_out_unknown_columns([parts[name] for name in config.sources], target)
    domains = {name: to_domain(rows, classes, name) for name, rows in parts.items()}
    shared = None if config.path is None else content_digest(config.path)
    for name, domain in domains.items():
        domain.split_name = content_digest(name) if shared is None else f"{name}/{shared}"
    audit(domains, config.target)
    return domains


def _split_table(config: ProductFilesConfig, names: list[str]) -> dict[str, LabelledRows]:
    products = _read_table(config, config.path, label_required=False)
    schema = decide_schema([products.raw], config.wishes())
    rows = _typed(products, schema, config)
    rows.remarks = [*rows.remarks, *schema.remarks]
    domain = domains_of(products.raw, config.wishes().missing, rows.remarks)
    known = sorted(pd.unique(domain))
    parts = {}
    for name in names:
        if name not in known:
            key = "data.target" if name == config.target else "data.sources"
            column = config.domain_column
            raise ConfigError(f"{key}: {config.path} has no {name!r} in its column {column!r}{nearest(name, known)}")
        parts[name] = rows.take(domain == name, f"{config.path} ({config.domain_column}={name})")
    found = left_out(domain, names, config.path, config.domain_column)
    parts[config.target].remarks = [*parts[config.target].remarks, *found]
    return parts


def _one_each(config: ProductFilesConfig, names: list[str]) -> dict[str, LabelledRows]:
    for at, name in enumerate(names):
        same = next((other for other in names[:at] if is_same_file(other, name)), None)
        if same is not None:
            raise ConfigError(f"data.sources, data.target: {same} and {name} are the same")
    found = {name: _read(config, name, label_required=name != config.target) for name in names}
    tables = [products for products in found.values() if isinstance(products, _Products)]
    if not tables:
        return found
    schema = decide_schema([products.raw for products in tables], config.wishes())
    parts = {
        name: _typed(rows, schema, config) if isinstance(rows, _Products) else rows for name, rows in found.items()
    }
    for name, rows in parts.items():
        if name != config.target:
            rows.refuse_missing_labels()
    parts[names[0]].remarks = [*parts[names[0]].remarks, *schema.remarks]
    return parts


def _leave_out_unknown_columns(sources: list[LabelledRows], target: LabelledRows) -> None:
    """Take out the table fields that no source has a value in: nothing can be learnt about the target's values."""
    tables = [getattr(rows.inputs, "table", None) for rows in (*sources, target)]
    if any(table is None for table in tables):
        return
    unknown = unknown_columns(tables[:-1], tables[-1])
    origins = ", ".join(dict.fromkeys(rows.origin for rows in sources))
    found = [target.schema.leave_out(name, f"no value in {origins}") for name in unknown]
    target.remarks = [*target.remarks, *found]
    for rows in (*sources, target):
        rows.inputs.table = rows.inputs.table.drop(columns=unknown)


def read_new_rows(path: str, config: ProductFilesConfig, classes: tuple[str, ...], new: NewRows) -> Domain:
    """Read rows to predict or to evaluate on, as training read its own; the label may be absent."""
    config.label, config.path = new.label or config.label, None
    products = _read(config, path, label_required=new.need_label)
    if isinstance(products, LabelledRows):
        if new.keep:
            raise DataError(f"{path}: --keep needs a table (csv or parquet)")
        return to_domain(products if new.need_label else products.without_labels(), classes, path)
    raw = products.raw
    table, remarks = None, []
    if new.used:
        table, remarks = read_table_columns(raw, new)
    label = read_label(new.schema.label, raw.label_cells()) if new.need_label and raw.label is not None else None
    inputs = Modalities(products.image, products.present, products.text, table, config.text, path)
    rows = LabelledRows(inputs, label, path, {"rows": len(inputs)}, config.label, None, [*raw.remarks, *remarks])
    domain = to_domain(rows, classes, path)
    if new.keep:
        domain.aside = kept_columns(RawRows(read_table(path), None, path), new.keep)
    return domain


load.files = []
load.read_new_rows = read_new_rows


def _paths(config: ProductFilesConfig) -> list[str]:
    return [config.path] if config.path is not None else [*config.sources, config.target]


def _read(config: ProductFilesConfig, name: str, *, label_required: bool) -> LabelledRows | _Products:
    path = local_path(name)
    if path.is_dir():
        remarks: list[str] = []
        images, label = read_image_folder(path, size=config.image_size, remarks=remarks)
        return LabelledRows(images, label, name, {"rows": len(label)}, remarks=remarks)
    return _read_table(config, name, label_required=label_required)


def _read_table(config: ProductFilesConfig, name: str, *, label_required: bool) -> _Products:
    path = local_path(name)
    frame = read_table(path)
    remarks = list(frame.attrs.get("remarks", ()))
    label = domain = None
    if label_required or config.label in frame.columns:
        require_column(frame, config.label, "data.label", name)
        label = frame[config.label]
    if config.path is not None:
        require_column(frame, config.domain_column, "data.domain_column", name)
        domain = frame[config.domain_column]
    image = present = text = None
    if config.image_column is not None:
        require_column(frame, config.image_column, "data.image_column", name)
        image, present = read_image_column(
            frame[config.image_column].tolist(),
            size=config.image_size,
            origin=name,
            column=config.image_column,
            base=path.parent,
            remarks=remarks,
        )
    if config.text_columns:
        text = join_text(frame, config.text_columns, name, missing=config.wishes().missing)
    used = {config.label, config.domain_column, config.image_column, *config.text_columns, *config.drop}
    fields = frame[[column for column in frame.columns if column not in used]]
    refuse_nested(fields, name)
    typed = name.lower().endswith(PARQUET_ENDINGS)
    raw = RawRows(fields, label, name, config.label, domain, typed, tuple(config.drop), remarks)
    return _Products(raw, image, present, text)


def _typed(products: _Products, schema: Schema, config: ProductFilesConfig) -> LabelledRows:
    raw = products.raw
    label = None if raw.label is None else read_label(schema.label, raw.label_cells())
    table = schema.read(raw) if raw.features.shape[1] else None
    if table is not None and not table.shape[1]:
        table = None
    inputs = Modalities(products.image, products.present, products.text, table, config.text, raw.origin)
    return LabelledRows(
        inputs, label, raw.origin, {"rows": len(inputs)}, raw.label_name, None, list(raw.remarks), schema
    )
