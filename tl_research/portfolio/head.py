"""`PortfolioHead`: parts fitted to old data and few labels, calibrated and combined by what they say of unseen rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tl_research.alignment.base import Rows
from tl_research.config import added_later
from tl_research.config.bounds import Group, at_least, one_of
from tl_research.errors import ConfigError
from tl_research.nn.fitted import Fitted
from tl_research.portfolio.combine import Calibration, Weights, bagged_weights, calibrate, gain
from tl_research.portfolio.crossfit import cross_fitted, repeats_of
from tl_research.portfolio.final import FinalCalibration, choose_calibrator
from tl_research.portfolio.learners import make_learner
from tl_research.portfolio.mixtures import MIXTURES, Mixture, as_labels
from tl_research.portfolio.parts import make_parts, score_columns, source_learners
from tl_research.portfolio.prior import PriorShift, fit_shift

OLD_DATA = ("gate", "always", "never")
#: Labelled target rows below which nothing can be cross-fitted.
FEWEST_ROWS = 4
#: A part of less weight is left out; the others have its weight.
LEAST_WEIGHT = 0.01


@dataclass
class PortfolioConfig(Group):
    """Options of `PortfolioHead`."""

    # gate: the parts with the old data where they are better on unseen rows; always; never
    old_data: str = one_of(OLD_DATA, default="gate")
    source_rows: int = at_least(1, default=20_000)  # most source rows that are read, drawn at random
    trees: int = at_least(1, default=300)  # per forest
    repeats: int | None = at_least(1, default=None)  # draws of the folds; null: up to 4 where the rows are few
    # of the combination, on rows that it has not seen: auto chooses among none, temperature, beta and isotonic
    calibration: str = one_of(("auto", "never"), default="auto", added_later=True)
    # class shares of the market: 0.15 (of the second of two), yes=0.15, [0.85, 0.15], em; null: those of the labels
    prior: list[str] | None = added_later(None)


class Voice(Fitted):
    """What the combination does with one part: its weight (), slope () and bias (outputs,); no buffers, no voice."""

    def take(self, weight: float, calibration: Calibration, device: torch.device) -> None:
        """Keep the part's weight and calibration."""
        numbers = {"weight": weight, "slope": calibration.slope, "bias": calibration.bias}
        self.keep(
            **{name: torch.as_tensor(value, dtype=torch.float64, device=device) for name, value in numbers.items()}
        )

    def forward(self, said: Tensor, mixture: Mixture) -> Tensor:
        """Return what the part adds to the answer for its outputs (n, outputs), float64."""
        return self.weight * mixture.moved(said.double(), self.slope, self.bias)


class PortfolioHead(nn.Module):
    """Simple learners × ways to use the old data; a convex combination of what they say.

    Every part k (`parts.make_parts`) is cross-fitted on the labelled target rows and calibrated on what it says of rows
    that it has not seen, p_k = softmax(s_k z_k + b_k). The answer is Σ_k w_k p_k, where w minimises the log loss on
    those rows, averaged over bootstrap samples; of numbers it is Σ_k w_k (s_k z_k + b_k), and w minimises the squared
    error. The parts are then fitted to all labelled rows. With `old_data=gate` the parts that learn from the source
    take part only where the combination with them has the lower mean loss on rows outside the bootstrap samples.

    The combination is calibrated once more on those rows (`final.choose_calibrator`), and `correct_prior` moves its
    probabilities to other class shares than those of the shown labels.

    With fewer than `FEWEST_ROWS` labelled target rows nothing is cross-fitted: it is the mean of the source's learners,
    with `old_data=never` of the target's.

    Args:
        config: options.
        kind: of the outcome, `class` or `regression`.

    Reference:
        van der Laan, Polley & Hubbard 2007, Statistical Applications in Genetics 6(1), article 25 (super learner).
    """

    def __init__(self, config: PortfolioConfig, kind: str):
        super().__init__()
        self.config, self.kind, self.mixture = config, kind, MIXTURES[kind]
        self.facts: dict[str, Any] = {}
        self.final, self.shift = FinalCalibration(kind), PriorShift()
        #: Labels whose shares the probabilities are right under; what the combination says of unseen rows, and theirs.
        self.believed: Tensor | None = None
        self.unseen: tuple[np.ndarray, np.ndarray] | None = None
        self._make(columns=None)

    def _learner(self, name: str, rows: int) -> nn.Module:
        return make_learner(name, self.kind, rows, trees=self.config.trees)

    def _make(self, columns: int | None) -> None:
        old_data = self.config.old_data != "never"
        self.learners = nn.ModuleDict({name: self._learner(name, 1) for name in source_learners(columns)})
        if not old_data:
            self.learners = nn.ModuleDict()
        self.parts = nn.ModuleDict(make_parts(self._learner, self.kind, old_data=old_data, columns=columns))
        self.voices = nn.ModuleDict({name: Voice() for name in self.parts})

    def fit_transfer(self, source: Rows, shown: Rows, *, classes: int, seed: int) -> None:
        """Fit to source rows (n, d) and labelled target rows (k, d).

        `facts` then says of each part its weight and its loss on unseen rows, and what the old data gained.

        Raises:
            DataError: rows that a learner refuses.
            ConfigError: old_data=never without a labelled row.
        """
        if self.config.old_data == "never" and len(shown.x) == 0:
            raise ConfigError("old_data: never wants target rows with labels, and there are none")
        self._make(shown.x.shape[1])
        self.final, self.shift = FinalCalibration(self.kind), PriorShift()
        self.believed = shown.label if len(shown.x) >= FEWEST_ROWS or not self.learners else source.label
        source = _drawn(source, self.config.source_rows, seed)
        self.facts = {"source_rows": len(source.x) if self.learners else 0, "target_rows": len(shown.x)}
        for name, learner in self.learners.items():
            self.learners[name] = learner = self._learner(name, len(source.x))
            learner.fit(source.x, source.label, source.weight, classes=classes, seed=seed)
        if len(shown.x) < FEWEST_ROWS:
            self._equal_voices(source, shown, classes, seed)
            return
        repeats = self.config.repeats or repeats_of(len(shown.x))
        mixture, label = self.mixture, as_labels(shown.label)
        of_parts = cross_fitted(
            mixture, self.parts, self.learners, source, shown, classes=classes, repeats=repeats, seed=seed
        )
        said = {name: rows.cpu().numpy() for name, rows in of_parts.items()}
        calibrations = {name: calibrate(mixture, rows, label) for name, rows in said.items()}
        calibrated = {name: mixture.calibrated(rows, *calibrations[name]) for name, rows in said.items()}
        losses = {name: float(mixture.row_losses(rows, label).mean()) for name, rows in calibrated.items()}
        weights = self._weights(calibrated, label, seed)
        for name, weight in weights.items():
            self.voices[name].take(weight, calibrations[name], source.x.device)
        heard = np.stack([calibrated[name] for name in weights])
        self.unseen = mixture.combined(heard, np.array(list(weights.values()))), label
        self._calibrate(seed)
        self.facts |= {
            "repeats": repeats,
            "parts": {
                name: {"weight": round(weights.get(name, 0.0), 4), "loss": loss} for name, loss in losses.items()
            },
        }
        self._keep_heard(source, shown, classes, seed)

    def _weights(self, calibrated: dict[str, np.ndarray], label: np.ndarray, seed: int) -> dict[str, float]:
        """Return part -> weight of those that are heard, after the gate."""
        without = [name for name in calibrated if not self.parts[name].reads_source]
        found: dict[bool, Weights] = {}
        for old_data in (False, True):
            names = list(calibrated) if old_data else without
            stacked = np.stack([calibrated[name] for name in names])
            found[old_data] = bagged_weights(self.mixture, stacked, label, seed=seed)
        use = self.config.old_data == "always"
        if self.config.old_data == "gate":
            gained = gain(found[True], found[False])
            use = gained.mean > 0
            self.facts["old_data"] = {"used": use, "gain": gained.mean, "standard_error": gained.error}
        names = list(calibrated) if use else without
        weight = found[use].weight
        heard = np.where(weight >= LEAST_WEIGHT, weight, 0.0)
        heard = heard / heard.sum() if heard.any() else weight
        return {name: float(value) for name, value in zip(names, heard, strict=True) if value > 0}

    def _calibrate(self, seed: int) -> None:
        """Calibrate the combination on what it says of rows that no part has seen."""
        if self.config.calibration == "never":
            return
        choice = choose_calibrator(self.kind, *self.unseen, seed=seed)
        self.final.take(choice, self.believed)
        self.facts["calibration"] = {"chosen": choice.name, "loss": choice.loss}

    def correct_prior(self, prior: list[str], unlabelled: Tensor, *, names: tuple[str, ...]) -> None:
        """Correct the probabilities for class shares that are given, or estimated from rows without labels.

        Args:
            prior: see `portfolio.prior.fit_shift`.
            unlabelled: (m, d) target rows, which `em` reads.
            names: of the classes.

        Raises:
            ConfigError: shares that are none; the message begins with `prior`.
        """
        self.shift = PriorShift()
        self.facts["prior"] = fit_shift(
            self.shift, prior, self.believed, said_of_unlabelled=lambda: self(unlabelled), names=names
        )

    def _equal_voices(self, source: Rows, shown: Rows, classes: int, seed: int) -> None:
        """Hear what can do without cross-fitting alike: the source's learners, or without old data the target's."""
        as_it_is = Calibration(1.0, np.zeros(self.mixture.outputs(classes)))
        names = [name for name, part in self.parts.items() if not (part.reads_source and part.reads_target)]
        names = [name for name in names if self.parts[name].reads_source] or names
        for name in names:
            self.voices[name].take(1 / len(names), as_it_is, source.x.device)
        self._keep_heard(source, shown, classes, seed)

    def _keep_heard(self, source: Rows, shown: Rows, classes: int, seed: int) -> None:
        """Fit the heard parts to all labelled rows, and forget the others."""
        scores = {name: learner(shown.x) for name, learner in self.learners.items()}
        columns = score_columns(scores, shown.x)
        for name, voice in self.voices.items():
            if voice.is_fitted:
                self.parts[name].fit(source, shown, columns, classes=classes, seed=seed)
        self._forget()

    def _forget(self) -> None:
        heard = {name: part for name, part in self.parts.items() if self.voices[name].is_fitted}
        self.parts = nn.ModuleDict(heard)
        self.voices = nn.ModuleDict({name: self.voices[name] for name in heard})
        wanted = {name for part in heard.values() for name in part.wanted_scores(tuple(self.learners))}
        self.learners = nn.ModuleDict({name: learner for name, learner in self.learners.items() if name in wanted})

    def forward(self, features: Tensor) -> Tensor:
        """Return log probabilities (n, classes), or numbers (n, 1), for rows (n, d)."""
        scores = {name: learner(features) for name, learner in self.learners.items()}
        total = sum(self.voices[name](part(features, scores), self.mixture) for name, part in self.parts.items())
        return self.shift(self.final(self.mixture.from_sum(total))).to(features.dtype)

    def _load_from_state_dict(self, state_dict, prefix, *args, **kwargs):
        # Before the children are loaded, which follows: those that the state has. A part may have no tensor.
        self._make(columns=None)
        for group in ("parts", "voices", "learners"):
            begin = f"{prefix}{'voices' if group == 'parts' else group}."
            there = {key[len(begin) :].split(".")[0] for key in state_dict if key.startswith(begin)}
            own = getattr(self, group)
            setattr(self, group, nn.ModuleDict({name: own[name] for name in own if name in there}))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def _drawn(rows: Rows, most: int, seed: int) -> Rows:
    if len(rows.x) <= most:
        return rows
    place = torch.from_numpy(np.sort(np.random.default_rng(seed).permutation(len(rows.x))[:most])).to(rows.x.device)
    return Rows(*(None if part is None else part[place] for part in rows))
