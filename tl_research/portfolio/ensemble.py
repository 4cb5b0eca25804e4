"""`Ensemble`: fitted parts whose calibrated outputs are added up with weights; what a portfolio's file holds."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tl_research.nn.fitted import Fitted
from tl_research.portfolio.combine import Calibration
from tl_research.portfolio.final import FinalCalibration
from tl_research.portfolio.learners import make_learner
from tl_research.portfolio.mixtures import MIXTURES, Mixture
from tl_research.portfolio.part import Scores
from tl_research.portfolio.parts import make_parts, source_learners
from tl_research.portfolio.prior import PriorShift, fit_shift


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


class Ensemble(nn.Module):
    """Σ_k w_k p_k over the parts that are heard, p_k = softmax(s_k z_k + b_k); of numbers Σ_k w_k (s_k z_k + b_k).

    Of classes the sum is calibrated once more (`final`) and moved to other class shares (`shift`), where these are
    fitted.

    It is made with every part there is, unfitted, to load a file into; `hear` puts fitted ones in their place.

    Args:
        kind: of the outcome, `class` or `regression`.
    """

    def __init__(self, kind: str):
        super().__init__()
        self.kind, self.mixture = kind, MIXTURES[kind]
        #: What the record says of it.
        self.facts: dict[str, Any] = {}
        #: Labels (n,) whose shares its probabilities are right under.
        self.believed: Tensor | None = None
        self._make_all()

    def _make_all(self) -> None:
        def learner(name: str, rows: int, quick: bool = False) -> nn.Module:
            return make_learner(name, self.kind, rows)

        self.learners = nn.ModuleDict({name: learner(name, 1) for name in source_learners()})
        self.parts = nn.ModuleDict(make_parts(learner, self.kind, old_data=True))
        self.voices = nn.ModuleDict({name: Voice() for name in self.parts})
        self.final, self.shift = FinalCalibration(self.kind), PriorShift()

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

    def hear(self, learners: dict[str, nn.Module], parts: dict[str, nn.Module], voices: dict[str, Voice]) -> None:
        """Take fitted parts with their voices, and of the source's learners those that the parts read."""
        wanted = {name for part in parts.values() for name in part.wanted_scores(tuple(learners))}
        self.learners = nn.ModuleDict({name: learner for name, learner in learners.items() if name in wanted})
        self.parts, self.voices = nn.ModuleDict(parts), nn.ModuleDict(voices)

    def forward(self, features: Tensor) -> Tensor:
        """Return log probabilities (n, classes), or numbers (n, 1), for rows (n, d)."""
        scores = Scores.of(self.learners, features)
        said = {name: part(features, scores) for name, part in self.parts.items()}
        return self.combined(said).to(features.dtype)

    def combined(self, said: dict[str, Tensor]) -> Tensor:
        """Return the answer, float64, for what at least every heard part says."""
        total = sum(voice(said[name], self.mixture) for name, voice in self.voices.items())
        return self.shift(self.final(self.mixture.from_sum(total)))

    def _load_from_state_dict(self, state_dict, prefix, *args, **kwargs):
        # Before the children are loaded, which follows: those that the state has. A part may have no tensor.
        self._make_all()
        for group in ("parts", "voices", "learners"):
            begin = f"{prefix}{'voices' if group == 'parts' else group}."
            there = {key[len(begin) :].split(".")[0] for key in state_dict if key.startswith(begin)}
            own = getattr(self, group)
            setattr(self, group, nn.ModuleDict({name: own[name] for name in own if name in there}))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
