"""`study`: every part cross-fitted on the labelled target rows, and the answers with and without the old data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from tl_research.alignment.base import Rows
from tl_research.errors import ConfigError
from tl_research.portfolio.combine import Calibration, Weights, bagged_weights, calibrate, gain
from tl_research.portfolio.crossfit import cross_fitted, folds_in, repeats_of, said_in
from tl_research.portfolio.draws import drawn
from tl_research.portfolio.ensemble import Ensemble, Voice
from tl_research.portfolio.final import NONE, Choice, choose_calibrator
from tl_research.portfolio.learners import make_learner
from tl_research.portfolio.mixtures import MIXTURES, as_labels
from tl_research.portfolio.part import Part, Scores, score_columns
from tl_research.portfolio.parts import make_parts, source_learners
from tl_research.portfolio.prior import PriorShift

OLD_DATA = ("gate", "always", "never")
#: Labelled target rows below which nothing can be cross-fitted.
FEWEST_ROWS = 4
#: A part of less weight is left out; the others have its weight.
LEAST_WEIGHT = 0.01
#: Most rows that a tree of a forest is grown on, of the source and of the target.
SOURCE_TREE_ROWS, TARGET_TREE_ROWS = 5_000, 20_000
#: Trees of a forest that is fitted for what it says of a fold alone.
QUICK_TREES = 100
#: As facts say whether the old data are used.
SAID = {True: "with", False: "without"}


class Options(Protocol):
    """The options of `PortfolioConfig`."""

    old_data: str
    source_rows: int
    trees: int
    repeats: int | None
    calibration: str


class SourceLearners:
    """Learners of the source alone, fitted once; many studies may share them, in other processes too.

    Args:
        learners: fitted, by name; none where no source row may be read.
        rows: number of source rows that they have read.
    """

    def __init__(self, learners: Mapping[str, nn.Module], rows: int):
        self.learners, self.rows = dict(learners), rows

    def scores(self, x: Tensor) -> Scores:
        """Return what each learner says of rows (n, d)."""
        return Scores.of(self.learners, x)


def learn_source(
    config: Options,
    kind: str,
    source: Rows,
    *,
    classes: int,
    seed: int,
    learnt: Callable[[str, nn.Module], None] = lambda name, learner: None,
) -> SourceLearners:
    """Fit the learners of the source alone.

    Args:
        config: `old_data=never` fits none; at most `source_rows` rows are read, drawn by the seed.
        kind: of the outcome, `class` or `regression`.
        source: (n, d) rows of the old domains with labels.
        classes: number of classes.
        seed: of the draw and the learners.
        learnt: called with each learner as soon as it is fitted, the linear one first, which takes least.

    Raises:
        DataError: rows that a learner refuses.
    """
    if config.old_data == "never":
        return SourceLearners({}, 0)
    source = drawn(source, config.source_rows, seed)
    learners = {}
    for name in source_learners(source.x.shape[1]):
        learners[name] = make_learner(name, kind, len(source.x), trees=config.trees, tree_rows=SOURCE_TREE_ROWS)
        learners[name].fit(source.x, source.label, source.weight, classes=classes, seed=seed)
        learnt(name, learners[name])
    return SourceLearners(learners, len(source.x))


def study(
    config: Options,
    kind: str,
    source: Rows,
    shown: Rows,
    learners: SourceLearners,
    *,
    classes: int,
    seed: int,
    done: Mapping[tuple[int, str], Tensor] | None = None,
) -> Study:
    """Cross-fit every part on the labelled target rows, calibrate it, and weigh the parts with and without old data.

    Args:
        config: options of the portfolio; `old_data=never` leaves the parts out that learn from the source.
        kind: of the outcome, `class` or `regression`.
        source: (n, d) rows of the old domains with labels; at most `source_rows` are read, drawn by the seed.
        shown: (k, d) target rows with labels that may be learned from.
        learners: of `learn_source`.
        classes: number of classes.
        seed: of the draw, the folds, the parts and the bootstrap.
        done: (repeat, part) -> `said_in_repeat`, where other processes have computed it for all of `rounds`.

    Raises:
        DataError: rows that a learner refuses.
        ConfigError: old_data=never without a labelled row.
    """
    if config.old_data == "never" and len(shown.x) == 0:
        raise ConfigError("old_data: never wants target rows with labels, and there are none")
    source = drawn(source, config.source_rows, seed)
    return Study(config, kind, source, shown, learners, classes=classes, seed=seed, done=done)


def rounds(config: Options, kind: str, shown: Rows) -> list[tuple[int, str]]:
    """Return each repeat and part that a study cross-fits; none where its rows are too few for that."""
    if len(shown.x) < FEWEST_ROWS:
        return []
    repeats = config.repeats or repeats_of(len(shown.x))
    return [(repeat, name) for repeat in range(repeats) for name in _parts_of(config, kind, shown)]


def said_in_repeat(
    config: Options,
    kind: str,
    source: Rows,
    shown: Rows,
    learners: SourceLearners,
    *,
    repeat: int,
    name: str,
    classes: int,
    seed: int,
) -> Tensor:
    """Return what one part says of the shown rows in one repeat of the folds: a share of the work of `study`.

    Args:
        config, kind, source, shown, learners, classes, seed: as of `study`.
        repeat, name: one of `rounds`.
    """
    scores = learners.scores(shown.x)
    return said_in(
        folds_in(repeat, MIXTURES[kind], shown, seed=seed),
        _parts_of(config, kind, shown)[name],
        scores,
        score_columns(scores, shown.x),
        drawn(source, config.source_rows, seed),
        shown,
        classes=classes,
        seed=seed,
    )


def _parts_of(config: Options, kind: str, shown: Rows) -> dict[str, Part]:
    def make(name: str, rows: int, quick: bool = False) -> nn.Module:
        trees = min(QUICK_TREES, config.trees) if quick else config.trees
        return make_learner(name, kind, rows, trees=trees, tree_rows=TARGET_TREE_ROWS)

    return make_parts(make, kind, old_data=config.old_data != "never", columns=shown.x.shape[1])


class Study:
    """Parts that were cross-fitted and calibrated on the same rows, and what is combined of them; made by `study`.

    With fewer than `FEWEST_ROWS` labelled rows nothing is cross-fitted, and parts are heard as they are, all alike:
    with old data those of the source alone, without it those of the target alone.

    Attributes:
        names: of the parts.
        facts: `repeats` of the folds, each part's `losses` on unseen rows (log loss, half the squared error of
            numbers), `weights` of the parts and the `calibration` of their sum `with` and `without` the old data, and
            the old data's `gain` with its `standard_error`; empty where nothing was cross-fitted.
        unseen: `with` and `without`: what the combination says of shown rows that its fits have not seen, before it is
            calibrated (rows predicted, outputs).
        unseen_label: their labels (rows predicted,).
    """

    def __init__(
        self,
        config: Options,
        kind: str,
        source: Rows,
        shown: Rows,
        learners: SourceLearners,
        *,
        classes: int,
        seed: int,
        done: Mapping[tuple[int, str], Tensor] | None = None,
    ):
        self.config, self.kind, self.mixture = config, kind, MIXTURES[kind]
        self.source, self.shown, self.learners = source, shown, learners
        self.classes, self.seed = classes, seed
        self._parts: dict[str, Part] = _parts_of(config, kind, shown)
        self._refitted: set[str] = set()
        self._columns: Tensor | None = None
        self._heads: dict[bool, Ensemble] = {}
        #: Rows that were asked for last, what the source's learners say of them, and each part.
        self._last: tuple[Tensor, Scores, dict[str, Tensor]] | None = None
        self.facts: dict[str, Any] = {}
        self.unseen: dict[str, np.ndarray] = {}
        self.unseen_label: np.ndarray | None = None
        self._shift = PriorShift()
        self._finals: dict[bool, Choice] = {}
        self._calibrations = dict.fromkeys(self._parts, Calibration(1.0, np.zeros(self.mixture.outputs(classes))))
        self._weights = self._cross_fit(done) if len(shown.x) >= FEWEST_ROWS else self._equal_weights()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parts."""
        return tuple(self._parts)

    def reads_source(self, name: str) -> bool:
        """Return whether a part learns from the old data."""
        return self._parts[name].reads_source

    def reads_target(self, name: str) -> bool:
        """Return whether a part learns from the labelled target rows."""
        return self._parts[name].reads_target

    def uses_old_data(self, old_data: str) -> bool:
        """Return whether the answer of `gate`, `always` or `never` hears the parts that learn from the source.

        The gate is open where the gain on unseen rows is above -`Mixture.doubt` of its standard errors.
        """
        if old_data != "gate":
            return old_data == "always"
        if "gain" not in self.facts:
            # Without cross-fitting the gate has nothing to judge by, and the old data are more than a handful of rows.
            return True
        return self.facts["gain"] > -self.mixture.doubt * self.facts["standard_error"]

    def head(self, old_data: str) -> Ensemble:
        """Return the answer of `gate`, `always` or `never`; the parts that it hears are fitted to all shown rows.

        Answers share their parts. `PortfolioHead` and a model file take it as it is (`state_dict`).

        Raises:
            ConfigError: the study has no parts with the old data, or none without.
        """
        use = self.uses_old_data(old_data)
        if use not in self._weights:
            raise ConfigError(f"old_data: {old_data} has no part to hear in a study of old_data={self.config.old_data}")
        if use not in self._heads:
            self._heads[use] = self._ensemble(self._weights[use], self._finals.get(use, Choice(NONE, {}, {})))
        return self._heads[use]

    def outputs(self, name: str, x: Tensor) -> Tensor:
        """Return what one part says of rows (n, d), calibrated: log probabilities (n, C), or numbers (n, 1).

        The part is fitted to all shown rows. What was said of the last `x` is kept.
        """
        slope, bias = self._calibrations[name]
        moved = self.mixture.moved(
            self._said(name, x).double(), torch.tensor(slope, dtype=torch.float64), torch.as_tensor(bias).to(x.device)
        )
        return self._shift(self.mixture.from_sum(moved)).to(x.dtype)

    def correct_prior(self, prior: list[str], unlabelled: Tensor, *, names: tuple[str, ...]) -> None:
        """Correct every answer and part for the same class shares; see `Ensemble.correct_prior`.

        Shares that are estimated are those that the answer of `config.old_data` estimates.
        """
        answer = self.head(self.config.old_data)
        answer.correct_prior(prior, unlabelled, names=names)
        self._shift, self.facts["prior"] = answer.shift, answer.facts["prior"]
        for head in self._heads.values():
            head.shift = self._shift

    def combined(self, old_data: str, x: Tensor) -> Tensor:
        """Return what `head(old_data)` says of rows (n, d), without asking a part twice of the same `x`."""
        head = self.head(old_data)
        return head.combined({name: self._said(name, x) for name in head.voices}).to(x.dtype)

    def _said(self, name: str, x: Tensor) -> Tensor:
        if self._last is None or self._last[0] is not x:
            self._last = (x, self.learners.scores(x), {})
        _, scores, said = self._last
        if name not in said:
            said[name] = self._part(name)(x, scores)
        return said[name]

    def _part(self, name: str) -> Part:
        """Return a part, fitted to all shown rows."""
        if name not in self._refitted:
            if self._columns is None:
                self._columns = score_columns(self.learners.scores(self.shown.x), self.shown.x)
            self._parts[name].fit(self.source, self.shown, self._columns, classes=self.classes, seed=self.seed)
            self._refitted.add(name)
        return self._parts[name]

    def _ensemble(self, weights: Mapping[str, float], final: Choice) -> Ensemble:
        voices = {name: Voice() for name in self._parts if name in weights}
        for name, voice in voices.items():
            voice.take(weights[name], self._calibrations[name], self.source.x.device)
        head = Ensemble(self.kind)
        head.hear(self.learners.learners, {name: self._part(name) for name in voices}, voices)
        head.final.take(final, self.source.x.device)
        few = len(self.shown.x) < FEWEST_ROWS and self.learners.learners
        head.shift, head.believed = self._shift, (self.source if few else self.shown).label
        return head

    def _equal_weights(self) -> dict[bool, dict[str, float]]:
        alone = {
            True: [name for name in self.names if self.reads_source(name) and not self.reads_target(name)],
            False: [name for name in self.names if not self.reads_source(name) and len(self.shown.x)],
        }
        return {use: dict.fromkeys(names, 1 / len(names)) for use, names in alone.items() if names}

    def _cross_fit(self, done: Mapping[tuple[int, str], Tensor] | None) -> dict[bool, dict[str, float]]:
        repeats = self.config.repeats or repeats_of(len(self.shown.x))
        mixture = self.mixture
        places, of_parts = cross_fitted(
            mixture, self._parts, self.learners.learners, self.source, self.shown,
            classes=self.classes, repeats=repeats, seed=self.seed, done=done,
        )  # fmt: skip
        label = self.unseen_label = as_labels(self.shown.label[places])
        said = {name: rows.cpu().numpy() for name, rows in of_parts.items()}
        self._calibrations = {name: calibrate(mixture, rows, label) for name, rows in said.items()}
        calibrated = {name: mixture.calibrated(rows, *self._calibrations[name]) for name, rows in said.items()}
        found = {False: self._weigh(calibrated, label, [name for name in self.names if not self.reads_source(name)])}
        self.facts = {
            "repeats": repeats,
            "rows_predicted": len(places),
            "losses": {name: float(mixture.row_losses(rows, label).mean()) for name, rows in calibrated.items()},
        }
        if self.config.old_data != "never":
            found[True] = self._weigh(calibrated, label, list(self.names))
            gained = gain(found[True], found[False])
            self.facts |= {"gain": gained.mean, "standard_error": gained.error}
        weights = {use: self._heard(found[use], use) for use in found}
        for use, each in weights.items():
            heard = np.stack([calibrated[name] for name in each])
            self.unseen[SAID[use]] = mixture.combined(heard, np.array(list(each.values())))
            if self.config.calibration == "auto":
                self._finals[use] = choose_calibrator(self.kind, self.unseen[SAID[use]], label, seed=self.seed)
        self.facts["weights"] = {SAID[use]: each for use, each in weights.items()}
        chosen = {use: self._finals.get(use, Choice(NONE, {}, {})) for use in weights}
        self.facts["calibration"] = {
            SAID[use]: {"chosen": each.name, "loss": each.loss} for use, each in chosen.items()
        }
        return weights

    def _weigh(self, calibrated: Mapping[str, np.ndarray], label: np.ndarray, names: list[str]) -> Weights:
        return bagged_weights(self.mixture, np.stack([calibrated[name] for name in names]), label, seed=self.seed)

    def _heard(self, found: Weights, use: bool) -> dict[str, float]:
        """Return part -> weight of the parts that are heard."""
        names = [name for name in self.names if use or not self.reads_source(name)]
        heard = np.where(found.weight >= LEAST_WEIGHT, found.weight, 0.0)
        heard = heard / heard.sum() if heard.any() else found.weight
        return {name: float(value) for name, value in zip(names, heard, strict=True) if value > 0}
