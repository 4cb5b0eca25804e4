"""A second oracle: dense float64 MMD by direct differences, with gradients by automatic differentiation."""

import torch


def dense_mmd2(
    x, y, bandwidths, estimator="unbiased", x_weight=None, y_weight=None, kernel="gaussian", alpha=1.0
) -> torch.Tensor:
    """Rows may be lists of layers, with bandwidths for each; then kernels are multiplied."""
    if isinstance(x, torch.Tensor):
        x, y, bandwidths = [x], [y], [bandwidths]
    x, y = [rows.double() for rows in x], [rows.double() for rows in y]
    p, q = shares(x[0], x_weight), shares(y[0], y_weight)

    def k(a, b):
        return torch.stack([dense_kernel(u, v, s, kernel, alpha) for u, v, s in zip(a, b, bandwidths)]).prod(dim=0)

    def within(rows, share):
        values = k(rows, rows)
        if estimator == "biased":
            return share @ values @ share
        off_diagonal = values - torch.diag(values.diagonal())
        return share @ off_diagonal @ share / (1 - share.square().sum())

    return within(x, p) + within(y, q) - 2 * p @ k(x, y) @ q


def dense_class_mmd2(x, y, bandwidths, estimator, x_weight, y_weight):
    """Mean over the classes that have enough rows of positive weight on both sides, one class after another."""
    needed = 2 if estimator == "unbiased" else 1
    values = [
        dense_mmd2(x, y, bandwidths, estimator, p, q)
        for p, q in zip(x_weight.T, y_weight.T)
        if (p > 0).sum() >= needed and (q > 0).sum() >= needed
    ]
    return torch.stack(values).mean()


def shares(rows, weight):
    """Weights (n,) that add up to 1."""
    if weight is None:
        return rows.new_full((rows.shape[0],), 1 / rows.shape[0])
    return weight.double() / weight.double().sum()


def dense_kernel(a, b, bandwidths, kernel="gaussian", alpha=1.0):
    """(n, m) by an (n, m, d) tensor."""
    squared = (a[:, None] - b).square().sum(dim=2)
    if kernel == "laplacian":
        apart = squared > 0
        distance = torch.where(apart, torch.where(apart, squared, 1).sqrt(), 0)
        return sum(torch.exp(-distance / sigma) for sigma in bandwidths)
    if kernel == "rational_quadratic":
        return sum((1 + squared / (2 * alpha * sigma**2)) ** -alpha for sigma in bandwidths)
    return sum(torch.exp(-squared / (2 * sigma**2)) for sigma in bandwidths)
