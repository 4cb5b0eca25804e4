"""`PortfolioHead`: parts fitted to old data and few labels, calibrated and combined by what they say of unseen rows."""

from __future__ import annotations

from dataclasses import dataclass

from tl_research.alignment.base import Rows
from tl_research.config import added_later
from tl_research.config.bounds import Group, at_least, one_of
from tl_research.portfolio.ensemble import Ensemble
from tl_research.portfolio.study import OLD_DATA, Study, learn_source, study


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


class PortfolioHead(Ensemble):
    """Simple learners × ways to use the old data; a convex combination of what they say.

    Every part k (`parts.make_parts`) is cross-fitted on the labelled target rows and calibrated on what it says of rows
    that it has not seen, p_k = softmax(s_k z_k + b_k). The answer is Σ_k w_k p_k, where w minimises the log loss on
    those rows, averaged over bootstrap samples; of numbers it is Σ_k w_k (s_k z_k + b_k), and w minimises the squared
    error. The parts are then fitted to all labelled rows. With `old_data=gate` the parts that learn from the source
    take part only where the combination with them has the lower mean loss on rows outside the bootstrap samples.

    The combination is calibrated once more on those rows (`final.choose_calibrator`), and `correct_prior` moves its
    probabilities to other class shares than those of the shown labels.

    With fewer than `study.FEWEST_ROWS` labelled target rows nothing is cross-fitted: it is the mean of the source's
    learners, with `old_data=never` of the target's.

    Args:
        config: options.
        kind: of the outcome, `class` or `regression`.

    Reference:
        van der Laan, Polley & Hubbard 2007, Statistical Applications in Genetics 6(1), article 25 (super learner).
    """

    def __init__(self, config: PortfolioConfig, kind: str):
        super().__init__(kind)
        self.config = config

    def fit_transfer(self, source: Rows, shown: Rows, *, classes: int, seed: int) -> None:
        """Fit to source rows (n, d) and labelled target rows (k, d).

        `facts` then says of each part its weight and its loss on unseen rows, and what the old data gained.

        Raises:
            DataError: rows that a learner refuses.
            ConfigError: old_data=never without a labelled row.
        """
        learners = learn_source(self.config, self.kind, source, classes=classes, seed=seed)
        self.take(study(self.config, self.kind, source, shown, learners, classes=classes, seed=seed))

    def take(self, found: Study) -> None:
        """Become the answer of a study, of the option `old_data`."""
        head = found.head(self.config.old_data)
        self.learners, self.parts, self.voices = head.learners, head.parts, head.voices
        self.final, self.shift, self.believed = head.final, head.shift, head.believed
        self.facts = {"source_rows": found.learners.rows, "target_rows": len(found.shown.x)}
        if not found.facts:
            return
        if self.config.old_data == "gate":
            self.facts["old_data"] = {
                "used": found.uses_old_data("gate"),
                "gain": found.facts["gain"],
                "standard_error": found.facts["standard_error"],
            }
        used = "with" if found.uses_old_data(self.config.old_data) else "without"
        weights = found.facts["weights"][used]
        self.facts |= {
            "calibration": found.facts["calibration"][used],
            "repeats": found.facts["repeats"],
            "parts": {
                name: {"weight": round(weights.get(name, 0.0), 4), "loss": loss}
                for name, loss in found.facts["losses"].items()
            },
        }
