"""Two sets of feature vectors and every distance between them, of any subset, with intervals over patients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from synthoma.evaluation.comparisons import LEAST
from synthoma.evaluation.distances import Products, diversity_ratio, frechet, half_sampling, kid
from synthoma.evaluation.options import EvaluationOptions
from synthoma.evaluation.statistics import jackknife, spread_over_patients
from synthoma.records import Cohort, Measurement
from synthoma.seeding import generator

__all__ = [
    "HALVINGS",
    "NAMES",
    "Owners",
    "Sets",
    "filled",
    "halves",
    "interval",
    "with_region",
]

NAMES = ("frechet-distance", "kid", "diversity-ratio")
BETTER: dict[str, Literal["higher", "lower", ""]] = {
    "frechet-distance": "lower", "frechet-distance-infinity": "lower", "kid": "lower", "diversity-ratio": "",
    "frechet-distance-difference": "lower", "two-sample-accuracy": "lower", "radiomics-distance": "lower",
}  # fmt: skip
HALVINGS = 5
"""Random halvings of the real patients that a floor is the mean of."""
Owners = tuple[NDArray[Any], NDArray[Any]]


@dataclass(frozen=True)
class Sets:
    """Inner products of real and synthetic features, one a channel: centred together for Fréchet, raw for the rest."""

    centred: list[Products]
    raw: list[Products]
    real: NDArray[np.float64]
    """Features of the real side (n, channel, d)."""
    made: NDArray[np.float64]
    """Of the synthetic side."""

    @classmethod
    def of(cls, real: NDArray[np.float64], made: NDArray[np.float64]) -> Self:
        """From features (n, channel, d)."""
        middle = np.concatenate([real, made]).mean(axis=0)
        channels = range(real.shape[1])
        return cls(
            [Products.of(real[:, c] - middle[c], made[:, c] - middle[c]) for c in channels],
            [Products.of(real[:, c], made[:, c]) for c in channels],
            real,
            made,
        )

    def frechet(self, i: NDArray[np.intp], j: NDArray[np.intp]) -> float:
        """Of the given images, mean over channels."""
        return float(np.mean([frechet(products.take(i, j)) for products in self.centred]))

    def values(self, i: NDArray[np.intp], j: NDArray[np.intp]) -> NDArray[np.float64]:
        """In the order of :data:`NAMES`, of the given images, mean over channels."""
        raw = [products.take(i, j) for products in self.raw]
        return np.array([
            self.frechet(i, j), np.mean([kid(products) for products in raw]),
            np.mean([diversity_ratio(products) for products in raw]),
        ])  # fmt: skip


def interval(
    statistic: Callable[[NDArray[np.intp], NDArray[np.intp]], NDArray[np.float64]],
    owners: Owners,
    options: EvaluationOptions,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], str]:
    """Values of a statistic of two sets, low, high, and the method: as ``evaluation.interval`` says."""
    if options.interval == "jackknife":
        return jackknife(statistic, *owners, options.jackknife_groups, options.seed)
    return half_sampling(statistic, *owners, options.subsamples, generator(options.seed, "half sampling"))


def halves(owners: NDArray[Any], n: int, seed: int) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Indices of two sets of at most ``n`` images each of disjoint halves of the patients, several times."""
    found = []
    names = np.unique(owners)
    for turn in range(HALVINGS):
        first = np.isin(owners, generator(seed, "floor", turn).permutation(names)[: len(names) // 2])
        both = [np.flatnonzero(first), np.flatnonzero(~first)]
        size = min(n, *(len(half) for half in both))
        if size >= LEAST:
            a, b = (half[spread_over_patients(owners[half], size, seed, "half")] for half in both)
            found.append((a, b))
    return found


def filled(
    empty: Measurement, name: str, value: float, how: str, low: float = np.nan, high: float = np.nan
) -> Measurement:
    """A measurement of this name and value, its interval known where both ends are; ``how`` ends its method."""
    known = bool(np.isfinite([low, high]).all())
    return replace(
        empty, name=name, value=float(value) if np.isfinite(value) else None, low=float(low) if known else None,
        high=float(high) if known else None, better=BETTER.get(name, "higher"), method=f"{empty.method}; {how}",
    )  # fmt: skip


def with_region(cohort: Cohort, rows: NDArray[np.intp], region: str) -> NDArray[np.intp]:
    """Those of ``rows`` that have the region: all of them for ``frame``, those with a lesion for ``lesion``."""
    if region == "frame":
        return rows
    return np.array([row for row in rows if cohort.lesion(int(row)).any()], dtype=np.intp)
