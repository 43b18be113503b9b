"""The variance of areas under ROC curves: DeLong's, and for several images of a patient Obuchowski's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["delong", "delong_interval"]

Float = NDArray[np.float64]


def delong(positive: NDArray[np.bool_], scores: Float, patients: NDArray[Any]) -> tuple[Float, Float]:
    """Areas under the ROC curves of classifiers that scored the same images, and the covariance of the areas.

    The part of an image is the share of images of the other class that it is ranked rightly against (ties ½). DeLong,
    DeLong & Clarke-Pearson, Biometrics 44:837–845, 1988; by ranks as Sun & Xu 2014. Images of a patient are not
    independent: their parts are summed first, and a patient with images of both classes joins the two sums (Obuchowski,
    Biometrics 53:567–578, 1997, eq. 3). With one image a patient both are the same.

    Args:
        positive: (n,) truth.
        scores: (k, n), a row a classifier; higher is more positive.
        patients: (n,) patient of each image.

    Returns:
        areas (k,) and covariance (k, k); NaN where a class has images of fewer than two patients.
    """
    from scipy.stats import rankdata

    scores = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    k, m, n = len(scores), int(positive.sum()), int((~positive).sum())
    if not m or not n:
        return np.full(k, np.nan), np.full((k, k), np.nan)
    above = (rankdata(scores, axis=1)[:, positive] - rankdata(scores[:, positive], axis=1)) / n  # (k, m)
    below = 1 - (rankdata(scores, axis=1)[:, ~positive] - rankdata(scores[:, ~positive], axis=1)) / m  # (k, n)
    areas = above.mean(axis=1)
    names, inverse = np.unique(patients, return_inverse=True)
    sums = np.zeros((2, k, len(names)))  # of each class, patient by patient, about the area
    for side, parts, own in ((0, above, positive), (1, below, ~positive)):
        np.add.at(sums[side].T, inverse[own], (parts - areas[:, None]).T)
    of_positive, of_negative = (len(np.unique(inverse[own])) for own in (positive, ~positive))
    if min(of_positive, of_negative) < 2:
        return areas, np.full((k, k), np.nan)
    s10 = of_positive / (of_positive - 1) / m * (sums[0] @ sums[0].T)
    s01 = of_negative / (of_negative - 1) / n * (sums[1] @ sums[1].T)
    s11 = len(names) / (len(names) - 1) * (sums[0] @ sums[1].T)
    return areas, s10 / m + s01 / n + (s11 + s11.T) / (m * n)


def delong_interval(area: float, variance: float) -> tuple[float, float] | None:
    """95 % interval on the logit scale, which stays within 0 and 1; ``None`` where the variance is 0 or unknown.

    An area of exactly 1 or 0 has variance 0 by DeLong: it does not know how near the classes came.
    """
    if not math.isfinite(variance) or variance <= 0 or not 0 < area < 1:
        return None
    from scipy.special import expit, logit
    from scipy.stats import norm

    half = float(norm.ppf(0.975)) * math.sqrt(variance) / (area * (1 - area))
    return float(expit(logit(area) - half)), float(expit(logit(area) + half))
