"""What stands beside a difference: its size, whether it is one, whether it is none, and how many could tell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "EffectSize",
    "Equivalence",
    "McNemar",
    "effect_size",
    "equivalence",
    "holm",
    "mcnemar_exact",
    "paired_effect_size",
    "patients_right",
    "power_of_t",
    "units_needed",
]

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]
ALPHA, POWER = 0.05, 0.8
MOST_UNITS = 10_000_000
"""An n that nobody will ever have is not named."""


@dataclass(frozen=True)
class EffectSize:
    """A mean difference in standard deviations of the differences."""

    d_z: float
    """Cohen's d of paired values: mean / SD."""
    low: float
    high: float
    """95 % interval of d_z, from the noncentral t distribution."""
    hedges_g: float
    """d_z (1 − 3 / (4 df − 1)): without the upward bias of few values (Hedges 1981)."""


def effect_size(t: float, degrees: int, n_effective: float) -> EffectSize:
    """d_z = t / √n with the interval of t's noncentrality, divided by √n as well (Steiger & Fouladi 1997).

    ``n_effective`` is the number of independent differences; of overlapping folds 1 / (1/J + n_test/n_train).
    """
    low, high = (_noncentrality(degrees, tail, abs(t)) for tail in (0.975, 0.025))
    if t < 0:  # by symmetry: SciPy's distribution is not finite everywhere below 0
        low, high = -high, -low
    root = math.sqrt(n_effective)
    correction = 1 - 3 / (4 * degrees - 1)
    return EffectSize(t / root, low / root, high / root, t / root * correction)


def _noncentrality(degrees: int, tail: float, t: float) -> float:
    """The noncentrality with which P(T ≤ ``t``) is ``tail``, for ``t`` ≥ 0."""
    from scipy.optimize import brentq
    from scipy.special import nctdtr, nctdtrinc

    near = float(nctdtrinc(degrees, tail, t))  # SciPy's search ends up to 4e-5 of a probability away
    reach = 0.01 * (1 + abs(near))
    return float(brentq(lambda centre: nctdtr(degrees, centre, t) - tail, near - reach, near + reach, xtol=1e-10))


def paired_effect_size(differences: Float) -> EffectSize | None:
    """Of independent paired differences, one a patient; ``None`` for fewer than two or without spread."""
    values = np.asarray(differences, dtype=np.float64)
    if len(values) < 2 or np.ptp(values) == 0:
        return None
    t = float(values.mean() / (values.std(ddof=1) / math.sqrt(len(values))))
    return effect_size(t, len(values) - 1, len(values))


@dataclass(frozen=True)
class McNemar:
    """Two classifiers on the same patients."""

    only_first: int
    """Patients that the first alone calls rightly."""
    only_second: int
    p: float
    """Two-sided, exact; 1 where they never differ."""


def mcnemar_exact(first_right: Bool, second_right: Bool) -> McNemar:
    """McNemar's exact test (1947): p = min(1, 2 P(X ≤ min(b, c))), X binomial of the b + c that differ, ½.

    Args:
        first_right, second_right: (n,) whether each classifier was right; one entry a *patient*. On slices it rejects
            half of all true null hypotheses, since slices of one patient go right or wrong together.
    """
    from scipy.stats import binomtest

    first_right, second_right = np.asarray(first_right, dtype=bool), np.asarray(second_right, dtype=bool)
    b, c = int((first_right & ~second_right).sum()), int((~first_right & second_right).sum())
    return McNemar(b, c, float(binomtest(b, b + c).pvalue) if b + c else 1.0)


def patients_right(right: Bool, patients: NDArray[Any]) -> tuple[list[str], Bool]:
    """(patients, sorted; whether more than half of each one's images were called rightly). Half is not enough."""
    names, inverse, counts = np.unique(patients, return_inverse=True, return_counts=True)
    hits = np.bincount(inverse, weights=np.asarray(right, dtype=float), minlength=len(names))
    return [str(name) for name in names], np.asarray(2 * hits > counts)


def holm(p: Sequence[float]) -> list[float]:
    """p values adjusted for being many (Holm 1979): no more false findings among all than each was allowed alone.

    The smallest times their number, the next times one less, and so on; never decreasing, at most 1.
    """
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)), 1.0)
    return [float(value) for value in adjusted]


@dataclass(frozen=True)
class Equivalence:
    """Two one-sided tests that a difference is smaller than a margin. "Not different" alone does not say so."""

    margin: float
    p: float
    """The larger of the two."""
    low: float
    high: float
    """90 % interval: within ±margin exactly where p < 5 %."""

    @property
    def shown(self) -> bool:
        """Whether the two are equal but for less than the margin."""
        return self.p < ALPHA


def equivalence(mean: float, standard_error: float, degrees: float, margin: float) -> Equivalence:
    """Schuirmann 1987: against mean ≤ −margin and against mean ≥ margin, each at 5 %, by t with ``degrees``."""
    if not margin > 0:
        raise ValueError(f"expected a margin above 0, found {margin}")
    from scipy.stats import t

    above = float(t.sf((mean + margin) / standard_error, degrees))
    below = float(t.cdf((mean - margin) / standard_error, degrees))
    half = float(t.ppf(1 - ALPHA, degrees)) * standard_error
    return Equivalence(margin, max(above, below), mean - half, mean + half)


def power_of_t(noncentrality: float, degrees: float, alpha: float = ALPHA) -> float:
    """Chance that a two-sided t-test at ``alpha`` rejects, for this true mean over its true standard error.

    Of the corrected test with differences of standard deviation σ and correlation ρ = n_test / (n_test + n_train) the
    true standard error is σ √((1 + (J − 1) ρ) / J).
    """
    from scipy.special import nctdtr, stdtrit

    edge, shift = float(stdtrit(degrees, 1 - alpha / 2)), abs(noncentrality)
    other = float(nctdtr(degrees, shift, -edge))  # not a number where it is too small to be one
    return 1 - float(nctdtr(degrees, shift, edge)) + (other if math.isfinite(other) else 0.0)


def units_needed(mean: float, standard_error: float, n: float, degrees: int | None = None) -> int | None:
    """How many units (patients) could tell ``mean`` from 0 with 80 % power, if it and their variance are as observed.

    The standard error falls as 1/√n. ``degrees`` are those of a test over folds, whose number stays; left out, they are
    n − 1. ``None`` where the mean is 0, or no n below ten million would do.
    """
    if mean == 0 or standard_error <= 0:
        return None
    one = abs(mean) / standard_error / math.sqrt(n)  # noncentrality of a single unit

    def enough(count: int) -> bool:
        return power_of_t(one * math.sqrt(count), count - 1 if degrees is None else degrees) >= POWER

    if not enough(MOST_UNITS):
        return None
    low, high = 1, MOST_UNITS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
