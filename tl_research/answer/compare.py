"""From files to the answer: read, resample, judge, refit, write."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from tl_research.answer.answer import CURVE_FILE, PAGE_FILE, PLOT_FILE, TABLE_FILE, Answer, is_finished
from tl_research.answer.calibration import judged, means
from tl_research.answer.curve import points_of, said
from tl_research.answer.items import items_of
from tl_research.answer.kept import keep, kept
from tl_research.answer.measured import FIRST, WITH, WITHOUT, Item, Measured, Question, first_figures
from tl_research.answer.options import FORMAT, Options, answer_id, configuration, sizes
from tl_research.answer.page import page
from tl_research.answer.plot import plot_curve, plot_rows
from tl_research.answer.progress import Progress
from tl_research.answer.question import question_of, read_task
from tl_research.answer.refit import Refitted, refit
from tl_research.answer.rows import MOST_LABELLED, TaskRows
from tl_research.answer.table import rows_of, unlabelled_rows
from tl_research.answer.verdict import HURT, WOULD_HURT, judge
from tl_research.answer.with_leaks import with_leaks
from tl_research.answer.workers import begun, cores, measured
from tl_research.config import check
from tl_research.data.readers.parquet import write_frame
from tl_research.errors import UserError
from tl_research.metrics.requested import check_metric, find_metric
from tl_research.outcomes import Outcome
from tl_research.portfolio.prior import EM, prior_texts, read_prior
from tl_research.runs.environment import environment
from tl_research.runs.folder import make_folder
from tl_research.storage.files import write_atomically
from tl_research.storage.lock import LOCK_FILE, exclusive

File = str | Path | pd.DataFrame


def compare(
    old: File | Sequence[File],
    new: File,
    *,
    label: str | None = None,
    shots: int | None = None,
    curve: Sequence[int | str] | str | None = None,
    balanced: bool = False,
    metric: str | Sequence[str] | None = None,
    group: str | None = None,
    resamples: int = 10,
    rows: int = MOST_LABELLED,
    keep_columns: Sequence[str] = (),
    prior: float | str | Sequence[float | str] | Mapping[str, float] | None = None,
    overrides: Any = (),
    jobs: int | None = None,
    seed: int = 0,
    output: str | Path = "answers",
    again: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> Answer:
    """Answer whether the old data help on the new, by how much, and keep the model to use.

    On each of `resamples` splits of the new file's labelled rows, simple learners on the old data, on the new labels
    and on both are cross-fitted, calibrated and combined, with the old data and without (docs/portfolio.md); both are
    measured on the rows of the other side. The model is then refitted to all rows. A question that has been answered
    is not answered again.

    Args:
        old: files (csv, parquet, ...) or DataFrames of the old domains.
        new: file or DataFrame of the new one; rows may lack a label.
        label: label column; None for folders of images, whose names are the labels.
        shots: number of labels, drawn at random from each training side; None: all of them.
        curve: several numbers of labels and `all`: "20,50,all", or a list of them.
        balanced: whether `shots` and `curve` are labels per class.
        metric: that is compared, and further ones that are shown; None: AUROC of two classes, accuracy of more, R² of
            numbers.
        group: column of the new file; rows of one value are on one side of every split, and it is no feature.
        resamples: number of splits.
        rows: labelled rows of the new file that are used at most.
        keep_columns: columns that may be leaks and that are used all the same.
        prior: share of each class in the market, `0.15` (of the second of two), `yes=0.15` or `{"yes": 0.15}`, where
            the labelled rows have others: probabilities are corrected to it. In a text, names with a comma or an
            equals sign stand in braces: `{"red, blue": 0.2}`.
        overrides: keys of the groups `data` and `method`, as `fit` takes them.
        jobs: processes; None: as many as there are processors, and resamples.
        seed: of every draw.
        output: folder of the answers; this one is in `<output>/<id>`.
        again: whether a finished answer is made anew.
        say: called with each line of progress and each note.

    Raises:
        UserError: an option, a key or a file is at fault.
    """
    olds = [old] if isinstance(old, (str, Path, pd.DataFrame)) else list(old)
    check(jobs is None or jobs >= 1, "--jobs", jobs, "at least 1")
    check(group is None or group != label, "--group", group, "a column beside the label")
    if not olds:
        raise UserError("compare: wants one or more old files, then the new file")
    metrics = (metric,) if isinstance(metric, str) else tuple(metric or ())
    shares = _shares(prior)
    kept_columns = tuple(keep_columns)
    options = Options(sizes(shots, curve), balanced, metrics, group, resamples, rows, kept_columns)
    with tempfile.TemporaryDirectory(prefix="tl-research-") as folder:
        names = [_as_file(each, Path(folder) / f"old{at or ''}") for at, each in enumerate(olds)]
        target = _as_file(new, Path(folder) / "new")
        named = _Named(folder)
        try:
            config = configuration(names, target, label=label, overrides=overrides, prior=shares, seed=seed)
            return answer_of(
                config,
                options,
                jobs=jobs or cores(),
                output=output,
                again=again,
                say=lambda line: say(named(line)),
                named=named,
            )
        except UserError as error:
            error.args = named(error.args)
            raise


@dataclass(frozen=True)
class _Named:
    """Says `the DataFrame old` where a text has the path of the file that a DataFrame was written to for the answer.

    Args:
        folder: of such files; its name is drawn anew each time.
    """

    folder: str

    def __call__(self, value: Any) -> Any:
        if isinstance(value, str):
            return re.sub(rf"{re.escape(self.folder)}/(\w+)\.parquet", r"the DataFrame \1", value)
        if isinstance(value, dict):
            return {self(key): self(each) for key, each in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(map(self, value)) if type(value) in (list, tuple) else value
        return value


def _shares(prior: Any) -> tuple[str, ...]:
    """Return class shares as `--prior` writes them."""
    if prior is None:
        return ()
    if isinstance(prior, Mapping):
        return tuple(f"{name}={share}" for name, share in prior.items())
    if isinstance(prior, str):
        return prior_texts(prior)
    return tuple(map(str, [prior] if isinstance(prior, (int, float)) else prior))


def _as_file(data: File, stem: Path) -> str:
    """Return the path of a file; a DataFrame is written to one first, without its index."""
    if not isinstance(data, pd.DataFrame):
        return str(data)
    path = stem.with_suffix(".parquet")
    write_frame(data, path)
    return str(path)


def answer_of(
    config: DictConfig,
    options: Options,
    *,
    jobs: int,
    output: str | Path,
    again: bool = False,
    say: Callable[[str], None] = lambda line: None,
    named: Callable[[Any], Any] = lambda facts: facts,
) -> Answer:
    """Answer a question whose configuration is made; see `compare`. `named` rewrites the texts of the facts."""
    folder = Path(output) / answer_id(config, options)
    if is_finished(folder) and not again:
        say(f"note: this very question is answered already, in {folder}; --again answers it anew")
        return Answer.load(folder)
    make_folder(folder, str(output))
    with exclusive(folder) as mine:
        if not mine:
            raise UserError(f"{folder}: another process is at work on this very question")
        try:
            return _answered(config, options, folder, jobs=jobs, again=again, say=say, named=named)
        except UserError:
            _remove_if_empty(folder)
            raise


def _remove_if_empty(folder: Path) -> None:
    """Remove the folder of a question that could not even be read; what a resample has left in it stays."""
    if [path.name for path in folder.iterdir()] == [LOCK_FILE]:
        (folder / LOCK_FILE).unlink()
        folder.rmdir()


def _answered(config: DictConfig, options: Options, folder: Path, *, jobs: int, again: bool, say, named) -> Answer:
    started = time.monotonic()
    # Done with reading and the source's learners, this process finds the others ready.
    with begun(min(jobs, options.resamples * len(options.shots))):
        rows, items, metrics = _read(config, options, say)
        progress = Progress(len(items), metrics[0], say)

        def learnt(question: Question, name: str, learner: nn.Module) -> None:
            if name == FIRST:
                progress.first(first_figures(question, items[0], learner))

        question = question_of(config, rows, metrics[0], options=options, asked=metrics, learnt=learnt)
    found: dict[tuple[int | None, int], Measured] = {}
    waiting = []
    for item in items:
        done = None if again else kept(folder, item)
        if done is None:
            waiting.append(item)
        else:
            found[item.size, item.number] = progress.add(done, computed=False)
    if found and waiting:
        say(f"{len(found)} of {len(items)} resamples {'is' if len(found) == 1 else 'are'} kept from before")
    progress.begin()
    try:
        for each in measured(question, waiting, jobs=jobs):
            keep(folder, each)
            found[each.size, each.number] = progress.add(each)
    except KeyboardInterrupt:
        done = f"{len(found)} of {len(items)} resamples are kept in {folder}"
        say(f"interrupted: {done}; the same command goes on from there")
        raise
    by_size = {
        size: [found[size, n] for s, n in sorted(found, key=lambda k: k[1]) if s == size] for size in _sizes(items)
    }
    facts = _facts(config, options, rows, question, by_size, metrics, folder, jobs)
    facts["leaks"] = with_leaks(config, options, rows, items, found, metrics[0], jobs=jobs, say=say)
    answer = Answer.of(folder, named(facts) | {"seconds": round(time.monotonic() - started, 1)})
    _write(answer)
    return answer


def _read(config: DictConfig, options: Options, say) -> tuple[TaskRows, list[Item], list[str]]:
    """Return the rows, the items and the metrics; what cannot be answered is refused before anything is fitted."""
    rows = read_task(config, options)
    for line in rows.facts.get("columns_said", ()):
        say(line)
    for line in rows.remarks:
        say(f"note: {line}")
    said_of_items: list[str] = []
    items = items_of(rows, options, seed=config.seed, remarks=said_of_items)
    for line in said_of_items:
        say(f"note: {line}")
    rows.remarks += said_of_items
    say(_read_line(rows, items))
    metrics = _metrics(rows.outcome, options, fewest=min(len(item.test) for item in items))
    _check_prior(config.method.prior, rows.outcome, balanced=options.balanced)
    return rows, items, metrics


def _sizes(items: Iterable[Item]) -> list[int | None]:
    return list(dict.fromkeys(item.size for item in items))


def _check_prior(prior: Sequence[str] | None, outcome: Outcome, *, balanced: bool) -> None:
    """Raise `ConfigError` where class shares are asked for that there cannot be, before anything is fitted."""
    if not prior:
        return
    asked = ",".join(prior)
    corrected = "nothing beside --balanced, which corrects to the shares of the rows that the labels are drawn from"
    check(not balanced, "--prior", asked, corrected)
    numbers = f"nothing, as the label holds {outcome.plural}: shares are of classes"
    check(len(outcome.names) > 0, "--prior", asked, numbers)
    if list(prior) != [EM]:
        read_prior(prior, outcome.names)


def _metrics(outcome: Outcome, options: Options, *, fewest: int) -> list[str]:
    """Return the metrics of the table; the first is compared.

    Raises:
        ConfigError: one is of another kind of outcome, or has no value on `fewest` rows.
    """
    asked = options.metrics
    # `--value` alone is asked for beside the AUROC: where the label is none of two classes, that is said of `--value`.
    for name in sorted(asked, key=lambda name: not name.startswith("value:")):
        found = find_metric(name, classes=outcome.names)
        check(found.of == outcome.kind, "--metric", name, f"a metric of {outcome.plural}, which the label holds")
        check_metric(found, classes=outcome.width, rows=fewest, has_group=options.group is not None)
    wants = "another metric first: one within groups is shown, not compared"
    check(not asked or not find_metric(asked[0], classes=outcome.names).needs_group, "--metric", asked[:1], wants)
    return list(dict.fromkeys([*(asked or (outcome.compared,)), outcome.second]))


def _read_line(rows: TaskRows, items: Sequence[Item]) -> str:
    facts = rows.facts
    listed = ", ".join(f"{name} {size:,}" for name, size in list(facts["classes"].items())[:6])
    if (more := len(facts["classes"]) - 6) > 0:
        listed += f" and {more} more"
    counts = f" ({listed})" if listed else ""
    return (
        f"{facts['old_rows']:,} old rows, {facts['new_rows']:,} new ones of which {facts['labelled']:,} have a label"
        f"{counts}, {facts['columns']:,} columns of numbers; {len(items)} resamples"
    )


def _facts(
    config: DictConfig,
    options: Options,
    rows: TaskRows,
    question: Question,
    by_size: dict[int | None, list[Measured]],
    metrics: list[str],
    folder: Path,
    jobs: int,
) -> dict[str, Any]:
    """Return what `answer.json` holds; the model is refitted and written on the way."""
    main = list(by_size.values())[-1]
    verdicts = {size: judge(found, metrics[0]) for size, found in by_size.items()}
    verdict = verdicts[list(by_size)[-1]]
    if verdict is None:
        raise UserError(f"{metrics[0]} has no value on any test side; label more rows, or name another --metric")
    # What a loss on unseen rows says counts for more than the gate on all of them.
    old_data = "never" if verdict.kind in (HURT, WOULD_HURT) or verdict.is_loss else "gate"
    model = refit(question, rows, config, folder, old_data=old_data, jobs=jobs)
    curve = [each for each in verdicts.values() if each is not None] if len(by_size) > 1 else []
    data = config.data
    return {
        "format": FORMAT,
        "id": folder.name,
        "question": {"old": list(data.sources), "new": data.target, "label": data.label} | _asked(options),
        "verdict": verdict.as_dict() | {"said": verdict.sentence(use_of(model)), "use": _row_of(model)},
        "metrics": metrics,
        "table": rows_of(main, metrics[0], metrics, dict(model.weights)),
        "unlabelled": unlabelled_rows(main, metrics),
        "calibration": _calibration(main, rows, WITHOUT if old_data == "never" else WITH),
        "curve": points_of(curve),
        "curve_left_out": [size for size in options.shots if size is not None and size not in by_size],
        "curve_said": said(curve) if curve else "",
        "resamples": {
            "count": len(main),
            "train": round(float(np.mean([each.train for each in main]))),
            "test": round(float(np.mean([each.test for each in main]))),
            "gate_open": sum(each.opened for each in main),
        },
        "model": {"weights": dict(model.weights), "old_data": old_data, "uses_old_data": model.uses_old_data},
        "rows": rows.facts,
        "columns_left_out": rows.columns_left_out,
        "remarks": rows.remarks,
        "environment": dict(environment()),
        "config": OmegaConf.to_container(config, resolve=True),
    }


def _asked(options: Options) -> dict[str, Any]:
    return {
        "shots": ["all" if size is None else size for size in options.shots],
        "balanced": options.balanced,
        "group": options.group,
        "resamples": options.resamples,
    }


def _row_of(model: Refitted) -> str:
    return WITH if model.uses_old_data else WITHOUT


def use_of(model: Refitted) -> str:
    """Return what to use: the row of the refitted model, and the parts that weigh most in it."""
    heaviest = [name for name in list(model.weights)[:2]]
    return f"`{_row_of(model)}` (mostly {' and '.join(heaviest)})"


def _calibration(found: Sequence[Measured], rows: TaskRows, used: str) -> dict[str, Any]:
    """Means and figures of what the answer that is used says of the test rows of all resamples together."""
    outputs = torch.tensor([each for one in found for each in one.outputs[used]], dtype=torch.float64)
    places = [place for one in found for place in one.places]
    label = rows.label[places]
    probabilities = judged(rows.outcome, outputs, label, row=places)
    said = {} if probabilities is None else {"line": probabilities.line(), "warning": probabilities.warning()}
    own = {} if probabilities is None else {"probabilities": probabilities.as_dict()}
    return {"means": means(rows.outcome, outputs, label)} | said | own


def _write(answer: Answer) -> None:
    """Write the files of an answer; `answer.json`, which says that it is finished, comes last."""
    write_atomically(answer.folder / TABLE_FILE, answer.table.to_csv(index=False))
    write_atomically(answer.folder / PAGE_FILE, page(answer))
    plot_rows(answer, answer.folder / PLOT_FILE)
    if answer.facts["curve"]:
        plot_curve(answer, answer.folder / CURVE_FILE)
    answer.save()
