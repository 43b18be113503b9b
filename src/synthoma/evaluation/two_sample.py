"""The classifier two-sample test: can a simple classifier tell synthetic from real images of patients it never saw?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthoma.evaluation.statistics import clopper_pearson

__all__ = ["TwoSample", "two_sample"]

COMPONENTS = 64
"""Principal components of the features, at most, that the classifier sees."""
FOLDS = 5

Float = NDArray[np.float64]


@dataclass(frozen=True)
class TwoSample:
    """The accuracy of telling two sets apart; ½ when it cannot be done."""

    accuracy: float
    low: float
    high: float
    """Clopper–Pearson with the patients as trials: their images are alike, and no independent trials."""
    patients: int
    """Of the first and of the second set together; one on both sides counts twice."""


def two_sample(first: Float, second: Float, owners: tuple[NDArray[Any], NDArray[Any]], seed: int) -> TwoSample | None:
    """Logistic regression on features (n, d) and (m, d), n = m, in five folds by patient (Lopez-Paz & Oquab 2017).

    arXiv 1610.06545. Features become at most 64 principal components of unit variance, found without labels. A patient
    of both sets is in one fold. ``None`` where a fold would lack a set. Each patient's images are averaged to the share
    that was recognised, and these to the accuracy.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold

    features = np.concatenate([first, second])
    features = features - features.mean(axis=0)
    power, left = np.linalg.eigh(features @ features.T)  # the left singular vectors, least first
    keep = min(COMPONENTS, int((power > 1e-12 * max(float(power[-1]), 1e-300)).sum()))
    if keep == 0:
        return None
    scores = left[:, -keep:] * np.sqrt(len(left))
    is_second = np.arange(len(left)) >= len(first)
    groups = np.concatenate(owners).astype(str)
    if min(len(np.unique(side)) for side in owners) < FOLDS:
        return None
    right = np.empty(len(left))
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed % 2**32)
    for train, test in folds.split(scores, is_second, groups):
        if is_second[train].all() or not is_second[train].any():
            return None
        classifier = LogisticRegression(solver="newton-cholesky").fit(scores[train], is_second[train])
        right[test] = classifier.predict(scores[test]) == is_second[test]
    units = np.char.add(np.where(is_second, "second:", "first:"), groups)
    names = np.unique(units)
    accuracy = float(np.mean([right[units == name].mean() for name in names]))
    return TwoSample(accuracy, *clopper_pearson(round(accuracy * len(names)), len(names)), len(names))
