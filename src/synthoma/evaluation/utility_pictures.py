"""What pictures of the classifiers are drawn from: ROC curves, calibration, and what the last layer reads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from synthoma import __version__
from synthoma.evaluation.clusters import distances, in_the_plane, one_set_jackknife, silhouette
from synthoma.evaluation.delong import delong, delong_interval
from synthoma.evaluation.options import EvaluationOptions
from synthoma.evaluation.statistics import clopper_pearson, patient_bootstrap, spread_over_patients
from synthoma.records import Measurement

if TYPE_CHECKING:
    from synthoma.evaluation.classifier import Labelled
    from synthoma.evaluation.utility_measures import Judged

__all__ = ["DEFINITIONS", "calibration_error", "own_probability", "pictures_of_arms", "reliability", "roc"]

Float = NDArray[np.float64]
BINS = 8
"""Of a calibration curve, with equally many images each."""
MOST_POINTS = 120
"""Of a ROC curve, after points on a straight line are left out."""
SHOWN = ("real", "real+synthetic")
"""Arms whose embedding is drawn: without and with synthetic images."""
DEFINITIONS = {
    "calibration-error": "Mean distance between the classifier's own probability and the share of positive images "
    f"among images of like probability ({BINS} groups of equal size); lower is better. Few images alone raise it.",
    "silhouette-classifier": "Silhouette of the two labels among test images by what the classifier's last layer "
    "reads: 1, two clusters apart; 0, one cloud. Never of t-SNE's coordinates.",
    "silhouette-classifier-gain": "silhouette-classifier of the arm minus that of 'real', on the same test images.",
}


def pictures_of_arms(
    judged: Sequence[Judged], test: Labelled, positive: str, options: EvaluationOptions
) -> tuple[list[Measurement], dict[str, Any]]:
    """Calibration and silhouette of every arm, and the curves ``roc``, ``reliability`` and ``classifier_embedding``.

    There are none where a class is missing from the test images.
    """
    arms = [one for one in judged if not one.pool.curve]
    if not arms or test.positive.all() or not test.positive.any():
        return [], {}
    patients = len(set(test.patients.tolist()))
    empty = Measurement("", None, None, None, len(test.positive), patients, "", "", "", "lower", "", "real test")
    own = [own_probability(one.trained.probability, one.trained.threshold) for one in arms]
    found, low, high, how = patient_bootstrap(
        lambda rows: np.array([calibration_error(test.positive[rows], p[rows]) for p in own]),
        test.patients, options.seed, options.bootstrap_draws,
    )  # fmt: skip
    bins = f"own probabilities, before the cut was moved to ½; {BINS} groups of equal size"
    measurements = []
    for i, one in enumerate(arms):
        method = f"{one.trained.method}; positive = {positive}; {bins}; {how}; synthoma {__version__}"
        measurements.append(
            replace(empty, name="calibration-error", arm=one.name, value=_known(found[i]), low=_known(low[i]),
                    high=_known(high[i]), method=method)
        )  # fmt: skip
    measurements += _silhouettes(arms, test, empty, options)
    curves: dict[str, Any] = {
        "roc": {one.name: roc(test, one.trained.probability) for one in arms},
        "reliability": {one.name: reliability(test.positive, p) for one, p in zip(arms, own, strict=True)},
    }
    drawn = _drawn(arms, test, positive, options)
    return measurements, curves | ({"classifier_embedding": drawn} if drawn else {})


def own_probability(shifted: Float, threshold: float) -> Float:
    """The network's own probabilities from those that were shifted so that ½ stands for ``threshold``."""
    from scipy.special import expit, logit

    return np.asarray(expit(logit(np.clip(shifted, 1e-12, 1 - 1e-12)) + logit(threshold)))


def roc(test: Labelled, probability: Float) -> dict[str, Any]:
    """False-positive and true-positive rates over all cuts, and the area with DeLong's interval."""
    from sklearn.metrics import roc_curve

    false, true, _ = roc_curve(test.positive, probability)
    if len(false) > MOST_POINTS:
        kept = np.unique(np.linspace(0, len(false) - 1, MOST_POINTS).round().astype(int))
        false, true = false[kept], true[kept]
    areas, covariance = delong(test.positive, probability, test.patients)
    ends = delong_interval(float(areas[0]), float(covariance[0, 0]))
    return {
        "false_positive_rate": _rounded(false), "true_positive_rate": _rounded(true), "auc": float(areas[0]),
        "low": ends[0] if ends else None, "high": ends[1] if ends else None,
        "images": len(test.positive), "patients": len(set(test.patients.tolist())),
    }  # fmt: skip


def reliability(positive: NDArray[np.bool_], probability: Float) -> dict[str, list[float]]:
    """By groups of like probability: its mean, the share of positive images with its exact interval, and their number.

    The interval takes images for independent; those of a patient are not, so it is too narrow by as much.
    """
    groups = _groups(probability)
    ends = [clopper_pearson(int(positive[rows].sum()), len(rows)) for rows in groups]
    return {
        "predicted": _rounded(np.array([probability[rows].mean() for rows in groups])),
        "observed": _rounded(np.array([positive[rows].mean() for rows in groups])),
        "low": _rounded(np.array([low for low, _ in ends])),
        "high": _rounded(np.array([high for _, high in ends])),
        "images": [len(rows) for rows in groups],
    }


def calibration_error(positive: NDArray[np.bool_], probability: Float) -> float:
    """Mean over images of the distance of their group's mean probability to its share of positive images."""
    return float(
        sum(len(rows) * abs(positive[rows].mean() - probability[rows].mean()) for rows in _groups(probability))
        / len(probability)
    )


def _groups(probability: Float) -> list[NDArray[np.intp]]:
    """Images in order of their probability, in :data:`BINS` groups as equal as can be."""
    order = np.argsort(probability, kind="stable")
    return [rows for rows in np.array_split(order, min(BINS, len(order))) if len(rows)]


def _silhouettes(
    arms: Sequence[Judged], test: Labelled, empty: Measurement, options: EvaluationOptions
) -> list[Measurement]:
    between = [distances(one.trained.embedding) for one in arms]

    def statistic(rows: NDArray[np.intp]) -> Float:
        own = np.array([silhouette(table[np.ix_(rows, rows)], test.positive[rows]) for table in between])
        return np.concatenate([own, own[1:] - own[0]])

    values, low, high, how = one_set_jackknife(statistic, test.patients, options.jackknife_groups, options.seed)
    what = "Euclidean, what the last layer reads, each feature times its weight"
    names = [(one, "silhouette-classifier", "real test") for one in arms]
    names += [(one, "silhouette-classifier-gain", f"{arms[0].name} (the same test images)") for one in arms[1:]]
    return [
        replace(empty, name=name, arm=one.name, value=_known(values[i]), low=_known(low[i]), high=_known(high[i]),
                better="higher", compared=compared,
                method=f"{one.trained.method}; {what}; {how}; synthoma {__version__}")
        for i, (one, name, compared) in enumerate(names)
    ]  # fmt: skip


def _drawn(arms: Sequence[Judged], test: Labelled, positive: str, options: EvaluationOptions) -> dict[str, Any]:
    """t-SNE and PCA of the test images by what the last layer of an arm reads: a map an arm, for each has its own."""
    rows = spread_over_patients(test.patients, 2 * options.embedding.images, options.seed, "classifier embedding")
    drawn = {}
    for one in arms:
        if one.name in SHOWN and len(rows) >= 8:
            plane = in_the_plane(one.trained.embedding[rows], options.embedding, options.seed)
            drawn[one.name] = {
                "tsne": _points(plane.tsne), "pca": _points(plane.pca), "positive": test.positive[rows].tolist(),
                "label": positive, "perplexity": round(plane.perplexity, 1), "seed": plane.seed,
                "explained": _rounded(np.array(plane.explained)), "patients": len(set(test.patients[rows].tolist())),
            }  # fmt: skip
    return drawn


def _points(places: Float) -> list[list[float]]:
    return [[float(f"{x:.4g}"), float(f"{y:.4g}")] for x, y in places.tolist()]


def _rounded(values: NDArray[Any]) -> list[float]:
    return [round(float(value), 5) for value in values]


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
