"""What is asked: the files and options of one question, checked."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from tl_research import __version__
from tl_research.answer.rows import MOST_LABELLED
from tl_research.config import check, compose, run_id
from tl_research.config.tree import override_tree
from tl_research.config.values import Literal
from tl_research.errors import ConfigError, UserError
from tl_research.metrics.requested import find_metric
from tl_research.suites.compare import refuse_owned

#: Number of the form of `answer.json`; it enters the id, so that what an older version kept is not read as this one's.
FORMAT = 2
FOLDS = 5
#: Rows of a file that are read, drawn at random; `data.rows` says otherwise.
MOST_READ = 200_000
#: Keys of `data` that say what a run trains and tests on.
FIXED = {"setting", "shots", "test_fraction", "val_fraction"}
EXAMPLES = {"data": "drop=[id]", "method": "trees=100", "encoder": "image.weights=FILE"}


@dataclass(frozen=True)
class Options:
    """How a question is answered; what changes the figures, and no more.

    Fields:
        shots: numbers of target labels that are shown, None for all; in all, or with `balanced` per class.
        balanced: whether they are drawn per class.
        metrics: the first is compared, the others are shown; none: by the outcome.
        group: column whose rows of one value are on one side of a split.
        resamples: number of splits.
        most_labelled: labelled target rows that are used.
        keep_columns: columns that may be leaks and that the user vouches for.
    """

    shots: tuple[int | None, ...] = (None,)
    balanced: bool = False
    metrics: tuple[str, ...] = ()
    group: str | None = None
    resamples: int = 2 * FOLDS
    most_labelled: int = MOST_LABELLED
    keep_columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check(self.resamples >= 1, "--resamples", self.resamples, "at least 1")
        check(self.most_labelled >= 10, "--rows", self.most_labelled, "at least 10")
        check(len(self.shots) >= 1, "--curve", [], "numbers of labels, such as 20,50,all")
        for shots in self.shots:
            check(shots is None or shots >= 1, "--shots", shots, "a number of labels, 1 or more")
        for metric in self.metrics:
            if ":" not in metric:  # what stands behind it may name a class, which is known once the files are read
                find_metric(metric)

    @property
    def repeats(self) -> int:
        """Draws of the folds, of which the last may not be used to its end."""
        return math.ceil(self.resamples / FOLDS)


def sizes(shots: float | None, curve: Sequence[int | str | None] | str | None) -> tuple[int | None, ...]:
    """Return the numbers of labels that `--shots` or `--curve` names, the smallest first, None for all.

    Raises:
        UserError: both are given, or one is no number.
    """
    if curve is None:
        if shots is not None and not float(shots).is_integer():
            raise UserError(f"--shots: got {shots:g}, wants a whole number of labels")
        return (None if shots is None else int(shots),)
    if shots is not None:
        raise UserError("--shots and --curve: give one of them; --curve 20,50,all has several numbers of labels")
    words = curve.split(",") if isinstance(curve, str) else list(curve)
    found: set[int] = set()
    for word in words:
        text = "all" if word is None else str(word).strip()
        if text != "all" and not (text.isdecimal() and int(text) > 0):
            raise UserError(
                f"--curve: got {text!r}, wants numbers of labels with commas between them, such as 20,50,all"
            )
        found |= set() if text == "all" else {int(text)}
    has_all = any(word is None or str(word).strip() == "all" for word in words)
    return (*sorted(found), *([None] if has_all else []))


def configuration(
    old: Sequence[str],
    new: str,
    *,
    label: str | None,
    overrides: Any = (),
    prior: Sequence[str] = (),
    seed: int = 0,
) -> DictConfig:
    """Return the configuration of a run of `portfolio` on these files: the one whose model the answer keeps.

    Args:
        old, new: files; taken as they are written.
        label: label column.
        overrides: of the groups `data`, `method` and `encoder`, as `compose` takes them.
        prior: class shares of the market, which `--prior` names: the same as `method.prior`.
        seed: of every draw.

    Raises:
        ConfigError: as `compose`, and for a key that the command sets itself.
    """
    tree = override_tree(overrides)
    data, method = (_keys(tree.pop(group, {}), group) for group in ("data", "method"))
    encoder = tree.pop("encoder", {})
    encoder = {"name": encoder} if isinstance(encoder, str) else _keys(encoder, "encoder")
    products = _are_products([*old, new], data)
    given = {
        "name": "product_files" if products else "files",
        "sources": [*map(Literal, old)],
        "target": Literal(new),
        "label": None if label is None else Literal(label),
    }
    sample = {} if products else {"rows": MOST_READ}
    refuse_owned({"data": data}, given)
    if fixed := FIXED & data.keys():
        raise ConfigError(f"data.{min(fixed)}: not in --set; --shots, --curve and --resamples say what is learnt from")
    if tree:
        raise ConfigError(f"{next(iter(tree))}: not in --set, which without --deep has data, method and encoder")
    if fixed := {"name", "old_data", "weighting"} & method.keys():
        raise ConfigError(f"method.{min(fixed)}: not in --set; what is compared is the same in every answer")
    if prior:
        check("prior" not in method, "method.prior", method.get("prior"), "nothing in --set beside --prior")
        method = {**method, "prior": list(prior)}
    own = {
        "data": {**sample, **data, **given, "setting": "supervised"},
        "method": {**method, "name": "portfolio"},
        "encoder": {"name": "side_by_side" if products else "identity", **encoder},
        "wandb": {"mode": "disabled"},
        "seed": seed,
    }
    return compose(own)


def _are_products(files: Sequence[str], data: dict[str, Any]) -> bool:
    """Whether the rows have images or texts that keys of `data` name; or are images in folders."""
    named = {"image_column", "text_columns", "image_size", "text"} & data.keys()
    return bool(named) or any(Path(os.path.expanduser(name)).is_dir() for name in files)


def _keys(group: Any, name: str) -> dict[str, Any]:
    if not isinstance(group, dict):
        raise ConfigError(f"{name}: got {group!r} in --set, wants keys of the group, such as {name}.{EXAMPLES[name]}")
    return group


def answer_id(config: DictConfig, options: Options) -> str:
    """Return 12 hexadecimal digits: the hash of the files' bytes, the configuration and the options."""
    facts = [run_id(config), asdict(options), FORMAT, __version__]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]
