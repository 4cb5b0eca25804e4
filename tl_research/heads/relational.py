"""Linear models of related entities under one prior: what the relatives have in common helps one with few labels."""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from tl_research.errors import ConfigError
from tl_research.heads.base import Head, PenaltyConfig
from tl_research.heads.hierarchy import Entities, Prior, estimate_prior, posterior_means
from tl_research.heads.support import check_weight, support
from tl_research.heads.warm_start import laplace_precision, with_one

#: Most parameters of an entity: each has a square matrix of them.
MOST_PARAMETERS = 1000
#: Most turns of Laplace's approximation and the prior, the relative change of the spread that ends them, most Newton
#: steps of an entity, and the change of a parameter that ends these.
MOST_TURNS, TURN_TOLERANCE, MOST_STEPS, STEP_TOLERANCE = 50, 1e-2, 100, 1e-10


class Group(NamedTuple):
    """Rows of one entity: x (n, d) with labels (n,), and weights v (n,) or None for 1."""

    x: Tensor
    label: Tensor
    weight: Tensor | None = None


class RelationalHead(Head):
    """The entities' parameters are w_e ~ N(m, diag T); the head predicts with those of the last entity.

    Parameters are the weights and the intercept on top of rows with a 1 at their end. m, T and, for numbers, the noise
    are estimated from all entities, the last one among them (`heads.hierarchy`). As T → 0 the model is m, which the
    relatives tell; as T → ∞ it is the last entity's own model of the same penalty. `penalty` acts as one more row per
    weight, of label 0.

    Buffers: `coefficient` (outputs, d) and `intercept` (outputs,), as of every linear head; `mean` and `spread` (p,).
    """

    Config = PenaltyConfig

    def fit_groups(self, groups: list[Group], *, classes: int) -> Prior:
        """Fit to the entities, whose model is wanted last, and return the prior that they share.

        Raises:
            ConfigError: more than `MOST_PARAMETERS` parameters.
            DataError: no row with a label, or weights that a head refuses.
        """
        for group in groups:
            if len(group.label):
                check_weight(group.weight, len(group.label))
        dtype = groups[-1].x.dtype
        groups = [
            Group(g.x.detach().double(), g.label, None if g.weight is None else g.weight.double()) for g in groups
        ]
        prior, coefficient, intercept = self.fitted(groups, classes)
        parts = {"coefficient": coefficient, "intercept": intercept, "mean": prior.mean, "spread": prior.spread}
        self.keep(**{name: part.to(dtype) for name, part in parts.items()})
        return prior

    @abstractmethod
    def fitted(self, groups: list[Group], classes: int) -> tuple[Prior, Tensor, Tensor]:
        """Return the prior, the coefficient (outputs, d) and the intercept (outputs,) of the last group, in float64."""

    def forward(self, features: Tensor) -> Tensor:
        return torch.addmm(self.intercept, features, self.coefficient.T)


class RelationalRidge(RelationalHead):
    """Numbers: y = w_e · (x, 1) + noise of one variance s². The posterior mean is a ridge around m.

    w_e minimises  Σ_i v_i (y_i - w · (x_i, 1))² + penalty ||W||² + s² (w - m)' T^-1 (w - m).
    """

    def fitted(self, groups: list[Group], classes: int) -> tuple[Prior, Tensor, Tensor]:
        refuse_many(groups[0].x.shape[1] + 1)
        entities = squares_of(groups, self.config.penalty)
        prior = estimate_prior(entities)
        w = posterior_means(entities.gram[-1:], entities.moment[-1:], prior)
        return prior, w[:, :-1], w[:, -1]


class RelationalLogistic(RelationalHead):
    """Classes: logistic regression per entity, whose likelihood is taken as Gaussian around its maximum (Laplace).

    w_e minimises  Σ_i v_i CE_i + penalty / 2 ||W||² + (w - m)' T^-1 (w - m) / 2. The likelihoods are approximated at
    these w_e, and m and T estimated from the approximations, in turns. With two classes w is one margin; with more,
    that of every class.
    """

    def fitted(self, groups: list[Group], classes: int) -> tuple[Prior, Tensor, Tensor]:
        label, weight = torch.cat([group.label for group in groups]), _joined_weights(groups)
        present = support(label, weight, classes).present
        outputs, width = (1 if len(present) == 2 else len(present)), groups[0].x.shape[1] + 1
        refuse_many(outputs * width)
        coefficient = groups[0].x.new_zeros(classes, width - 1)
        # A class without a row that weighs is never predicted, by a margin that stays finite.
        intercept = coefficient.new_full((classes,), -1e4)
        if len(present) == 1:
            intercept[present] = 0.0
            zeros = coefficient.new_zeros(width)
            return Prior(zeros, torch.ones_like(zeros), 1.0, 0), coefficient, intercept
        groups = [_of_classes(group, present) for group in groups]
        w = coefficient.new_zeros(len(groups), outputs * width)
        prior, is_done = Prior(w[0], torch.ones_like(w[0]), 1.0, 0), False
        for _ in range(MOST_TURNS):
            w = torch.stack([self.maximum(*pair, outputs, prior) for pair in zip(groups, w, strict=True)])
            if is_done:
                break
            parts = [self.quadratic(*pair, outputs) for pair in zip(groups, w, strict=True)]
            before = prior.spread
            gram, moment = (torch.stack(part) for part in zip(*parts, strict=True))
            prior = estimate_prior(Entities(gram, moment), before)
            is_done = _has_settled(prior.spread, before)
        of_last = w[-1].reshape(outputs, width)
        if outputs == 1:
            of_last = torch.cat([-of_last, of_last]) / 2
        coefficient[present], intercept[present] = of_last[:, :-1], of_last[:, -1]
        return prior, coefficient, intercept

    def quadratic(self, group: Group, w: Tensor, outputs: int) -> tuple[Tensor, Tensor]:
        """Return A (p, p) and b (p,) of the approximation of the penalised likelihood at w (p,)."""
        w = w.reshape(outputs, -1)
        a = laplace_precision(group.x, w, group.weight, penalty=self.config.penalty, full=True)
        score = with_one(group.x) @ w.T
        if outputs == 1:
            residual = score.sigmoid() - group.label[:, None].to(score)
        else:
            residual = score.softmax(1)
            residual[torch.arange(len(score)), group.label] -= 1
        residual = residual if group.weight is None else group.weight[:, None] * residual
        gradient = residual.T @ with_one(group.x)
        gradient[:, :-1] += self.config.penalty * w[:, :-1]
        return a, a @ w.flatten() - gradient.flatten()

    def value(self, group: Group, w: Tensor, outputs: int, prior: Prior) -> float:
        """Return the objective of w (p,)."""
        each = w.reshape(outputs, -1)
        score = with_one(group.x) @ each.T
        if outputs == 1:
            losses = torch.nn.functional.softplus(torch.where(group.label[:, None] == 1, -score, score))[:, 0]
        else:
            losses = torch.nn.functional.cross_entropy(score, group.label, reduction="none")
        loss = losses.sum() if group.weight is None else group.weight @ losses
        pull = ((w - prior.mean).square() / prior.spread).sum()
        return float(loss + 0.5 * self.config.penalty * each[:, :-1].square().sum() + 0.5 * pull)

    def maximum(self, group: Group, start: Tensor, outputs: int, prior: Prior) -> Tensor:
        """Return the w (p,) of the least objective, by Newton's steps, each halved until it descends."""
        w, value = start, self.value(group, start, outputs, prior)
        for _ in range(MOST_STEPS):
            a, b = self.quadratic(group, w, outputs)
            step = posterior_means(a[None], b[None], prior)[0] - w
            size = 1.0
            while (found := self.value(group, w + size * step, outputs, prior)) > value and size > 1e-8:
                size /= 2
            if found > value:
                break
            w, value = w + size * step, found
            if float(step.abs().max()) < STEP_TOLERANCE:
                break
        return w


def squares_of(groups: list[Group], penalty: float) -> Entities:
    """Return X'VX + penalty (0 for the intercept), X'Vy, Σ v y² and the number of rows, penalty's among them."""
    width = groups[0].x.shape[1]
    added = groups[0].x.new_full((width + 1,), penalty)
    added[-1] = 0.0
    gram, moment, squares, rows = [], [], 0.0, 0.0
    for group in groups:
        x, y = with_one(group.x), group.label.double()
        v = torch.ones_like(y) if group.weight is None else group.weight
        gram.append(x.T @ (v[:, None] * x) + added.diag())
        moment.append(x.T @ (v * y))
        squares += float(v @ y.square())
        rows += float(v.sum()) + width
    return Entities(torch.stack(gram), torch.stack(moment), squares, rows)


def refuse_many(parameters: int) -> None:
    """Raise `ConfigError` above `MOST_PARAMETERS`."""
    if parameters > MOST_PARAMETERS:
        raise ConfigError(
            f"name: relational_prior has {parameters:,} parameters per entity here, and takes at most "
            f"{MOST_PARAMETERS:,}; give it fewer columns"
        )


def _joined_weights(groups: list[Group]) -> Tensor | None:
    if all(group.weight is None for group in groups):
        return None
    weights = (g.x.new_ones(len(g.label)) if g.weight is None else g.weight for g in groups)
    return torch.cat(list(weights))


def _of_classes(group: Group, present: Tensor) -> Group:
    kept = torch.isin(group.label, present)
    weight = None if group.weight is None else group.weight[kept]
    return Group(group.x[kept], torch.searchsorted(present, group.label[kept]), weight)


def _has_settled(spread: Tensor, before: Tensor) -> bool:
    return bool(((spread - before).abs() <= TURN_TOLERANCE * (spread + 1e-3 * spread.mean())).all())
