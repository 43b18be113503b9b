"""Distances between two samples of feature vectors: Fréchet, kernel, precision and recall, diversity.

All are functions of inner products only (:class:`Products`), so leaving a patient out costs no new product.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Products",
    "diversity_ratio",
    "extrapolate",
    "frechet",
    "frechet_distance",
    "half_sampling",
    "kernel_distance",
    "kid",
    "precision_recall",
]

LEAST_HALVED = 6
"""Patients a set below which halves of them say nothing."""

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Products:
    """Inner products of two samples: x with x (n, n), y with y (m, m), x with y (n, m)."""

    xx: Float
    yy: Float
    xy: Float
    width: int
    """d, the length of a feature vector."""

    @classmethod
    def of(cls, x: NDArray[Any], y: NDArray[Any]) -> Self:
        """From features (n, d) and (m, d)."""
        x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
        if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or not len(x) or not len(y):
            raise ValueError(f"features: expected (n, d) and (m, d), found {x.shape} and {y.shape}")
        return cls(x @ x.T, y @ y.T, x @ y.T, x.shape[1])

    def take(self, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Self:
        """Of the given vectors of x and of y only."""
        return type(self)(
            self.xx[np.ix_(rows, rows)], self.yy[np.ix_(columns, columns)], self.xy[np.ix_(rows, columns)], self.width
        )

    @property
    def distances(self) -> tuple[Float, Float, Float]:
        """Euclidean distances x–x, y–y, x–y."""
        x, y = np.diag(self.xx), np.diag(self.yy)
        squares = (
            x[:, None] + x - 2 * self.xx,
            y[:, None] + y - 2 * self.yy,
            x[:, None] + y - 2 * self.xy,
        )
        xx, yy, xy = (np.sqrt(np.maximum(square, 0)) for square in squares)
        return xx, yy, xy


def frechet_distance(x: NDArray[Any], y: NDArray[Any]) -> float:
    """Fréchet distance of two samples of features, (n, d) and (m, d), n, m ≥ 2.

    |μ₁−μ₂|² + tr Σ₁ + tr Σ₂ − 2 ‖A Bᵀ‖_* / √((n−1)(m−1)), with A and B the centred features and the sum of the singular
    values of their n × m product: equal to the matrix square root's trace (the non-zero eigenvalues of Σ₁Σ₂ are their
    squares), exact for any n and d. Covariances with n − 1. Heusel et al. 2017, arXiv 1706.08500.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if min(len(x), len(y)) < 2:
        raise ValueError(f"Fréchet distance: expected 2 or more vectors a side, found {len(x)} and {len(y)}")
    means = x.mean(axis=0), y.mean(axis=0)
    factors = [_factor(side, mean) for side, mean in zip((x, y), means, strict=True)]
    spread = sum((factor**2).sum() for factor in factors)
    shared = np.linalg.svd(factors[0] @ factors[1].T, compute_uv=False).sum()
    return float(max(((means[0] - means[1]) ** 2).sum() + spread - 2 * shared, 0.0))


def _factor(features: Float, mean: Float) -> Float:
    """F with Fᵀ F = the covariance: the centred features themselves, or d × d where there are more than d.

    Then they are folded in d at a time (each triangle and the next d vectors to a new triangle), so that nothing grows
    with n but the features.
    """
    n, d = features.shape
    if n <= d:
        return np.asarray((features - mean) / np.sqrt(n - 1))
    triangle = np.empty((0, d))
    for start in range(0, n, d):
        triangle = np.asarray(np.linalg.qr(np.concatenate([triangle, features[start : start + d] - mean]), mode="r"))
    return np.asarray(triangle / np.sqrt(n - 1))


def frechet(products: Products) -> float:
    """:func:`frechet_distance` from the inner products of features that were centred together."""
    n, m = products.xy.shape
    if n < 2 or m < 2:
        raise ValueError(f"Fréchet distance: expected 2 or more vectors a side, found {n} and {m}")
    xx, yy, xy = products.xx, products.yy, products.xy
    means = xx.mean() + yy.mean() - 2 * xy.mean()
    spread = (np.trace(xx) - xx.sum() / n) / (n - 1) + (np.trace(yy) - yy.sum() / m) / (m - 1)
    centred = xy - xy.mean(axis=0) - xy.mean(axis=1, keepdims=True) + xy.mean()
    shared = np.linalg.svd(centred, compute_uv=False).sum() / np.sqrt((n - 1) * (m - 1))
    return float(max(means + spread - 2 * shared, 0.0))


def kernel_distance(x: NDArray[Any], y: NDArray[Any]) -> float:
    """KID: the unbiased MMD² with the kernel (xᵀy / d + 1)³; may be negative. Bińkowski 2018, arXiv 1801.01401."""
    return kid(Products.of(x, y))


def kid(products: Products) -> float:
    """:func:`kernel_distance` from inner products."""
    n, m = products.xy.shape
    if n < 2 or m < 2:
        raise ValueError(f"KID: expected 2 or more vectors a side, found {n} and {m}")
    xx, yy, xy = ((p / products.width + 1) ** 3 for p in (products.xx, products.yy, products.xy))
    own = (xx.sum() - np.trace(xx)) / (n * (n - 1)) + (yy.sum() - np.trace(yy)) / (m * (m - 1))
    return float(own - 2 * xy.mean())


def precision_recall(products: Products, k: int = 5) -> dict[str, float]:
    """Precision, recall (Kynkäänniemi 2019, arXiv 1904.06991), density, coverage (Naeem 2020, arXiv 2002.09797).

    x is real, y synthetic. Compare equal n and m only: coverage depends on their ratio.
    """
    xx, yy, xy = products.distances
    if min(xy.shape) <= k:
        raise ValueError(f"precision and recall: expected more than k = {k} vectors a side, found {xy.shape}")
    radius_x, radius_y = _neighbour(xx, k), _neighbour(yy, k)
    near = xy < radius_x[:, None]
    return {
        "improved-precision": float(near.any(axis=0).mean()),
        "improved-recall": float((xy < radius_y).any(axis=1).mean()),
        "density": float(near.sum(axis=0).mean() / k),
        "coverage": float(near.any(axis=1).mean()),
    }


def diversity_ratio(products: Products) -> float:
    """Mean pairwise distance within y over that within x; NaN when all of x are equal."""
    within = [d.sum() / (len(d) * (len(d) - 1)) for d in products.distances[:2]]
    return float(within[1] / within[0]) if within[0] > 0 else float("nan")


def extrapolate(
    distance: Callable[[NDArray[np.intp], NDArray[np.intp]], float],
    n: int,
    random: np.random.Generator,
    fractions: tuple[float, ...] = (0.5, 0.6, 0.7, 0.8, 0.9),
    repeats: int = 3,
) -> tuple[float, list[list[float]]]:
    """FD∞: the distance at several n, extrapolated to 1/n → 0 by a line (Chong & Forsyth 2020, arXiv 1911.07023).

    Both sets are shrunk: with one only, half of the bias stays.

    Args:
        distance: (indices into x, into y) → distance; both sets hold ``n``.

    Returns:
        the intercept, and the points [n, mean distance].
    """
    points = [[float(n), distance(np.arange(n), np.arange(n))]]
    for size in sorted({max(2, int(n * fraction)) for fraction in fractions} - {n}, reverse=True):
        draws = [
            distance(random.choice(n, size, replace=False), random.choice(n, size, replace=False))
            for _ in range(repeats)
        ]
        points.append([float(size), float(np.mean(draws))])
    table = np.array(points)
    return float(np.polyfit(1 / table[:, 0], table[:, 1], 1)[1]), points


def half_sampling(
    statistic: Callable[[NDArray[np.intp], NDArray[np.intp]], Float],
    first: NDArray[Any],
    second: NDArray[Any],
    draws: int,
    random: np.random.Generator,
) -> tuple[Float, Float, Float, str]:
    """The interval of a statistic of two sets from halves of their patients, drawn without replacement.

    SE² = h / (P − h) times the variance over the draws, h of P patients a draw; θ ± 1.96 SE. Nothing is duplicated, as
    a bootstrap would, which a distance of two samples reads as a smaller n. Politis & Romano 1994.

    Args:
        statistic: (indices into the first set, into the second) → values (k,).
        first, second: patient of each image of either set.

    Returns:
        values (k,), low (k,), high (k,) and the method; NaN ends with fewer than six patients in a set.
    """
    values = statistic(np.arange(len(first)), np.arange(len(second)))
    sides = [[np.flatnonzero(owners == name) for name in np.unique(owners)] for owners in (first, second)]
    fewest = min(len(side) for side in sides)
    if fewest < LEAST_HALVED:
        nothing = np.full_like(values, np.nan)
        return values, nothing, nothing, f"no interval: {fewest} patients in a set, fewer than {LEAST_HALVED}"

    def half(side: list[NDArray[np.intp]]) -> NDArray[np.intp]:
        chosen = random.choice(len(side), len(side) // 2, replace=False)
        return np.sort(np.concatenate([side[i] for i in chosen]))

    drawn = np.stack([statistic(half(sides[0]), half(sides[1])) for _ in range(draws)])
    factor = max(len(side) // 2 / (len(side) - len(side) // 2) for side in sides)
    error = 1.959964 * np.sqrt(factor) * drawn.std(axis=0, ddof=1)
    how = f"95 % interval from {draws} draws of half of the patients without replacement, for this n"
    return values, values - error, values + error, how


def _neighbour(distances: Float, k: int) -> Float:
    """Distance of each vector to its k-th nearest other one."""
    others = distances.copy()
    np.fill_diagonal(others, np.inf)
    return np.partition(others, k - 1, axis=1)[:, k - 1]
