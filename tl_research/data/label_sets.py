"""Label sets: which classes the rows of the sources and of the target have (`data.label_sets`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tl_research.config import DataConfig, check, check_choice
from tl_research.data.domain import Domain
from tl_research.errors import ConfigError

#: Name of the class of target rows whose own class the sources do not have.
UNKNOWN = "unknown"
#: Code of a class whose rows are left out; -1 is that of a row without a label.
LEFT_OUT = -2


def cut_classes(config: DataConfig, sources: list[Domain], target: Domain) -> tuple[list[Domain], Domain]:
    """Leave out the rows of other classes than a domain is to have, and number the classes anew.

    The classes of the result, the same in every domain, are those of the sources in the order that they had; where
    `data.label_sets=open`, `unknown` follows, which is the label of every target row of another class. A target row
    without a label stays: nobody knows its class.

    Args:
        config: group `data`: `label_sets`, `source_classes` and `target_classes`.
        sources: of the task, with the same classes as the target.
        target: of the task.

    Raises:
        ConfigError: a class that there is not, fewer than two, or sets that are not as `label_sets` says.
    """
    if not config.cuts_classes:
        return sources, target
    of_sources = _classes("data.source_classes", config.source_classes, sources)
    of_target = _classes("data.target_classes", config.target_classes, [target])
    _check_relation(config, of_sources, of_target)
    names = (*of_sources, UNKNOWN) if config.label_sets == "open" else of_sources
    unknown = {name: len(of_sources) for name in of_target if name not in of_sources}
    known = {name: code for code, name in enumerate(of_sources)}
    places = {name: known[name] for name in of_target if name in known} | unknown
    return [_cut(domain, known, names) for domain in sources], _cut(target, places, names)


def _classes(key: str, asked: Sequence[str] | None, domains: list[Domain]) -> tuple[str, ...]:
    """Names of the classes that domains are to have, in the order of their codes."""
    names = domains[0].classes
    sizes = np.sum([domain.label_kind.sizes(domain.label) for domain in domains], axis=0)
    where = " and ".join(domain.name for domain in domains)
    for name in asked or ():
        check_choice(key, name, names)
        if not sizes[names.index(name)]:
            raise ConfigError(f"{key}: {where} has no row of class {name!r}")
    found = tuple(name for name, size in zip(names, sizes, strict=True) if size and (asked is None or name in asked))
    # Numbers have no names.
    check(
        len(found) > 1,
        key,
        list(found),
        f"two classes or more with rows in {where} (label: {domains[0].label_kind.name})",
    )
    return found


def _check_relation(config: DataConfig, of_sources: Sequence[str], of_target: Sequence[str]) -> None:
    source, target = set(of_sources), set(of_target)
    sets = f"the sources have {list(of_sources)}, the target has {list(of_target)}"
    holds = {
        "equal": (source == target, "sets that are equal"),
        "partial": (target < source, "classes of the target that are some of the sources', and not all"),
        "open": (
            bool(target - source) and bool(target & source),
            "classes that both have, and some of the target alone",
        ),
    }
    is_so, wants = holds[config.label_sets]
    if not is_so:
        raise ConfigError(f"data.label_sets: got {config.label_sets!r}, wants {wants}; {sets}")
    if UNKNOWN in source and config.label_sets == "open":
        raise ConfigError(f"data.source_classes: {UNKNOWN!r} is the name of the rows of no source class; rename yours")


def _cut(domain: Domain, places: dict[str, int], names: tuple[str, ...]) -> Domain:
    """The domain's rows of the classes in `places`, a name -> its new code, and those without a label."""
    # The last place is that of -1, a row without a label.
    code = np.array([*(places.get(name, LEFT_OUT) for name in domain.classes), -1], dtype=np.int64)
    label = code[domain.label]
    kept = np.flatnonzero(label != LEFT_OUT)
    left = len(label) - len(kept)
    cut = domain.at(kept)
    info = {**domain.info, "classes_kept": list(places), "rows_of_other_classes_left_out": left}
    remark = f"{domain.origin or domain.name}: {left:,} rows of other classes than {', '.join(places)} are left out"
    remarks = [*domain.remarks, remark] if left else domain.remarks
    return replace(cut, label=label[kept], classes=names, info=info, remarks=remarks)
