"""Which classes there are where the files do not hold the same ones: all of them where that is safe; else refused."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from difflib import get_close_matches

import numpy as np

from tl_research.data.readers.cells import is_missing_word
from tl_research.data.readers.labels import class_names, classes_present, order_classes, task_of
from tl_research.data.readers.number_text import whole_mask
from tl_research.data.readers.rows import LabelledRows

#: Rows of a class below which a name that is nearly another's is taken for a misspelling.
FEW = 5
#: What a column of flags holds: a third value there is another kind of label, or a mistake.
FLAGS = (frozenset(("0", "1")), frozenset(("-1", "1")))


def united_classes(files: Sequence[LabelledRows], task: str) -> tuple[tuple[str, ...], list[str]]:
    """Return the classes of all files together, and a remark where a file lacks one; no classes for numbers.

    A rating that one file happens not to have (no 2 among the stars) is a class all the same. The files must share two
    classes. A further class is refused where it may be a mistake: beside flags (0, 1) or two names, a word that means
    "no value", another spelling of a class, or a few rows whose name is nearly another's.

    Args:
        files: of one task.
        task: `class`, `regression`, or `auto`, as `labels.task_of` says.

    Raises:
        DataError: as `task_of` and `class_names`.
    """
    return _UNITED[task_of(files) if task == "auto" else task](files)


def _united(files: Sequence[LabelledRows]) -> tuple[tuple[str, ...], list[str]]:
    found = [classes_present(rows) for rows in files]
    union = order_classes(set().union(*found))
    if all(len(own) == len(union) for own in found) or not _is_safe(files, found, union):
        return class_names(files), []
    said = "; ".join(
        f"{rows.origin} has no {', '.join(map(repr, order_classes(set(union) - own)))}"
        for rows, own in zip(files, found, strict=True)
        if len(own) < len(union)
    )
    return union, [
        f"label {files[0].label_name!r}: {len(union)} classes over all files, though {said}; a class is learnt where "
        "it has rows and measured where it has test rows"
    ]


#: By kind of label.
_UNITED = {"class": _united, "regression": lambda files: ((), [])}


def _is_safe(files: Sequence[LabelledRows], found: Sequence[set[str]], union: Sequence[str]) -> bool:
    shared = set.intersection(*found)
    extra = set(union) - shared
    if len(shared) < 2 or min(map(len, found)) < 2 or any(map(is_missing_word, extra)):
        return False
    if whole_mask(list(union)).all():
        return not any(own in FLAGS for own in found)
    if min(map(len, found)) < 3 or len({_folded(name) for name in union}) < len(union):
        return False
    rare = [name for name in extra if _rows(files, name) < FEW]
    return not any(get_close_matches(name, {*union} - {name}, n=1, cutoff=0.75) for name in rare)


def _rows(files: Sequence[LabelledRows], name: str) -> int:
    return sum(int(np.sum(rows.label == name)) for rows in files)


def _folded(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in plain if letter.isalnum())
