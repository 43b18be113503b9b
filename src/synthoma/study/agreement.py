"""Agreement, association and equivalence from published formulas, each with its interval; pure functions of arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "ICC_FORMS",
    "Equivalence",
    "Estimate",
    "accuracy",
    "equivalence_to_chance",
    "icc",
    "pearson",
    "spearman",
    "weighted_kappa",
]

ICC_FORMS = ("1,1", "2,1", "3,1", "1,k", "2,k", "3,k")
Float = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A number with its interval; ``None`` is undefined."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    """What it rests on: items, pairs, answers."""


@dataclass(frozen=True)
class Equivalence:
    """Two one-sided tests of an accuracy against ½ ± margin."""

    margin: float
    p: float
    """The larger of the two."""

    @property
    def shown(self) -> bool:
        """Whether the accuracy lies within the margin, at 5 %."""
        return self.p < 0.05


def icc(ratings: ArrayLike, level: float = 0.95) -> dict[str, Estimate]:
    """The six intraclass correlations of Shrout & Fleiss (Psychol. Bull. 86:420–428, 1979), with their intervals.

    ``2,1`` is the agreement of a single reader with another drawn from the same population, ``2,k`` that of the mean
    of these k readers. Undefined (``None``) where no rating differs from another; an interval is ``None`` where the
    readers leave no residual to estimate it from.

    Args:
        ratings: (n items, k readers), complete.
        level: of the interval.

    Raises:
        ValueError: fewer than 2 items or readers, or a rating that is not finite.
    """
    x = np.asarray(ratings, dtype=np.float64)
    if x.ndim != 2 or min(x.shape) < 2 or not np.isfinite(x).all():
        raise ValueError(f"ICC: expected finite ratings of at least 2 items by 2 readers, found shape {x.shape}")
    n, k = x.shape
    if np.ptp(x) == 0:
        return {form: Estimate(None, n=n) for form in ICC_FORMS}
    between, within, readers, residual = _mean_squares(x)
    values = {
        "1,1": _ratio(between - within, between + (k - 1) * within),
        "2,1": _ratio(between - residual, between + (k - 1) * residual + k * (readers - residual) / n),
        "3,1": _ratio(between - residual, between + (k - 1) * residual),
        "1,k": _ratio(between - within, between),
        "2,k": _ratio(between - residual, between + (readers - residual) / n),
        "3,k": _ratio(between - residual, between),
    }
    intervals: dict[str, tuple[float, float]] = {}
    if residual > 0 and between > 0:
        first = _one_way(between / within, n - 1, n * (k - 1), level)
        third = _one_way(between / residual, n - 1, (n - 1) * (k - 1), level)
        for form, (low, high) in (("1", first), ("3", third)):
            intervals[f"{form},1"] = (low - 1) / (low + k - 1), (high - 1) / (high + k - 1)
            intervals[f"{form},k"] = 1 - 1 / low, 1 - 1 / high
        if (rho := values["2,1"]) is not None:
            single = _two_way(rho, between, readers, residual, n, k, level)
            intervals["2,1"] = single
            intervals["2,k"] = (_stepped_up(single[0], k), _stepped_up(single[1], k))
    ends = {form: intervals.get(form, (None, None)) for form in ICC_FORMS}
    return {form: Estimate(values[form], ends[form][0], ends[form][1], n) for form in ICC_FORMS}


def _mean_squares(x: Float) -> tuple[float, float, float, float]:
    """Between items, within items, between readers, residual."""
    n, k = x.shape
    mean, items, readers = x.mean(), x.mean(axis=1), x.mean(axis=0)
    between = k * float(((items - mean) ** 2).sum()) / (n - 1)
    within = float(((x - items[:, None]) ** 2).sum()) / (n * (k - 1))
    judges = n * float(((readers - mean) ** 2).sum()) / (k - 1)
    rest = float(((x - items[:, None] - readers[None, :] + mean) ** 2).sum()) / ((n - 1) * (k - 1))
    return between, within, judges, rest if rest > 1e-12 * np.ptp(x) ** 2 else 0.0


def _ratio(top: float, bottom: float) -> float | None:
    return top / bottom if bottom > 0 else None


def _one_way(observed: float, df1: int, df2: int, level: float) -> tuple[float, float]:
    """F_L and F_U of Shrout & Fleiss, p. 424."""
    from scipy.stats import f

    tail = (1 + level) / 2
    return observed / f.ppf(tail, df1, df2), observed * f.ppf(tail, df2, df1)


def _two_way(
    rho: float, between: float, readers: float, residual: float, n: int, k: int, level: float
) -> tuple[float, float]:
    """The interval of ICC(2,1), p. 425, with the degrees of freedom after Satterthwaite."""
    from scipy.stats import f

    tail, ratio = (1 + level) / 2, readers / residual
    part = n * (1 + (k - 1) * rho) - k * rho
    df = (k - 1) * (n - 1) * (k * rho * ratio + part) ** 2 / ((n - 1) * (k * rho * ratio) ** 2 + part**2)
    upper, lower = f.ppf(tail, n - 1, df), f.ppf(tail, df, n - 1)
    rest = k * readers + (k * n - k - n) * residual
    return (
        n * (between - upper * residual) / (upper * rest + n * between),
        n * (lower * between - residual) / (rest + n * lower * between),
    )


def _stepped_up(single: float, k: int) -> float:
    """Spearman–Brown: of the mean of k readers, from one."""
    return k * single / (1 + (k - 1) * single)


def weighted_kappa(
    first: ArrayLike,
    second: ArrayLike,
    categories: int = 5,
    weights: Literal["quadratic", "linear"] = "quadratic",
    level: float = 0.95,
) -> Estimate:
    """Cohen's weighted kappa of two ratings of the same items, with the interval of Fleiss, Cohen & Everitt
    (Psychol. Bull. 72:323–327, 1969), cut to [−1, 1].

    Undefined where both only ever gave one and the same rating. The interval is asymptotic, and ``None`` where all
    ratings are equal in pairs: no disagreement was seen to estimate it from.

    Args:
        first, second: (n,), whole numbers from 1 to ``categories``.

    Raises:
        ValueError: lengths differ, nothing is rated, or a rating is out of range.
    """
    from scipy.stats import norm

    a, b = np.asarray(first), np.asarray(second)
    if (
        a.shape != b.shape
        or a.ndim != 1
        or not len(a)
        or min(a.min(), b.min()) < 1
        or max(a.max(), b.max()) > categories
    ):
        raise ValueError(f"kappa: expected two equally long lists of ratings from 1 to {categories}")
    n = len(a)
    table = np.zeros((categories, categories))
    np.add.at(table, (a.astype(int) - 1, b.astype(int) - 1), 1 / n)
    far = np.abs(np.subtract.outer(np.arange(categories), np.arange(categories))) / (categories - 1)
    alike = 1 - (far**2 if weights == "quadratic" else far)
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    observed, expected = float((alike * table).sum()), float(rows @ alike @ columns)
    if expected > 1 - 1e-12:
        return Estimate(None, n=n)
    kappa = (observed - expected) / (1 - expected)
    margins = (alike @ columns)[:, None] + (rows @ alike)[None, :]
    spread = (table * (alike - margins * (1 - kappa)) ** 2).sum() - (kappa - expected * (1 - kappa)) ** 2
    error = math.sqrt(max(float(spread), 0.0) / n) / (1 - expected)
    if error < 1e-9:
        return Estimate(kappa, n=n)
    half = float(norm.ppf((1 + level) / 2)) * error
    return Estimate(kappa, max(-1.0, kappa - half), min(1.0, kappa + half), n)


def pearson(x: ArrayLike, y: ArrayLike, level: float = 0.95) -> Estimate:
    """Pearson's r with Fisher's interval: tanh(artanh r ± z / √(n − 3)). Undefined where one does not vary; without an
    interval below 4 pairs, or for |r| = 1.

    Raises:
        ValueError: lengths differ.
    """
    return _correlation(*_two(x, y), level)


def spearman(x: ArrayLike, y: ArrayLike, level: float = 0.95) -> Estimate:
    """Spearman's ρ, ties by mean ranks, with the interval of Bonett & Wright (Psychometrika 65:23–28, 2000): as
    Fisher's, with the variance (1 + ρ²/2) / (n − 3).

    Raises:
        ValueError: lengths differ.
    """
    from scipy.stats import rankdata

    a, b = _two(x, y)
    return _correlation(rankdata(a), rankdata(b), level, growth=0.5)


def _two(x: ArrayLike, y: ArrayLike) -> tuple[Float, Float]:
    a, b = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"correlation: expected two lists of one length, found shapes {a.shape} and {b.shape}")
    return a, b


def _correlation(a: Float, b: Float, level: float, growth: float = 0.0) -> Estimate:
    """r with tanh(artanh r ± z √((1 + growth r²) / (n − 3)))."""
    from scipy.stats import norm

    n = len(a)
    if n < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return Estimate(None, n=n)
    r = float(np.clip(np.corrcoef(a, b)[0, 1], -1, 1))
    if n < 4 or abs(r) > 1 - 1e-12:
        return Estimate(r, n=n)
    half = float(norm.ppf((1 + level) / 2)) * math.sqrt((1 + growth * r * r) / (n - 3))
    return Estimate(r, math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half), n)


def accuracy(right: int, n: int, level: float = 0.95) -> Estimate:
    """The share of right answers with the exact interval of Clopper & Pearson (Biometrika 26:404–413, 1934).

    Raises:
        ValueError: more right answers than answers.
    """
    from scipy.stats import beta

    if not 0 <= right <= n:
        raise ValueError(f"accuracy: expected 0 to {n} right answers, found {right}")
    if n == 0:
        return Estimate(None)
    tail = (1 - level) / 2
    low = 0.0 if right == 0 else float(beta.ppf(tail, right, n - right + 1))
    high = 1.0 if right == n else float(beta.ppf(1 - tail, right + 1, n - right))
    return Estimate(right / n, low, high, n)


def equivalence_to_chance(right: int, n: int, margin: float) -> Equivalence:
    """Two one-sided exact binomial tests: is the accuracy within ½ ± ``margin``?

    Raises:
        ValueError: no answer, or a margin that is not between 0 and ½.
    """
    from scipy.stats import binom

    if n < 1 or not 0 <= right <= n or not 0 < margin < 0.5:
        raise ValueError(
            f"equivalence: expected answers and a margin between 0 and 0.5, found {right} of {n}, {margin}"
        )
    above = float(binom.sf(right - 1, n, 0.5 - margin))
    below = float(binom.cdf(right, n, 0.5 + margin))
    return Equivalence(margin, max(above, below))
