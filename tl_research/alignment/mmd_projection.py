"""What TCA, JDA and BDA share: a projection that lessens the MMD and keeps the variance, round by round."""

from __future__ import annotations

import torch
from torch import Tensor

from tl_research.alignment.base import Rows
from tl_research.alignment.components import HELD_UP_TO, components, components_of_scatter, scatter_of
from tl_research.alignment.kernel_map import KernelMap
from tl_research.alignment.mmd_matrix import unit_norm
from tl_research.alignment.projection import Domains, Projection
from tl_research.config import check, check_choice
from tl_research.heads.nearest import nearest_rows


class MMDProjection(Projection):
    """z(x) = Aᵀψ(x) with  min tr(Aᵀ (Ψᵀ L Ψ + λ I) A)  subject to  Aᵀ Ψᵀ H Ψ A = I.

    H centres; ψ is that of `KernelMap`, so that λ||A||² is λ||W||² of the dual form. The columns of the
    embedding are scaled by `scaling`.

    Args:
        components: columns of the embedding; fewer where the rows have fewer directions, which `facts` tells.
        regularizer: λ > 0.
        kernel, bandwidth, exact_rows, landmarks: as of `KernelMap`.
        scaling: `weights` or `variance`, as of `Projection`.
        unit_norm: divide L by its Frobenius norm, as the authors' code does, so that λ bears no relation to N.
        unit_length: scale the rows of the embedding to length 1, as Long et al.'s code does before 1-NN.
        centred: as of `Projection`.
        iterations: rounds; the first knows no pseudo-labels, each later one takes those of the round before.
        pseudo_labels: `nearest` (1-NN) or `logistic`, both trained on the embedded source.
        reference_rows: most source rows that 1-NN compares with; more are drawn down to that many.
    """

    def __init__(
        self,
        *,
        components: int = 30,
        regularizer: float = 1.0,
        kernel: str = "primal",
        bandwidth: float | str = "median",
        exact_rows: int = 5000,
        landmarks: int = 1000,
        unit_norm: bool = True,
        scaling: str = "weights",
        unit_length: bool = False,
        centred: bool = True,
        iterations: int = 10,
        pseudo_labels: str = "nearest",
        reference_rows: int = 20_000,
    ):
        super().__init__(
            components=components,
            regularizer=regularizer,
            map=KernelMap(kernel=kernel, bandwidth=bandwidth, exact_rows=exact_rows, landmarks=landmarks),
            unit_norm=unit_norm,
            scaling=scaling,
            unit_length=unit_length,
            centred=centred,
        )
        check(iterations >= 1, "method.iterations", iterations, "at least 1")
        check_choice("method.pseudo_labels", pseudo_labels, ("nearest", "logistic"))
        check(reference_rows >= 1, "method.reference_rows", reference_rows, "at least 1")
        self.iterations, self.pseudo_labels, self.reference_rows = iterations, pseudo_labels, reference_rows

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
            if self.unit_norm:
                factor = unit_norm(factor)
            projection = self._solve(base, transform, scatter, factor, start=projection)
            embedded = self.embed(base, transform, projection)
            if done == self.iterations:
                break
            found = self.predict(embedded, domains, seed)
            if pseudo is not None and torch.equal(found, pseudo):
                break  # the next round would be this one again
            pseudo = found
        self._facts = {"rounds": done}
        if self.iterations > 1 and self.pseudo_labels == "nearest":
            self._facts["reference_rows"] = min(domains.n, self.reference_rows)

    def _solve(self, base, transform, scatter, factor, start) -> Tensor:
        settings = {"count": self.components, "regularizer": self.regularizer, "start": start}
        if scatter is None:
            return components(base, factor, symmetric=self.map.symmetric, **settings)
        pulled = base.T @ factor
        return components_of_scatter(scatter, pulled if transform is None else transform.T @ pulled, **settings)

    def predict(self, embedded: Tensor, domains: Domains, seed: int) -> Tensor:
        """Labels of the target rows (m,) by a classifier on the embedded rows with known labels."""
        reference, label = embedded[domains.known], domains.label[domains.known]
        rows = embedded[domains.n :]
        if self.pseudo_labels == "nearest":
            if len(reference) > self.reference_rows:
                drawn = torch.randperm(len(reference), generator=torch.Generator().manual_seed(seed))
                drawn = drawn[: self.reference_rows].sort().values.to(reference.device)
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
