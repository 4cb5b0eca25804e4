"""Manifold embedded distribution alignment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tl_research.alignment.base import Alignment, Rows, register_alignment
from tl_research.alignment.components import BLOCK_ROWS
from tl_research.alignment.graph import cosine_laplacian
from tl_research.alignment.kernel_map import KernelConfig, KernelMap, root
from tl_research.alignment.mmd_matrix import conditional_factor, marginal_factor, unit_norm
from tl_research.alignment.projection import Domains
from tl_research.config import check, check_choice
from tl_research.heads.nearest import nearest_rows
from tl_research.nn.rounding import unit_rows


@dataclass
class MEDAConfig(KernelConfig):
    """Options of `meda`: the kernel, the weights η, λ, ρ and μ of the objective, the graph, and the rounds."""

    kernels = ("linear", "rbf", "laplacian")

    kernel: str = "rbf"
    ridge: float = 0.1  # η
    alignment: float = 10.0  # λ
    smoothness: float = 1.0  # ρ
    neighbours: int = 10  # of a row in the graph
    balance: float | str = 0.5  # μ, or dynamic: 1 - d_0 / (d_0 + Σ_c d_c) of proxy A-distances, anew in each round
    unit_length: bool = True  # scale the rows to length 1, before the kernel
    iterations: int = 10
    reference_rows: int = 20_000  # above `exact_rows`, most rows of the graph and of 1-NN; drawn

    def __post_init__(self):
        super().__post_init__()
        check(self.ridge > 0, "ridge", self.ridge, "a number above 0")
        check(self.alignment >= 0, "alignment", self.alignment, "0 or more")
        check(self.smoothness >= 0, "smoothness", self.smoothness, "0 or more")
        check(self.neighbours >= 1, "neighbours", self.neighbours, "at least 1")
        if isinstance(self.balance, str):
            check_choice("balance", self.balance, ("dynamic",))
        else:
            check(0 <= self.balance <= 1, "balance", self.balance, "0 <= balance <= 1, or dynamic")
        check(self.iterations >= 1, "iterations", self.iterations, "at least 1")
        check(self.reference_rows >= 2, "reference_rows", self.reference_rows, "at least 2")


@register_alignment(
    "meda",
    config=MEDAConfig,
    paper="Wang et al. 2018, ACM Multimedia, eq. 11 to 15 and algorithm 1 without its first step (GFK features)",
    targets=("class",),
    gain=0.015,
    over=("meda", "method.alignment=0"),  # which gains over `shallow` too
)
class MEDA(Alignment):
    """A kernel classifier f with small error on the source, like outputs on both domains, and smooth on their graph.

    f = argmin_{f in H_K} ||A (Y - f)||² + η||f||²_K + λ tr(fᵀ M f) + ρ tr(fᵀ L f), f(x) = Σ_i k(x, x_i) β_i, with
    β = ((A + λM + ρL) K + ηI)⁻¹ A Y and M = (1 - μ) M_0 + μ Σ_c M_c by the pseudo-labels of the round before (of 1-NN
    in the first). Only M changes between rounds, and by few columns: one factorisation serves them all.

    It reads the rows themselves unless a `manifold` is given: the method leaves the paper's first step out, which maps
    them to the GFK manifold. With `balance=dynamic` the distances of the classes are summed, as the paper prints it;
    the authors' code takes their mean and multiplies M_0 by the number of classes.

    The classifier's outputs are also its map, one column per class.

    Args:
        manifold: an alignment fitted first, whose map the classifier reads: GFK in the paper; None for the rows.

    Reference:
        Wang, Feng, Chen, Yu, Huang & Yu 2018, ACM Multimedia, eq. 6-15 and algorithm 1.
    """

    classifies = True

    def __init__(self, config: MEDAConfig | None = None, *, manifold: Alignment | None = None, **options: Any):
        super().__init__(config, **options)
        self.manifold, self.map = manifold, KernelMap(self.config)

    def fit(self, source: Rows, target: Rows, *, labeled: Rows | None = None, classes: int, seed: int) -> None:
        if self.manifold is not None:
            self.manifold.fit(source, target, labeled=labeled, classes=classes, seed=seed)
        source = source._replace(x=self._prepared(source.x.double(), "source"))
        target = target._replace(x=self._prepared(target.x.double(), "target"))
        if labeled is not None:
            labeled = labeled._replace(x=self._prepared(labeled.x.double(), "target"))
        domains = Domains(source, target, labeled, classes)
        generator = torch.Generator().manual_seed(seed)
        few = len(domains.x) <= self.map.exact_rows
        drawn = torch.arange(len(domains.x)) if few else torch.randperm(len(domains.x), generator=generator)
        drawn = drawn[: len(domains.x) if few else self.config.reference_rows].to(domains.x.device)

        features, solve = self._factorised(domains, drawn, seed)
        goal = torch.nn.functional.one_hot(domains.label.clamp_min(0), classes).to(features.dtype)
        goal = goal * domains.known[:, None] * domains.weight[:, None]
        without = solve(goal)
        known = drawn[domains.known[drawn]]
        pseudo = domains.label[known][nearest_rows(domains.x[domains.n :], domains.x[known])[:, 0]]
        for done in range(1, self.config.iterations + 1):
            pseudo = torch.where(domains.known[domains.n :], domains.label[domains.n :], pseudo)
            balance = dynamic_balance(domains, pseudo) if self.config.balance == "dynamic" else self.config.balance
            marginal = marginal_factor(*domains.sides)
            conditional = conditional_factor(
                domains.label[: domains.n], pseudo, *domains.sides, classes=domains.classes
            )
            factor = unit_norm(torch.cat([(1 - balance) ** 0.5 * marginal, balance**0.5 * conditional], dim=1))
            factor = self.config.alignment**0.5 * factor
            # Woodbury: the rounds differ by λM = factor factorᵀ alone.
            spread = solve(factor)
            inner = torch.eye(factor.shape[1], dtype=factor.dtype, device=factor.device)
            inner = inner + factor.T @ (features @ spread)
            weights = without - spread @ torch.linalg.solve(inner, factor.T @ (features @ without))
            found = (features @ weights)[domains.n :].argmax(dim=1)
            if torch.equal(found, pseudo) or done == self.config.iterations:
                break
            pseudo = found
        self.keep(weights=weights if self._whiten is None else self._whiten @ weights)
        self._whiten = None
        self.found = {"rounds": done, "balance": float(balance), "graph_rows": len(drawn)}

    def _factorised(self, domains: Domains, drawn: Tensor, seed: int):
        """Features F with f = F w, and b -> the w of  min_w ||A (Y - Fw)||² + η||f||² + ρ fᵀLf  where AY = b."""
        labelled = domains.known * domains.weight
        graph = cosine_laplacian(domains.x[drawn], neighbours=self.config.neighbours) * self.config.smoothness
        # A graph of drawn rows stands for that of all of them.
        graph = graph * (len(domains.x) / len(drawn))

        self._whiten = None
        if self.map.kernel == "linear" and (
            domains.x.shape[1] < len(domains.x) or len(domains.x) > self.map.exact_rows
        ):
            self.map.use_columns(domains.x)
            features = domains.x
        else:
            features, within = self.map.fit_anchored(domains.x, seed=seed)
            if self.map.symmetric:
                system = labelled[:, None] * features
                system.index_add_(0, drawn, torch.sparse.mm(graph, features[drawn]))
                system.diagonal().add_(self.config.ridge)
                packed = torch.linalg.lu_factor(system)
                return features, lambda right: torch.linalg.lu_solve(*packed, right)
            self._whiten = root(within, inverse=True)
            features = times_in_place(features, self._whiten)
        of_graph = features[drawn]
        system = of_graph.T @ torch.sparse.mm(graph, of_graph)  # Fᵀ (A + ρL) F, by blocks of rows
        for block, weight in zip(features.split(BLOCK_ROWS), labelled.split(BLOCK_ROWS)):
            system.addmm_(block.T, weight[:, None] * block)
        system.diagonal().add_(self.config.ridge)
        lower = torch.linalg.cholesky((system + system.T) / 2)
        return features, lambda right: torch.cholesky_solve(features.T @ right, lower)

    def _prepared(self, x: Tensor, side: str) -> Tensor:
        if self.manifold is not None:
            x = getattr(self.manifold, side)(x)
        return unit_rows(x) if self.config.unit_length else x

    def logits(self, x: Tensor) -> Tensor:
        """Outputs f(x) (m, classes) of target rows (m, d): near 1 for the class and 0 for the others."""
        return self.target(x)

    def source(self, x: Tensor) -> Tensor:
        return (self.map(self._prepared(x.double(), "source")) @ self.weights).to(x.dtype)

    def target(self, x: Tensor) -> Tensor:
        return (self.map(self._prepared(x.double(), "target")) @ self.weights).to(x.dtype)

    def facts(self) -> dict[str, float | int | str]:
        return {
            "kernel": self.map.kernel,
            "path": self.map.path,
            "bandwidth": float(self.map.sigma),
        } | self.found


def times_in_place(features: Tensor, matrix: Tensor) -> Tensor:
    """F M (N, r) in the memory of F (N, p), r <= p: a second matrix of all rows would double the memory."""
    product = features[:, : matrix.shape[1]]
    for block, whole in zip(product.split(BLOCK_ROWS), features.split(BLOCK_ROWS)):
        block.copy_(whole @ matrix)
    return product


def dynamic_balance(domains: Domains, pseudo: Tensor, ridge: float = 1e-2) -> float:
    """μ = 1 - d_0 / (d_0 + Σ_c d_c), d = 2 (1 - 2 ε) by the error ε of a linear classifier of the domains.

    The classifier is ridge regression of ±1, trained on every second row and judged on the others. d_0 is of all
    rows, d_c of those of class c; a class with fewer than 4 rows in a domain counts nothing.

    Reference:
        Wang et al. 2018, ACM Multimedia, eq. 13-14; Ben-David et al. 2010, Machine Learning 79.
    """
    label = torch.cat([domains.label[: domains.n], pseudo])
    side = torch.ones_like(domains.weight)
    side[domains.n :] = -1

    def distance(rows: Tensor) -> float:
        count = torch.stack([(side[rows] > 0).sum(), (side[rows] < 0).sum()])
        if count.min() < 4:
            return 0.0
        train, test = rows[::2], rows[1::2]
        mean = domains.x[train].mean(dim=0)
        x, y = domains.x[train] - mean, side[train]
        # Both domains weigh one half, or the greater one would decide.
        weight = torch.where(y > 0, 0.5 / (y > 0).sum(), 0.5 / (y < 0).sum())
        gram = x.T @ (weight[:, None] * x)
        size = gram.diagonal().mean()
        if not bool(size > 0):  # equal rows: nothing tells the domains apart
            return 0.0
        gram.diagonal().add_(ridge * size)
        slope = torch.linalg.solve(gram, x.T @ (weight * y))
        wrong = ((domains.x[test] - mean) @ slope * side[test] <= 0).to(y.dtype)
        error = sum(wrong[side[test] == sign].mean() for sign in (1, -1)) / 2
        return max(0.0, 2 * (1 - 2 * float(error)))

    marginal = distance(torch.arange(len(label), device=label.device))
    conditional = sum(distance((label == c).nonzero()[:, 0]) for c in range(domains.classes))
    return conditional / (marginal + conditional) if marginal + conditional > 0 else 0.5
