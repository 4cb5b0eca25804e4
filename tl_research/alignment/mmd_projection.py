"""What TCA, JDA and BDA share: a projection that lessens the MMD and keeps the variance, round by round."""

from __future__ import annotations

import torch
from torch import Tensor

from tl_research.alignment.base import Alignment, Rows
from tl_research.alignment.components import components, components_of_scatter
from tl_research.alignment.kernel_map import KernelMap
from tl_research.alignment.mmd_matrix import unit_norm
from tl_research.alignment.nearest import nearest_label
from tl_research.config import check, check_choice


class MMDProjection(Alignment):
    """z(x) = Aᵀψ(x) with  min tr(Aᵀ (Ψᵀ L Ψ + λ I) A)  subject to  Aᵀ Ψᵀ H Ψ A = N I.

    H centres; ψ is that of `KernelMap`, so that λ||A||² is λ||W||² of the dual form. The papers' constraint is I:
    here each component has variance 1 over the training rows, and mean 0, so that any head can follow.

    Args:
        components: columns of the embedding.
        regularizer: λ > 0.
        kernel, bandwidth, exact_rows, landmarks: as of `KernelMap`.
        unit_norm: divide L by its Frobenius norm, as the authors' code does, so that λ bears no relation to N.
        unit_length: scale the rows of the embedding to length 1, as Long et al.'s code does before 1-NN.
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
        unit_length: bool = False,
        iterations: int = 10,
        pseudo_labels: str = "nearest",
        reference_rows: int = 20_000,
    ):
        super().__init__()
        check(components >= 1, "method.components", components, "at least 1")
        check(regularizer > 0, "method.regularizer", regularizer, "a number above 0")
        check(iterations >= 1, "method.iterations", iterations, "at least 1")
        check_choice("method.pseudo_labels", pseudo_labels, ("nearest", "logistic"))
        check(reference_rows >= 1, "method.reference_rows", reference_rows, "at least 1")
        self.map = KernelMap(kernel=kernel, bandwidth=bandwidth, exact_rows=exact_rows, landmarks=landmarks)
        self.out_features = self.components = components
        self.regularizer, self.unit_norm, self.unit_length = regularizer, unit_norm, unit_length
        self.iterations, self.pseudo_labels, self.reference_rows = iterations, pseudo_labels, reference_rows
        self._facts: dict[str, float | int | str] = {}

    def factor(self, domains: Domains, pseudo: Tensor | None) -> Tensor:
        """Return E (N, c) of L = E Eᵀ; `pseudo` are labels of the target rows, None in the first round."""
        raise NotImplementedError

    def fit(self, source: Rows, target: Rows, *, labeled: Rows | None = None, classes: int, seed: int) -> None:
        domains = Domains(source, target, labeled, classes)
        base, transform = self.map.fit(domains.x, seed=seed)
        scatter = None
        if transform is not None:
            centred_square = base.T @ base - len(base) * torch.outer(base.mean(dim=0), base.mean(dim=0))
            scatter = transform.T @ centred_square @ transform
        pseudo = projection = None
        for done in range(1, self.iterations + 1):
            factor = self.factor(domains, pseudo)
            if self.unit_norm:
                factor = unit_norm(factor)
            projection = self._solve(base, transform, scatter, factor, start=projection)
            weights = projection if transform is None else transform @ projection
            embedded = self._embed(base, weights)
            if done == self.iterations:
                break
            found = self.predict(embedded, domains, seed)
            if pseudo is not None and torch.equal(found, pseudo):
                break  # the next round would be this one again
            pseudo = found
        self._facts = {
            "components": self.components,
            "kernel": self.map.kernel,
            "path": self.map.path,
            "bandwidth": float(self.map.sigma),
            "rounds": done,
        }
        if self.iterations > 1 and self.pseudo_labels == "nearest":
            self._facts["reference_rows"] = min(domains.n, self.reference_rows)

    def _solve(self, base, transform, scatter, factor, start) -> Tensor:
        settings = {"count": self.components, "regularizer": self.regularizer}
        if transform is None:
            return components(base, factor, symmetric=self.map.symmetric, start=start, **settings)
        return components_of_scatter(scatter, transform.T @ (base.T @ factor), **settings)

    def _embed(self, base: Tensor, weights: Tensor) -> Tensor:
        weights = weights * len(base) ** 0.5
        embedded = base @ weights
        self.keep(weights=weights, mean=embedded.mean(dim=0))
        return self._finish(embedded)

    def _finish(self, embedded: Tensor) -> Tensor:
        embedded = embedded - self.mean
        return torch.nn.functional.normalize(embedded) if self.unit_length else embedded

    def predict(self, embedded: Tensor, domains: Domains, seed: int) -> Tensor:
        """Labels of the target rows (m,) by a classifier on the embedded rows with known labels."""
        reference, label = embedded[domains.known], domains.label[domains.known]
        rows = embedded[domains.n :]
        if self.pseudo_labels == "nearest":
            if len(reference) > self.reference_rows:
                drawn = torch.randperm(len(reference), generator=torch.Generator().manual_seed(seed))
                drawn = drawn[: self.reference_rows].sort().values.to(reference.device)
                reference, label = reference[drawn], label[drawn]
            found = nearest_label(rows, reference, label)
        else:
            found = logistic_label(rows, reference, label)
        known = domains.known[domains.n :]
        return torch.where(known, domains.label[domains.n :], found)

    def target(self, x: Tensor) -> Tensor:
        return self._finish(self.map(x) @ self.weights).to(x.dtype)

    def facts(self) -> dict[str, float | int | str]:
        return dict(self._facts)


class Domains:
    """The rows of both domains in one matrix, the source first; target rows with labels come last.

    Attributes:
        x: (N, d) float64.
        n: rows of the source.
        label: (N,) class index, -1 where hidden.
        known: (N,) bool.
        weight: (N,) float64.
        classes: number of classes.
    """

    def __init__(self, source: Rows, target: Rows, labeled: Rows | None, classes: int):
        parts = [source, target._replace(label=None)] + ([labeled] if labeled is not None and len(labeled.x) else [])
        self.x = torch.cat([part.x.double() for part in parts])
        self.n, self.classes = len(source.x), classes
        self.label = torch.cat(
            [
                part.x.new_full((len(part.x),), -1, dtype=torch.long) if part.label is None else part.label.long()
                for part in parts
            ]
        )
        self.known = self.label >= 0
        self.weight = torch.cat(
            [
                part.x.new_ones(len(part.x), dtype=torch.float64) if part.weight is None else part.weight.double()
                for part in parts
            ]
        )

    @property
    def sides(self) -> tuple[Tensor, Tensor]:
        """Weights of the source rows and of the target rows."""
        return self.weight[: self.n], self.weight[self.n :]


def logistic_label(rows: Tensor, reference: Tensor, label: Tensor) -> Tensor:
    """Labels (m,) of rows (m, k) by a logistic regression (L2, C = 1) on reference rows (n, k)."""
    from sklearn.linear_model import LogisticRegression

    if len(label.unique()) == 1:
        return label[:1].expand(len(rows)).clone()
    model = LogisticRegression(max_iter=1000).fit(reference.cpu().numpy(), label.cpu().numpy())
    return torch.as_tensor(model.predict(rows.cpu().numpy()), device=rows.device)
