"""Near-duplicates: is a synthetic image a real one again?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthoma.evaluation.registration import ORIENTATIONS, Float, Prepared, coarse_correlations, register

__all__ = ["TRIED", "Calibration", "Neighbours", "calibrate", "distance_of", "nearest"]

TRIED = (8, 8)
"""How many patients (their best image) and how many images whatsoever are registered finely for each image."""
HIGHEST = 0.99999
LEAST_CORRELATION = 0.9
"""However far apart real images are: below this one is no copy by its correlation alone, only by its lead."""
FALSE_ALARMS = 0.05
"""Probability that any image of a cohort that copied nobody is called a near-duplicate."""


@dataclass(frozen=True)
class Neighbours:
    """The nearest real image of each image (n,), and how far ahead it is of every other patient's."""

    real: NDArray[np.intp]
    correlation: NDArray[np.float64]
    lead: NDArray[np.float64]
    """Fisher's z of the correlation minus that of the nearest image of any other patient; NaN with one patient."""
    orientation: NDArray[np.intp]
    shift: NDArray[np.float64]
    """(n, 2) pixels down and to the right by which the turned image must be moved to lie on the real one."""

    @property
    def z(self) -> NDArray[np.float64]:
        """Fisher's z of the correlation."""
        return np.arctanh(np.clip(self.correlation, -HIGHEST, HIGHEST))

    def transformation(self, at: int) -> str:
        """In words: ``flipped, turned by 90°, shifted by +3, −5 px``."""
        turns, flipped = ORIENTATIONS[int(self.orientation[at])]
        down, right = (round(float(step)) for step in self.shift[at])
        parts = [
            "flipped left to right" if flipped else "",
            f"turned by {90 * turns}°" if turns else "",
            f"shifted by {down:+d}, {right:+d} px" if down or right else "",
        ]
        return ", ".join(part for part in parts if part) or "none"


@dataclass(frozen=True)
class Calibration:
    """From where on an image is called a near-duplicate; both in Fisher's z."""

    z: float
    lead: float

    def exceeded(self, found: Neighbours) -> NDArray[np.bool_]:
        """Which images are nearer, or further ahead of all other patients, than held-out real images are."""
        return np.asarray((found.z > self.z) | (found.lead > self.lead))


def distance_of(correlation: NDArray[Any]) -> NDArray[np.float64]:
    """√(2 − 2 ρ): the Euclidean distance of two images of unit norm; 0 of a copy, √2 of what has nothing in common."""
    return np.sqrt(np.maximum(2 - 2 * np.asarray(correlation, dtype=np.float64), 0))


def nearest(
    made: Prepared, real: Prepared, mean: Prepared, patients: NDArray[Any],
    coarse: tuple[Float, NDArray[np.int8]] | None = None, tried: tuple[int, int] = TRIED,
) -> Neighbours:  # fmt: skip
    """The nearest real image of each image of ``made``, registered finely.

    The best image of each of the most alike patients and the most alike images are looked at again on the fine grid, in
    the orientation that was best on the coarse one.

    Args:
        patients: (n,) whose each real image is.
        coarse: what :func:`coarse_correlations` found, where it is known already.
        tried: how many patients, and how many images, are looked at again.
    """
    rough, orientation = coarse if coarse is not None else coarse_correlations(made, real, mean)
    names, owner = np.unique(patients, return_inverse=True)
    by_patient = [np.flatnonzero(owner == i) for i in range(len(names))]
    best = np.stack([own[rough[:, own].argmax(axis=1)] for own in by_patient], axis=1)  # (m, patients)
    first = np.argsort(-np.take_along_axis(rough, best, axis=1), axis=1, kind="stable")[:, : tried[0]]
    candidates = np.concatenate(
        [np.take_along_axis(best, first, axis=1), np.argsort(-rough, axis=1, kind="stable")[:, : tried[1]]], axis=1
    )
    turned = np.take_along_axis(orientation, candidates, axis=1)
    correlation, shift = register(made, real, mean, candidates, turned)
    winner = correlation.argmax(axis=1)[:, None]
    image = np.take_along_axis(candidates, winner, axis=1)
    z = np.arctanh(np.clip(correlation, -HIGHEST, HIGHEST)).astype(np.float64)
    others = np.where(owner[candidates] == owner[image], -np.inf, z).max(axis=1)
    lead = np.take_along_axis(z, winner, axis=1)[:, 0] - others
    return Neighbours(
        image[:, 0], np.take_along_axis(correlation, winner, axis=1)[:, 0].astype(np.float64),
        np.where(np.isfinite(lead), lead, np.nan), np.take_along_axis(turned, winner, axis=1)[:, 0].astype(np.intp),
        np.take_along_axis(shift, winner[:, :, None], axis=1)[:, 0],
    )  # fmt: skip


def calibrate(
    held_out: Neighbours, patients: int, count: int, false_alarms: float = FALSE_ALARMS
) -> Calibration:  # fmt: skip
    """Thresholds for ``count`` images, from what held-out real images reach against the training images.

    Never below what any held-out image reaches, and so high that among ``count`` images of a generator that copied
    nobody one is above with probability ``false_alarms`` at most: the more images, the nearer the nearest comes by
    chance. The tails: Fisher's z is taken as normal (its prediction limit, with as many degrees of freedom as the
    held-out ``patients`` give: their images are alike), the lead, a gap between order statistics, as exponential (its
    prediction limit is an F quantile with 2 and 2 n degrees of freedom).
    """
    from scipy.stats import f, t

    tail = false_alarms / (2 * max(count, 1))
    z, lead = held_out.z, held_out.lead[np.isfinite(held_out.lead)]
    normal = np.inf
    if patients > 1:
        normal = z.mean() + float(t.isf(tail, patients - 1)) * z.std(ddof=1) * np.sqrt(1 + 1 / patients)
    ahead = np.inf
    if len(lead):
        ahead = max(float(lead.max()), float(np.maximum(lead, 0).mean() * f.isf(tail, 2, 2 * len(lead))))
    return Calibration(max(float(z.max()), float(normal), float(np.arctanh(LEAST_CORRELATION))), ahead)
