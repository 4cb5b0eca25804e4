"""The user's own products: images, texts and table fields, in folders of images or in tables."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from tl_research.config import DataConfig, check
from tl_research.data.audit import audit, refuse_too_few
from tl_research.data.audit.population import left_out
from tl_research.data.content import SPLIT_RULE, content_digest, is_same_file
from tl_research.data.domain import Domain
from tl_research.data.modalities import Modalities, TextConfig
from tl_research.data.readers.columns import as_text, infer_types
from tl_research.data.readers.domain_file import LabelledRows, class_names, to_domain
from tl_research.data.readers.images import read_image_column, read_image_folder
from tl_research.data.readers.paths import local_path
from tl_research.data.readers.tabular import read_table, refuse_nested, require_column
from tl_research.data.readers.text import join_text
from tl_research.errors import ConfigError, DataError, nearest
from tl_research.registry import register_dataset


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
    image_size: int = 32  # pixels a side that images are resized to
    text_columns: list[str] = field(default_factory=list)  # joined to one text a row
    drop: list[str] = field(default_factory=list)  # columns to leave out; all others are table fields
    categorical: list[str] = field(default_factory=list)  # columns that are categories though they look like numbers
    text: TextConfig = field(default_factory=TextConfig)

    def __post_init__(self):
        super().__post_init__()
        check(1 <= self.image_size <= 1024, "data.image_size", self.image_size, "1 to 1024 pixels")
        together = (self.path is None) == (self.domain_column is None)
        key = "data.domain_column" if self.domain_column is None else "data.path"
        check(together, key, None, "a value: data.path (one table for all domains) and data.domain_column go together")
        tables = [name for name in _paths(self) if not local_path(name).is_dir()]
        if tables and self.label is None:
            raise ConfigError(f"data.label: missing; which column of {tables[0]} is the label?")


@register_dataset(
    "product_files", config=ProductFilesConfig, domains=(), metric="accuracy", encoder="fusion", paper="your own data"
)
def load(config: ProductFilesConfig, names: list[str]) -> dict[str, Domain]:
    """Your own products: images, texts and table fields, in folders of images or in tables (csv, parquet).

    A row may lack its image or its text where it has something else. Classes are the labels of all files, which must
    agree, or the names of the folders. Target rows of a table may lack a label: they train unlabelled.
    """
    if config.path is not None:
        rows, domain = _read_table(config, config.path, label_required=False)
        known = sorted(pd.unique(domain))
        parts = {}
        for name in names:
            if name not in known:
                key = "data.target" if name == config.target else "data.sources"
                column = config.domain_column
                raise ConfigError(
                    f"{key}: {config.path} has no {name!r} in its column {column!r}{nearest(name, known)}"
                )
            parts[name] = rows.take(domain == name, f"{config.path} ({config.domain_column}={name})")
        found = left_out(domain, names, config.path, config.domain_column)
        parts[config.target].remarks = [*parts[config.target].remarks, *found]
    else:
        for at, name in enumerate(names):
            same = next((other for other in names[:at] if is_same_file(other, name)), None)
            if same is not None:
                raise ConfigError(f"data.sources, data.target: {same} and {name} are the same")
        parts = {name: _read(config, name, label_required=name != config.target) for name in names}
    refuse_too_few(parts[config.target])
    classes = class_names(list(parts.values()))
    domains = {name: to_domain(rows, classes, name) for name, rows in parts.items()}
    shared = None if config.path is None else content_digest(config.path)
    for name, domain in domains.items():
        domain.split_name = content_digest(name) if shared is None else f"{name}/{shared}"
    audit(domains, config.target)
    return domains


def read_new_rows(path: str, config: ProductFilesConfig, classes: tuple[str, ...], *, label: str | None) -> Domain:
    """Read rows to predict or to evaluate on, as training read its own; the label may be absent."""
    config.label, config.path = label or config.label, None
    return to_domain(_read(config, path, label_required=False), classes, path)


def fingerprint(config: ProductFilesConfig) -> str:
    """Hash the bytes of tables and of the images in folders (not of images that a table only names)."""
    digest = hashlib.sha256(SPLIT_RULE)
    for name in _paths(config):
        path = Path(name).expanduser()
        for file in sorted(path.glob("*/*")) if path.is_dir() else [path]:
            if not file.is_file():
                return ""
            digest.update(str(file.relative_to(path)).encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


load.files = []
load.fingerprint = fingerprint
load.read_new_rows = read_new_rows


def _paths(config: ProductFilesConfig) -> list[str]:
    return [config.path] if config.path is not None else [*config.sources, config.target]


def _read(config: ProductFilesConfig, name: str, *, label_required: bool) -> LabelledRows:
    path = local_path(name)
    if path.is_dir():
        remarks: list[str] = []
        images, label = read_image_folder(path, size=config.image_size, remarks=remarks)
        return LabelledRows(images, label, name, {"rows": len(label)}, remarks=remarks)
    return _read_table(config, name, label_required=label_required)[0]


def _read_table(
    config: ProductFilesConfig, name: str, *, label_required: bool
) -> tuple[LabelledRows, np.ndarray | None]:
    path = local_path(name)
    frame = read_table(path)
    remarks = list(frame.attrs["remarks"])
    label = domain = None
    if label_required or config.label in frame.columns:
        require_column(frame, config.label, "data.label", name)
        label = as_text(frame[config.label])
        missing = label == None  # noqa: E711
        if label_required and missing.any():
            raise DataError(f"{name}, row {int(missing.argmax()) + 1}, column {config.label!r}: no label")
    if config.path is not None:
        require_column(frame, config.domain_column, "data.domain_column", name)
        domain = as_text(frame[config.domain_column])
        if (domain == None).any():  # noqa: E711
            row = int((domain == None).argmax()) + 1  # noqa: E711
            raise DataError(f"{name}, row {row}, column {config.domain_column!r}: no domain")
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
        text = join_text(frame, config.text_columns, name)
    used = {config.label, config.domain_column, config.image_column, *config.text_columns, *config.drop}
    fields = frame[[column for column in frame.columns if column not in used]]
    refuse_nested(fields, name)
    table = infer_types(fields, name, categorical=tuple(config.categorical)) if fields.shape[1] else None
    inputs = Modalities(image, present, text, table, config.text, name)
    return LabelledRows(inputs, label, name, {"rows": len(frame)}, remarks=remarks), domain
