"""Membership inference: can somebody with a patient's scan tell whether the generator had learned from it?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthoma.evaluation.statistics import clopper_pearson

__all__ = ["FALSE_POSITIVES", "Attack", "attack", "auc_interval", "density_ratio", "nearest_distance"]

FALSE_POSITIVES = 0.01
"""The rate of false accusations at which the true-positive rate is told."""
COMPONENTS = 10
"""Principal components that densities are estimated in, at most."""

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Attack:
    """How well the scores of an attack tell members from others, patient by patient."""

    auc: float
    low: float
    high: float
    tpr: float
    tpr_low: float
    tpr_high: float
    """True positives at 1 % false positives at most, with the Clopper–Pearson interval over members."""
    members: int
    others: int


def nearest_distance(to_synthetic: Float) -> Float:
    """Score of the attack that asks for the nearest synthetic image (GAN-Leaks, Chen 2020, arXiv 1909.03935): (n,).

    Args:
        to_synthetic: (n, m) distances of the candidates to the synthetic images.
    """
    return np.asarray(-to_synthetic.min(axis=1))


def density_ratio(candidates: Float, patients: NDArray[Any], synthetic: Float) -> Float:
    """Score of the attack by log p_synthetic − log p_real (DOMIAS, van Breugel 2023, arXiv 2302.12580): (n,).

    A scan that is typical anyhow lies near synthetic ones without having been learned from; dividing by the density of
    real images takes that away. Gaussian kernels of Scott's width on at most ten principal components of all images,
    each of unit variance. The real density at a candidate is that of the other candidates' patients: members and others
    in equal number, so it tells neither.

    Args:
        candidates, patients: (n, d) features of members and others, and whose they are.
        synthetic: (m, d).
    """
    everything = np.concatenate([candidates, synthetic])
    middle = everything - everything.mean(axis=0)
    left, scale, _ = np.linalg.svd(middle, full_matrices=False)
    keep = min(COMPONENTS, int((scale > 1e-9 * max(scale[0], 1e-300)).sum()), max(1, len(candidates) // 5))
    scores = left[:, :keep] * np.sqrt(len(everything))
    x, g = scores[: len(candidates)], scores[len(candidates) :]
    same = patients[:, None] == patients
    return _log_density(x, g, np.zeros((len(x), len(g)), dtype=bool)) - _log_density(x, x, same)


def attack(scores: Float, patients: NDArray[Any], member: NDArray[np.bool_]) -> Attack:
    """Judge an attack: a patient's score is the highest of its images; members and others are different patients."""
    names, inverse = np.unique(patients, return_inverse=True)
    highest = np.full(len(names), -np.inf)
    np.maximum.at(highest, inverse, scores)
    is_member = np.zeros(len(names), dtype=bool)
    is_member[inverse[member]] = True
    inside, outside = highest[is_member], highest[~is_member]
    m, n = len(inside), len(outside)
    auc = float(((inside[:, None] > outside) + 0.5 * (inside[:, None] == outside)).mean())
    allowed = math.floor(FALSE_POSITIVES * n)
    caught = int((inside > np.sort(outside)[::-1][allowed]).sum())
    return Attack(auc, *auc_interval(auc, m, n), caught / m, *clopper_pearson(caught, m), m, n)


def auc_interval(auc: float, m: int, n: int) -> tuple[float, float]:
    """95 % interval of an area under the ROC curve from m and n independent scores; sensible at 0 and 1 too.

    Newcombe, Statistics in Medicine 25:559–573 (2006), method 5: the θ with |θ − auc| = 1.96 √V(θ), V by Hanley and
    McNeil's formula for exponential scores with (m + n)/2 for either number.
    """
    from scipy.optimize import brentq

    size = (m + n) / 2 - 1

    def excess(theta: float) -> float:
        pairs = 1 + size * (1 - theta) / (2 - theta) + size * theta / (1 + theta)
        return float((theta - auc) ** 2 - 1.959964**2 * theta * (1 - theta) * pairs / (m * n))

    near = 1e-12  # V is 0 at both ends, so 0 and 1 are roots that mean nothing
    low = 0.0 if auc <= near else float(brentq(excess, near, min(auc, 1 - near)))
    high = 1.0 if auc >= 1 - near else float(brentq(excess, max(auc, near), 1 - near))
    return low, high


def _log_density(x: Float, points: Float, left_out: NDArray[np.bool_]) -> Float:
    """Of Gaussian kernels of Scott's width around ``points``, without those ``left_out``, at each of ``x``."""
    from scipy.special import logsumexp

    n, d = points.shape
    width = n ** (-1 / (d + 4))
    squares = (x**2).sum(axis=1)[:, None] + (points**2).sum(axis=1) - 2 * x @ points.T
    exponents = np.where(left_out, -np.inf, -np.maximum(squares, 0) / (2 * width**2))
    log_density: Float = logsumexp(exponents, axis=1) - np.log((~left_out).sum(axis=1)) - d * np.log(width)
    return log_density
