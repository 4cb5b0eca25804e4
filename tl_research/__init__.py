"""Transfer learning for e-commerce, on PyTorch Lightning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tl_research.answer.answer import Answer
    from tl_research.runs.record import Record

__version__ = "0.1.0"
__all__ = ["__version__", "compare", "fit"]


def fit(recipe=None, *overrides: str) -> Record:
    """Carry out one run and return its record; the same as `tl-research fit RECIPE KEY=VALUE ...`.

    `fit("digits", "dann")` trains a method on the default task of a data set.

    Args:
        recipe: a YAML file, a nested mapping, the name of a data set, an override, or None for the defaults.
        overrides: `key=value` strings; behind a data set's name, the name of a method comes first.

    Raises:
        tl_research.errors.UserError: the configuration or the data are at fault.
    """
    # Imported here, so that the package's version can be read without torch.
    from tl_research.config import compose, run_of_words
    from tl_research.runs.experiment import run_alone

    return run_alone(compose(*run_of_words(recipe, overrides)))


def compare(old, new, *, label: str | None = None, **options: Any) -> Answer:
    """Did the old files help the new one? The same as `tl-research compare OLD ... NEW --label LABEL`.

    `answer = compare(["old.csv"], "new.csv", label="y")`; then `answer.verdict`, `answer.table` and
    `answer.model.predict(frame)`.

    Args:
        old: files or DataFrames of the old domains, one or a list of them.
        new: file or DataFrame of the new one.
        label: label column; None for folders of images, whose names are the labels.
        options: further arguments of `tl_research.answer.compare.compare`.

    Raises:
        tl_research.errors.UserError: an option or the data are at fault.
    """
    from tl_research.answer.compare import compare as answer_from_files

    return answer_from_files(old, new, label=label, **options)
