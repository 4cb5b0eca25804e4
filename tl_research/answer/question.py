"""From a configuration and options to what every resample is measured with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import partial
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import nn

from tl_research.answer.measured import Question
from tl_research.answer.options import Options
from tl_research.answer.rows import TaskRows, read_rows
from tl_research.metrics.left_out import parts_of
from tl_research.portfolio.head import PortfolioConfig
from tl_research.portfolio.study import SourceLearners, learn_source
from tl_research.registry import METRICS

#: Draws of the folds within a training side, where `method.repeats` does not say: the resamples average over draws
#: already. The refitted model draws them as often as the portfolio does.
REPEATS = 1


def read_task(config: DictConfig, options: Options, *, also: Sequence[str] = ()) -> TaskRows:
    """Read the rows of a question; `also` are columns that are kept beside those of the options."""
    kept = [*options.keep_columns, *also]
    return read_rows(config, group=options.group, most_labelled=options.most_labelled, keep_columns=kept)


def options_of(config: DictConfig) -> PortfolioConfig:
    """Return the options of the portfolio of a run.

    They are a class of their own: that of the method, which has them too, has whoever reads it import Lightning.
    """
    method: Any = OmegaConf.to_object(config.method)
    return PortfolioConfig(**{each.name: getattr(method, each.name) for each in fields(PortfolioConfig)})


def question_of(
    config: DictConfig,
    rows: TaskRows,
    metric: str,
    *,
    options: Options,
    asked: Sequence[str] = (),
    learnt: Callable[[Question, str, nn.Module], None] = lambda question, name, learner: None,
) -> Question:
    """Fit the learners of the source, and put together what every resample needs.

    Args:
        config: of a run of `portfolio`.
        rows: from `read_task`.
        metric: that is compared.
        options: of the question.
        asked: further metrics; those on request are measured.
        learnt: called with the question, a learner's name and the learner as soon as it is fitted to the source.
    """
    portfolio = options_of(config)
    measured = replace(portfolio, repeats=portfolio.repeats or REPEATS)
    part = parts_of(rows.groups, seed=config.seed)
    on_request = tuple(name for name in dict.fromkeys((metric, *asked)) if name not in METRICS)
    question = Question(
        measured,
        rows.source,
        rows.x,
        rows.label,
        rows.outcome,
        SourceLearners({}, 0),
        part,
        metric,
        asked=on_request,
        prior=tuple(portfolio.prior or ()),
        balanced=options.balanced and any(size is not None for size in options.shots),
        group=rows.groups,
        seed=config.seed,
    )
    kind, width = rows.outcome.kind, rows.outcome.width
    learners = learn_source(
        portfolio, kind, rows.source, classes=width, seed=config.seed, learnt=partial(learnt, question)
    )
    return replace(question, learners=learners)
