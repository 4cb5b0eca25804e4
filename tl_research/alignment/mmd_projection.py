"""What TCA, JDA and BDA share: a projection that lessens the MMD and keeps the variance, round by round."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tl_research.alignment.base import Rows
from tl_research.alignment.components import HELD_UP_TO, components, components_of_scatter, scatter_of
from tl_research.alignment.mmd_matrix import unit_norm
from tl_research.alignment.projection import Domains, Projection, ProjectionConfig
from tl_research.config import check, check_choice
from tl_research.heads.nearest import nearest_rows


@dataclass
class RoundsConfig(ProjectionConfig):
    """The options of the projections that take pseudo-labels of the target rows, round by round."""

    iterations: int = 10  # the first round is TCA
    pseudo_labels: str = "nearest"  # 1-NN, or logistic; trained on the embedded source
    reference_rows: int = 20_000  # most source rows that 1-NN compares with; more are drawn down to that many

    def __post_init__(self):
        super().__post_init__()
        check(self.iterations >= 1, "iterations", self.iterations, "at least 1")
        check_choice("pseudo_labels", self.pseudo_labels, ("nearest", "logistic"))
        check(self.reference_rows >= 1, "reference_rows", self.reference_rows, "at least 1")


class MMDProjection(Projection):
    """z(x) = Aᵀψ(x) with  min tr(Aᵀ (Ψᵀ L Ψ + λ I) A)  subject to  Aᵀ Ψᵀ H Ψ A = I.

    H centres; ψ is that of `KernelMap`, so that λ||A||² is λ||W||² of the dual form. The columns of the
    embedding are scaled by `scaling`.
    """

    @property
    def iterations(self) -> int:
        """Rounds; the first knows no pseudo-labels, each later one takes those of the round before."""
        return self.config.iterations

    def factor(self, domains: Domains, pseudo: Tensor | None) -> Tensor:
        """Return E (N, c) of L = E Eᵀ; `pseudo` are labels of the target rows, None in the first round."""
        raise NotImplementedError

    def fit(self, source: Rows, target: Rows, *, labeled: Rows | None = None, classes: int, seed: int) -> None:
        domains = Domains(source, target, labeled, classes)
        base, transform = self.map.fit(domains.x, seed=seed)
        self.check_spread(base)
        scatter = None
        if not self.map.symmetric and (transform is not None or base.shape[1] <= HELD_UP_TO):
            scatter = scatter_of(base)
            if transform is not None:
                scatter = transform.T @ scatter @ transform
        pseudo = projection = None
        for done in range(1, self.iterations + 1):
            factor = self.factor(domains, pseudo)
            if self.config.unit_norm:
                factor = unit_norm(factor)
            projection = self._solve(base, transform, scatter, factor, start=projection)
            embedded = self.embed(base, transform, projection)
            if done == self.iterations:
                break
            found = self.predict(embedded, domains, seed)
            if pseudo is not None and torch.equal(found, pseudo):
                break  # the next round would be this one again
            pseudo = found
        self.found = {"rounds": done}
        if self.iterations > 1 and self.config.pseudo_labels == "nearest":
            self.found["reference_rows"] = min(domains.n, self.config.reference_rows)

    def _solve(self, base, transform, scatter, factor, start) -> Tensor:
        settings = {"count": self.config.components, "regularizer": self.config.regularizer, "start": start}
        if scatter is None:
            return components(base, factor, symmetric=self.map.symmetric, **settings)
        pulled = base.T @ factor
        return components_of_scatter(scatter, pulled if transform is None else transform.T @ pulled, **settings)

    def predict(self, embedded: Tensor, domains: Domains, seed: int) -> Tensor:
        """Labels of the target rows (m,) by a classifier on the embedded rows with known labels."""
        reference, label = embedded[domains.known], domains.label[domains.known]
        rows = embedded[domains.n :]
        if self.config.pseudo_labels == "nearest":
            if len(reference) > self.config.reference_rows:
                drawn = torch.randperm(len(reference), generator=torch.Generator().manual_seed(seed))
                drawn = drawn[: self.config.reference_rows].sort().values.to(reference.device)
                reference, label = reference[drawn], label[drawn]
            found = label[nearest_rows(rows, reference)[:, 0]]
        else:
            found = logistic_label(rows, reference, label)
        known = domains.known[domains.n :]
        return torch.where(known, domains.label[domains.n :], found)


def logistic_label(rows: Tensor, reference: Tensor, label: Tensor) -> Tensor:
    """Labels (m,) of rows (m, k) by a logistic regression (L2, C = 1) on reference rows (n, k)."""
    from sklearn.linear_model import LogisticRegression

    if len(label.unique()) == 1:
        return label[:1].expand(len(rows)).clone()
    model = LogisticRegression(max_iter=1000).fit(reference.cpu().numpy(), label.cpu().numpy())
    return torch.as_tensor(model.predict(rows.cpu().numpy()), device=rows.device)
