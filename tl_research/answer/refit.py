"""The model of an answer: refitted to every row of both domains, in a file as a run writes it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from tl_research.answer.measured import Question
from tl_research.answer.question import options_of
from tl_research.answer.rows import TaskRows
from tl_research.answer.workers import cross_fitted, one_thread
from tl_research.portfolio.study import study
from tl_research.registry import ENCODERS
from tl_research.storage.checkpoints import MODEL_FORMAT, write_model_file


class Refitted(NamedTuple):
    """What was refitted.

    Fields:
        weights: part -> its weight; those that are heard.
        uses_old_data: whether parts that learn from the old files are among them.
    """

    weights: Mapping[str, float]
    uses_old_data: bool


def refit(
    question: Question, rows: TaskRows, config: DictConfig, folder: Path, *, old_data: str, jobs: int = 1
) -> Refitted:
    """Fit the portfolio to all labelled rows, and write `model.ckpt`, which `Predictor.load` reads.

    Args:
        question: with the source's learners, fitted.
        rows: from `read_rows`.
        config: of the run whose model it is.
        folder: of the answer.
        old_data: `gate`, `always` or `never`.
        jobs: processes; what is refitted does not depend on it.
    """
    outcome, options = rows.outcome, options_of(config)
    sides = question.source, question.labelled, question.learners
    done = cross_fitted(question, options, jobs=jobs)
    # Threads of boosters wait for each other in a loop: beside other processes they take a hundred times as long.
    with one_thread():
        found = study(options, outcome.kind, *sides, classes=outcome.width, seed=question.seed, done=done)
        if question.prior:
            found.correct_prior(list(question.prior), rows.x, names=outcome.names)
        head = found.head(old_data)
    # As a run's module has them. The module itself would import Lightning, for all that training takes.
    encoder = ENCODERS.get(config.encoder.name).target(OmegaConf.to_object(config.encoder), rows.transform.spec)
    module = nn.ModuleDict({"encoder": encoder, "head": head})
    content: dict[str, Any] = {
        "format": MODEL_FORMAT,
        "epoch": 0,
        "model": {name: value.detach().cpu() for name, value in module.state_dict().items()},
        "config": OmegaConf.to_container(config, resolve=True),
        "transform": rows.transform.state_dict(),
        "schema": rows.schema and rows.schema.state_dict(),
        "outcome": outcome.state_dict(),
    }
    write_model_file(folder, content)
    weights = {name: float(torch.as_tensor(voice.weight)) for name, voice in head.voices.items()}
    return Refitted(
        dict(sorted(weights.items(), key=lambda item: -item[1])), any(found.reads_source(name) for name in weights)
    )
