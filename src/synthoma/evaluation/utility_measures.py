"""What the classifiers of the utility family are worth, and how each arm compares with its rivals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from synthoma import __version__
from synthoma.evaluation.delong import delong, delong_interval
from synthoma.evaluation.evidence import Verdict
from synthoma.evaluation.options import EvaluationOptions
from synthoma.evaluation.statistics import clopper_pearson, patient_bootstrap
from synthoma.evaluation.tests_of_difference import patients_right
from synthoma.evaluation.utility_tests import COMPARED, Comparison, compare, verdict_of
from synthoma.records import Measurement

if TYPE_CHECKING:
    from synthoma.evaluation.arms import Pool
    from synthoma.evaluation.classifier import Labelled, Trained

__all__ = ["DEFINITIONS", "Judged", "measure_arms"]

Float = NDArray[np.float64]
RIVALS = ("real+duplicates", "real+classical")
"""What ``real+synthetic`` is compared with beside ``real``."""
SAME = " (the same test images)"
ON_CURVES = (COMPARED, "auc")

DEFINITIONS = {
    "accuracy": "Share of real test images that are called rightly.",
    "balanced-accuracy": "Mean of sensitivity and specificity: ½ for a classifier that has learned nothing.",
    "sensitivity": "Share of the positive images that are called positive (recall).",
    "specificity": "Share of the negative images that are called negative.",
    "precision": "Share of the images called positive that are.",
    "f1": "Harmonic mean of precision and sensitivity.",
    "auc": "Area under the ROC curve: the chance that a positive image scores above a negative one.",
    "brier": "Mean squared difference of predicted probability and truth; lower is better.",
    "auc-delong": "The area under the ROC curve again, with DeLong's interval (images of a patient together).",
    "patients-right": "Share of test patients more than half of whose images are called rightly; exact interval.",
}
DEFINITIONS |= {
    f"{name}-difference": f"{name} of the arm minus that of 'real', or of the arm named, on the same test images."
    for name in ("accuracy", "balanced-accuracy", "sensitivity", "auc")
}
DEFINITIONS |= {
    "exchange-p-holm": "How often two classifiers as good as each other differ as much in balanced accuracy (their "
    "answers exchanged patient by patient), corrected for all comparisons of arms (Holm).",
    "mcnemar-p-holm": "McNemar's exact test of the patients that one of two classifiers calls rightly and the other "
    "does not, corrected for all comparisons of arms (Holm).",
    "balanced-accuracy-by-ratio": "balanced-accuracy of real images with so many synthetic ones for each.",
    "auc-by-ratio": "auc of real images with so many synthetic ones for each.",
    "balanced-accuracy-by-patients": "balanced-accuracy with a share of the real training patients. With synthetic "
    "images it flatters small shares: their generator saw all training patients.",
    "auc-by-patients": "auc with a share of the real training patients; read as balanced-accuracy-by-patients.",
}


@dataclass(frozen=True)
class Judged:
    """A trained classifier and what it was trained on."""

    pool: Pool
    trained: Trained

    @property
    def name(self) -> str:
        """Of the arm or of the point of a curve."""
        return self.pool.name


def measure_arms(
    judged: Sequence[Judged], test: Labelled, positive: str, options: EvaluationOptions
) -> tuple[list[Measurement], list[Verdict], dict[str, Any]]:
    """Every arm's metrics and every difference, all on the same draws of test patients; verdicts, and curves."""
    from synthoma.evaluation.classifier import METRICS_OF_CLASSIFIER as NAMES
    from synthoma.evaluation.classifier import classification_metrics

    names = [one.name for one in judged]
    arms = [one.name for one in judged if not one.pool.curve]
    pairs = [(arm, "real") for arm in arms[1:]]
    pairs += [("real+synthetic", rival) for rival in RIVALS if rival in arms and "real+synthetic" in arms]
    places = [(names.index(arm), names.index(other)) for arm, other in pairs]

    def statistic(rows: NDArray[np.intp]) -> Float:
        own = np.stack([classification_metrics(test.positive[rows], j.trained.probability[rows]) for j in judged])
        return np.concatenate([own, *(own[[i]] - own[j] for i, j in places)]).ravel()

    found, low, high, how = patient_bootstrap(statistic, test.patients, options.seed, options.bootstrap_draws)
    table = np.stack([found, low, high]).reshape(3, len(judged) + len(pairs), len(NAMES))
    count = len(set(test.patients.tolist()))
    empty = Measurement("", None, None, None, len(test.positive), count, "", "", "", "higher", "", "real test")
    measurements: list[Measurement] = []
    for i, one in enumerate(judged):
        base = replace(empty, arm=one.name, method=_method(one, positive))
        measurements += _own(one, table[:, i], NAMES, how, base)
        measurements += [] if one.pool.curve else _by_patient(one, test, base)
    differences: dict[tuple[str, str], Measurement] = {}
    for k, (arm, other) in enumerate(pairs):
        method = f"{_method(judged[names.index(arm)], positive)}; {how}; synthoma {__version__}"
        base = replace(empty, arm=arm, compared=f"{other}{SAME}", method=method)
        for j, name in enumerate(NAMES):
            if f"{name}-difference" in DEFINITIONS and (other == "real" or name == COMPARED):
                made = _valued(base, f"{name}-difference", table[:, len(judged) + k, j])
                measurements.append(made)
                differences |= {(arm, other): made} if name == COMPARED else {}
    compared = compare({one.name: one.trained.probability for one in judged}, pairs, test, options)
    measurements += [m for one in compared for m in _p_values(one, empty)]
    verdicts = [
        verdict_of(one, differences[one.arm, one.other], differences, options)
        for one in compared
        if "synthetic" in one.arm and one.other != "real+duplicates"
    ]
    curves = {"classifier": {one.name: _training(one, test) for one in judged if not one.pool.curve}}
    return measurements, verdicts, curves | _curves(judged, table, NAMES, compared)


def _method(one: Judged, positive: str) -> str:
    cut, images = one.trained.threshold, len(one.pool.images.positive)
    return f"{one.trained.method} (cut at {cut:.3g}); positive = {positive}; {images} training images"


def _own(one: Judged, table: Float, names: Sequence[str], how: str, empty: Measurement) -> list[Measurement]:
    empty = replace(empty, method=f"{empty.method}; {how}; synthoma {__version__}")
    found = []
    for j, name in enumerate(names):
        if not one.pool.curve:
            better: Literal["higher", "lower"] = "lower" if name == "brier" else "higher"
            found.append(_valued(replace(empty, better=better), name, table[:, j]))
        elif name in ON_CURVES:
            found.append(_valued(empty, f"{name}-by-{one.pool.curve}", table[:, j]))
    return found


def _by_patient(one: Judged, test: Labelled, empty: Measurement) -> list[Measurement]:
    """AUC with DeLong's interval, and the share of patients called rightly with the exact one."""
    areas, covariance = delong(test.positive, one.trained.probability, test.patients)
    ends = delong_interval(float(areas[0]), float(covariance[0, 0]))
    how = "95 % interval of DeLong 1988 on the logit scale, images of a patient together (Obuchowski 1997)"
    if ends is None:
        how = "no interval: DeLong's variance is 0 or unknown"
    _, right = patients_right((one.trained.probability >= 0.5) == test.positive, test.patients)
    exact = clopper_pearson(int(right.sum()), len(right))
    return [
        replace(empty, name="auc-delong", value=_known(float(areas[0])), low=ends[0] if ends else None,
                high=ends[1] if ends else None, method=f"{empty.method}; {how}; synthoma {__version__}"),
        replace(empty, name="patients-right", value=float(right.mean()), low=exact[0], high=exact[1],
                method=f"{empty.method}; 95 % Clopper–Pearson interval of {len(right)} patients; "
                f"synthoma {__version__}"),
    ]  # fmt: skip


def _p_values(one: Comparison, empty: Measurement) -> list[Measurement]:
    base = replace(empty, arm=one.arm, compared=f"{one.other}{SAME}", better="")
    family = f"Holm over {one.family} comparisons; synthoma {__version__}"
    mcnemar = f"{one.mcnemar.only_first} patients by {one.arm} alone, {one.mcnemar.only_second} by {one.other} alone"
    return [
        replace(base, name="exchange-p-holm", value=one.exchange_p_holm,
                method=f"answers exchanged patient by patient ({one.exchanges}), p = {one.exchange_p:.3g}; {family}"),
        replace(base, name="mcnemar-p-holm", value=one.mcnemar_p_holm,
                method=f"exact McNemar: {mcnemar}, p = {one.mcnemar.p:.3g}; {family}"),
    ]  # fmt: skip


def _training(one: Judged, test: Labelled) -> dict[str, Any]:
    called = one.trained.probability >= 0.5
    return {
        "step": one.trained.steps,
        "validation_loss": one.trained.validation_loss,
        "training_images": len(one.pool.images.positive),
        "best_step": one.trained.best_step,
        "threshold": one.trained.threshold,
        "confusion": {
            "true_positive": int((called & test.positive).sum()),
            "false_negative": int((~called & test.positive).sum()),
            "false_positive": int((called & ~test.positive).sum()),
            "true_negative": int((~called & ~test.positive).sum()),
        },
    }


def _curves(
    judged: Sequence[Judged], table: Float, names: Sequence[str], compared: Sequence[Comparison]
) -> dict[str, Any]:
    """``ratio_curve`` and ``learning_curve``, each by arm, and ``utility_comparisons``; those that are there."""
    curves: dict[str, Any] = {}
    for i, one in enumerate(judged):
        pool = one.pool
        if pool.curve:
            point: dict[str, Any] = {"at": pool.at, "training_images": len(pool.images.positive)}
            if pool.curve == "patients" and pool.arm == "real":
                point["patients"] = len(set(pool.images.patients.tolist()))
            for name in ON_CURVES:
                ends = [_known(float(value)) for value in table[:, i, names.index(name)]]
                point[name] = dict(zip(("value", "low", "high"), ends, strict=True))
            curve = curves.setdefault("ratio_curve" if pool.curve == "ratio" else "learning_curve", {})
            curve.setdefault(pool.arm, []).append(point)
    return curves | ({"utility_comparisons": [one.to_json() for one in compared]} if compared else {})


def _valued(empty: Measurement, name: str, values: Float) -> Measurement:
    value, low, high = (_known(float(number)) for number in values)
    return replace(empty, name=name, value=value, low=low, high=high)


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
