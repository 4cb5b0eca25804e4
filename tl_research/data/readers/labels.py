"""Labels: how they are read, whether they are classes or numbers, and which classes there are, over all files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

import numpy as np
import pandas as pd

from tl_research.data.label_kinds import kind_of
from tl_research.data.readers.cells import NUMBER, Cells, is_missing_word
from tl_research.data.readers.deciding import as_category, as_numbers
from tl_research.data.readers.deciding_dates import refuse_dates
from tl_research.data.readers.gathered import Gathered, is_few
from tl_research.data.readers.marks import Wish
from tl_research.data.readers.number_text import form, forms, infinite_mask, is_known_unit, plain_mask
from tl_research.data.readers.rows import LabelledRows
from tl_research.data.readers.rules import LARGEST, ColumnRule
from tl_research.errors import DataError, nearest

#: A label of numbers with more distinct values than this is not taken for a class unasked.
MOST_UNASKED_CLASSES = 20


def decide_label(
    files: Sequence[Cells], task: str = "auto", wish: Wish | None = None, missing: Iterable[str] = ()
) -> tuple[ColumnRule, list[str]]:
    """Decide how the label is read, over all files: as the text of a class, or as a number.

    Args:
        files: the label in each file.
        task: `class`, `regression`, or `auto`.
        wish: what `data.schema` says of it.
        missing: further spellings that mean "no label".

    Raises:
        DataError: dates; where numbers are wanted, a text that is none.
    """
    column = Gathered.of(files, missing)
    say = f"data.schema.{column.name}=category"
    as_text = task == "class" or (wish is not None and wish.kind == "category")
    if wish is None or wish.kind != "category":

        def advice(place: str) -> str:
            return f"{place}; a label is a class or a number: name another column, or say {say} to read days as classes"

        if column.of_dates:
            raise DataError(advice(f"{column.of_dates[0].origin}, column {column.name!r} holds dates or times"))
        refuse_dates(column, advice, lambda: say)
    if as_text:
        return as_category(column)
    if task == "regression" or (wish is not None and wish.kind == "number"):
        _refuse_what_is_no_number(column)
        return as_numbers(column, wish or Wish("auto"))
    plain = plain_mask(column.texts)
    found_forms = forms(column.texts)
    good = [value for value, found in zip(column.texts, found_forms, strict=True) if found is not None]
    units = {found.unit for found in found_forms if found is not None}
    special = len(good) > int(plain.sum()) and all(not unit or is_known_unit(unit) for unit in units)
    many = len(column.texts) > MOST_UNASKED_CLASSES
    if special and many and len(good) == len(column.texts):
        return as_numbers(column, Wish("auto"))
    if special and many and is_few(len(column.texts) - len(good), len(good)):
        cells, row, value = column.first(set(column.texts) - set(good))
        raise DataError(
            f"{cells.place(row)}: the label {value!r} is not a number, as {good[0]!r} and the others are ({len(good)} "
            f"of {len(column.texts)} distinct values); mend it, or say data.missing=[{value}] where it means no label, "
            "or data.task=class"
        )
    rule, remarks = as_category(column)
    fractions = [value for value, is_plain in zip(column.texts, plain, strict=True) if is_plain and "." in value]
    if len(good) == len(column.texts) and (special or fractions) and not many:
        example = next((value for value in good if not plain_mask([value])[0]), (fractions or good)[0])
        remarks.append(
            f"label {column.name!r} ({column.origins}): {len(good)} distinct numbers such as {example!r} are read as "
            "classes; data.task=regression predicts the number"
        )
    return rule, remarks


def _refuse_what_is_no_number(column: Gathered) -> None:
    wrong = [value for value in column.texts if form(value) is None]
    wrong = [value for value, infinite in zip(wrong, infinite_mask(wrong), strict=True) if not infinite]
    if wrong:
        cells, row, value = column.first(wrong)
        raise DataError(f"{cells.place(row)}: the label {value!r} is not a number (data.task=regression)")


def read_label(rule: ColumnRule, cells: Cells) -> np.ndarray:
    """Return (n,) object: each label as text, a number as Python writes it; None where there is none.

    Raises:
        DataError: a label that is no number, where training had numbers; names its row.
    """
    if rule.kind == "category" or (rule.is_plain and cells.kind == NUMBER):
        return cells.text(rule.missing, words=rule.words)
    number, wrong = rule.parse(cells.values)
    if wrong:
        row = int(cells.rows_of(wrong).argmax())
        value = cells.values[cells.codes[row]]
        raise DataError(f"{cells.place(row)}: the label {value!r} is not a number as training read them")
    texts = np.empty(len(number) + 1, dtype=object)
    texts[:] = None
    for place, value in enumerate(number):
        texts[place] = None if np.isnan(value) else repr(int(value) if value.is_integer() else float(value))
    return texts[cells.codes]


def task_of(files: Sequence[LabelledRows]) -> str:
    """Say what the label of the files is, by its values in all of them: `class` or `regression`.

    Text is a class. Numbers of at most 20 distinct values are classes; of more they are a regression target where
    one of them has a fraction (12.5) or a unit ($12). Many whole numbers may be either (prices, or codes), which is
    not guessed.

    Raises:
        DataError: more than 20 distinct whole numbers, `data.task` says what they are; or more than 20 distinct numbers
            and some text, whose first row is named.
    """
    labels = [rows.label for rows in files if rows.label is not None]
    values = pd.unique(np.concatenate(labels)) if labels else np.array([], dtype=object)
    values = [value for value in values if value is not None]
    numbers = np.array([number for value in values if (number := as_float(value)) is not None])
    if len(numbers) < len(values):
        if len(numbers) > MOST_UNASKED_CLASSES:
            _refuse_text_among_numbers(files)
        return "class"
    schema = files[0].schema
    amounts = schema is not None and schema.label is not None and bool(schema.label.unit)
    if len(numbers) <= MOST_UNASKED_CLASSES:
        return "class"
    if amounts or (numbers != np.round(numbers)).any():
        return "regression"
    raise DataError(
        f"{files[0].origin}: the label has {len(values)} distinct whole numbers ({values[0]}, {values[1]}, ...), "
        "which may be amounts or codes of classes; say which: data.task=regression or data.task=class"
    )


def as_float(value: str) -> float | None:
    """Return the number that a label is, None where it is a name."""
    return float(value) if plain_mask([value])[0] or infinite_mask([value])[0] else None


def _refuse_text_among_numbers(files: Sequence[LabelledRows]) -> None:
    labels = [(rows, row, value) for rows in files if rows.label is not None for row, value in enumerate(rows.label)]
    distinct = list({value for _, _, value in labels if value is not None})
    numbers = {value for value, plain in zip(distinct, plain_mask(distinct), strict=True) if plain}
    texts = [found for found in labels if found[2] is not None and found[2] not in numbers]
    rows, row, value = texts[0]
    total = sum(found[2] is not None for found in labels)
    raise DataError(
        f"{rows.place(row)}: the label {value!r} is text, but {total - len(texts)} of {total} labels are numbers; mend "
        "the value, or say data.task=class to read every label as a class"
    )


def class_names(files: Sequence[LabelledRows]) -> tuple[str, ...]:
    """Return the classes of all files, which must agree.

    Raises:
        DataError: a file of one class, files whose classes differ, or labels that are nearly all distinct.
    """
    found = [classes_present(rows) for rows in files]
    union = order_classes(set().union(*found))
    for rows, own in zip(files, found, strict=True):
        if len(own) == 1:
            labelled = int((rows.label != None).sum())  # noqa: E711
            few = f" ({labelled} row{'s' if labelled > 1 else ''} with a label)" if labelled < 10 else ""
            raise DataError(f"{rows.origin}: every label is {next(iter(own))!r}; wants at least two classes{few}")
        lacking = [value for value in union if value not in own]
        if lacking:
            holder = next(other for other, theirs in zip(files, found, strict=True) if lacking[0] in theirs)
            theirs = found[[other is holder for other in files].index(True)]
            place = holder.place(int((holder.label == lacking[0]).argmax()))
            words = [value for value in lacking if is_missing_word(value)]
            hint = f"; where {words[0]!r} means no label, say data.missing=[{words[0]}]" if words else ""
            raise DataError(
                f"{holder.origin} has the extra classes {_few(lacking)}, which {rows.origin} lacks; they must agree "
                f"(first in {place}); {holder.origin} has {_few(order_classes(theirs))}, {rows.origin} has "
                f"{_few(order_classes(own))}{hint}"
            )
    return union


#: By kind of label, the names of the classes of all files.
_CLASSES = {"class": class_names, "regression": lambda files: ()}


def classes_of_task(files: Sequence[LabelledRows], task: str) -> tuple[str, ...]:
    """Return the classes of all files; of numbers to be predicted there are none.

    Args:
        files: of one task.
        task: `class`, `regression`, or `auto`, as `task_of` says.

    Raises:
        DataError: as `task_of` and `class_names`.
    """
    return _CLASSES[task_of(files) if task == "auto" else task](files)


def _few(values: Sequence[str]) -> str:
    return ", ".join(map(repr, values[:5])) + (", ..." if len(values) > 5 else "")


def order_classes(values: Iterable[str]) -> tuple[str, ...]:
    """Sort class names, numbers by value and text without regard to case: 0, 1; no, yes; False, True; -1, 1."""
    values = list(values)
    if plain_mask(values).all():
        # Exactly: neighbours among long codes are one float.
        return tuple(sorted(values, key=lambda value: (Decimal(value), value)))
    return tuple(sorted(values, key=lambda value: (value.casefold(), value)))


def classes_present(rows: LabelledRows) -> set[str]:
    """Return the labels of a file, as classes.

    Raises:
        DataError: there is none, or nearly every row has another.
    """
    if rows.label is None:
        raise DataError(f"{rows.origin}: there is no label column, and some rows must have a label")
    if all(value is None for value in rows.label):
        raise DataError(f"{rows.origin}: no row has a label, and some must")
    present = rows.label[rows.label != None]  # noqa: E711
    values = pd.unique(present)
    if len(values) > max(MOST_UNASKED_CLASSES, len(present) / 2):
        raise DataError(
            f"{rows.origin}: the label has {len(values)} distinct values in {len(present)} rows ({present[0]}, ...): "
            "wants classes; for numbers to be predicted there is data.task=regression"
        )
    return set(values)


def label_places(rows: LabelledRows, classes: Sequence[str]) -> np.ndarray:
    """Labels (n,) int64 as places in `classes`, -1 where there is none.

    Raises:
        DataError: a label that is none of the classes; the message names the row.
    """
    index = np.full(len(rows), -1, dtype=np.int64)
    if rows.label is None:
        return index
    for position, value in enumerate(classes):
        index[rows.label == value] = position
    stray = (index < 0) & (rows.label != None)  # noqa: E711
    if stray.any():
        row = int(stray.argmax())
        raise DataError(
            f"{rows.place(row)}: the label {rows.label[row]!r} is none of the classes "
            f"{', '.join(classes)}{nearest(rows.label[row], classes).split(' (known')[0]}"
        )
    return index


def label_numbers(rows: LabelledRows, classes: Sequence[str] = ()) -> np.ndarray:
    """Labels (n,) float64, nan where there is none.

    Raises:
        DataError: a label that is no finite number of 32 bits.
    """
    number = np.full(len(rows), np.nan)
    if rows.label is None:
        return number
    codes, values = pd.factorize(rows.label, use_na_sentinel=True)
    parsed = [as_float(value) for value in values]
    for value, read in zip(values, parsed, strict=True):
        if read is None or not abs(read) <= LARGEST:
            what = "a number" if read is None else "a finite number of 32 bits"
            row = int((rows.label == value).argmax())
            raise DataError(f"{rows.place(row)}: the label {value!r} is not {what} (data.task=regression)")
    return np.array([*parsed, np.nan])[codes]


_ENCODED = {"class": label_places, "regression": label_numbers}


def encoded_label(rows: LabelledRows, classes: Sequence[str]) -> np.ndarray:
    """Labels (n,) as a `Domain` with these classes has them; without classes they are numbers.

    Raises:
        DataError: a label that is none of the classes, or no number; the message names the row.
    """
    return _ENCODED[kind_of(classes).name](rows, classes)
