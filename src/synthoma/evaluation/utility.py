"""Utility: does a classifier learn more, or as much, from synthetic images? Judged on real test patients only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from synthoma import __version__
from synthoma.cohort.guard import check_augmentation
from synthoma.evaluation.evidence import Evidence, Verdict
from synthoma.evaluation.features import Features
from synthoma.evaluation.options import EvaluationOptions
from synthoma.evaluation.pairs import HEADLINE
from synthoma.evaluation.statistics import patient_bootstrap
from synthoma.records import Cohort, Measurement

if TYPE_CHECKING:
    from synthoma.evaluation.classifier import Labelled, Trained

__all__ = ["augmentation", "evaluate_utility", "positive_label"]

ARMS = ("real", "real+synthetic", "synthetic")
FEW_PATIENTS = 20
COMPARED = "balanced-accuracy"
"""The measure that the verdict reads: the classes need not be equally frequent in the test split."""

DEFINITIONS = {
    "accuracy": "Share of real test images that are called rightly.",
    "balanced-accuracy": "Mean of sensitivity and specificity: ½ for a classifier that has learned nothing.",
    "sensitivity": "Share of the positive images that are called positive (recall).",
    "specificity": "Share of the negative images that are called negative.",
    "precision": "Share of the images called positive that are.",
    "f1": "Harmonic mean of precision and sensitivity.",
    "auc": "Area under the ROC curve: the chance that a positive image scores above a negative one.",
    "brier": "Mean squared difference of predicted probability and truth; lower is better.",
}
DEFINITIONS |= {
    f"{name}-difference": f"{name} of the arm minus that of the arm 'real', on the same test images."
    for name in ("accuracy", "balanced-accuracy", "sensitivity", "auc")
}


def augmentation(
    real: Cohort, synthetic: Mapping[str, Cohort]
) -> tuple[list[tuple[str, Cohort, NDArray[np.intp]]], list[str]]:
    """Synthetic samples to train on: (name, cohort, rows), and warnings.

    All unpaired cohorts (made from training patients, or from noise) that have the channels and the generator of the
    first of them; of a translation the images of training patients only, since held-out ones are translated to be
    judged. Without any, the rows of ``reconstruct`` whose patients are training patients.

    Raises:
        LeakError: a test patient had an influence on one of them. Validation patients may: they choose the generator's
            checkpoint and the classifier's weights, and nothing is judged on them.
    """
    sides: list[str] = real.table["split"].tolist()
    split = dict(zip(real.table["patient"].tolist(), sides, strict=True))
    held_out = [patient for patient, side in split.items() if side == "test"]
    chosen: list[tuple[str, Cohort, NDArray[np.intp]]] = []
    warnings: list[str] = []
    for name, cohort in synthetic.items():
        if cohort.is_paired and (name != HEADLINE or not all(c.is_paired for c in synthetic.values())):
            continue
        rows = np.arange(len(cohort))
        if cohort.is_paired or cohort.is_translation:
            rows = np.flatnonzero([split.get(patient) == "train" for patient in cohort.table["patient"].tolist()])
        if not len(rows):
            continue
        if chosen and cohort.channels != chosen[0][1].channels:
            warnings.append(f"utility: {name} has other channels than {chosen[0][0]}: the classifier does not read it.")
        elif chosen and _generators(cohort) != _generators(chosen[0][1]):
            warnings.append(f"utility: {name} is of another generator than {chosen[0][0]}: not added to it.")
        else:
            chosen.append((name, cohort, rows))
    for _, cohort, rows in chosen:
        check_augmentation(cohort.select(rows) if len(rows) < len(cohort) else cohort, held_out)
    if not chosen:
        warnings.append("utility: no synthetic images of training patients: the arm 'real' stands alone.")
    return chosen, warnings


def _generators(cohort: Cohort) -> set[str]:
    """The trainings that the samples descend from."""
    return {lineage.id for lineage in cohort.lineages.values() if lineage.step == "train"}


def evaluate_utility(
    real: Cohort, synthetic: Mapping[str, Cohort], options: EvaluationOptions, features: Features
) -> Evidence:
    """The classifier arms ``real``, ``real+synthetic`` and ``synthetic`` on the stored split, target: the label."""
    chosen, warnings = augmentation(real, synthetic)
    if real.images.ndim != 4:
        return Evidence(warnings=("utility: the classifier reads 2D images only.",), definitions=DEFINITIONS)
    positive, problem = positive_label(real)
    if problem:
        return Evidence(warnings=(f"utility: {problem}",), definitions=DEFINITIONS)
    from synthoma.evaluation.classifier import joined, labelled, train_classifier

    channels = (chosen[0][1] if chosen else next(iter(synthetic.values()))).channels
    most, seed = options.max_images, options.seed

    def of(cohort: Cohort, rows: NDArray[np.intp]) -> Labelled:
        return labelled(cohort, rows, channels, cohort.table["label"] == positive, most, seed)

    train, validation, test = (of(real, real.rows(split=side)) for side in ("train", "validation", "test"))
    made = [of(cohort, rows) for _, cohort, rows in chosen]
    trained: dict[str, Trained] = {}
    sizes: dict[str, int] = {}
    for arm in ARMS if made else ARMS[:1]:
        parts = {"real": [train], "real+synthetic": [train, *made], "synthetic": made}[arm]
        pool = joined(parts)
        if pool.positive.all() or not pool.positive.any():
            warnings.append(f"utility, {arm}: its training images are all of one class, so it was not trained.")
            continue
        sizes[arm] = len(pool.positive)
        trained[arm] = train_classifier(pool, validation, test, options.classifier, options.seed, features)
    if "real" not in trained:
        return Evidence(warnings=tuple(warnings), definitions=DEFINITIONS)
    count = len(set(test.patients.tolist()))
    if count < FEW_PATIENTS:
        warnings.append(
            f"utility: {count} test patients, fewer than {FEW_PATIENTS}: its bootstrap intervals are too narrow."
        )
    measurements, verdicts = _measure(trained, sizes, test, positive, options, features)
    curves = {
        arm: {"step": t.steps, "validation_loss": t.validation_loss, "training_images": sizes[arm],
              "best_step": t.best_step, "confusion": _confusion(test.positive, t.probability)}
        for arm, t in trained.items()
    }  # fmt: skip
    return Evidence(tuple(measurements), {"classifier": curves}, tuple(warnings), tuple(verdicts), DEFINITIONS)


def _measure(
    trained: Mapping[str, Trained], sizes: Mapping[str, int], test: Labelled, positive: str, options: EvaluationOptions,
    features: Features,
) -> tuple[list[Measurement], list[Verdict]]:  # fmt: skip
    """Every arm's metrics and their differences from ``real``, all on the same draws of test patients."""
    from synthoma.evaluation.classifier import METRICS_OF_CLASSIFIER as NAMES
    from synthoma.evaluation.classifier import classification_metrics

    arms = list(trained)

    def statistic(rows: NDArray[np.intp]) -> NDArray[np.float64]:
        own = np.stack([classification_metrics(test.positive[rows], trained[arm].probability[rows]) for arm in arms])
        return np.concatenate([own, own[1:] - own[0]]).ravel()

    values, low, high, how = patient_bootstrap(statistic, test.patients, options.seed, options.bootstrap_draws)
    shape = (2 * len(arms) - 1, len(NAMES))
    values, low, high = values.reshape(shape), low.reshape(shape), high.reshape(shape)
    c = options.classifier
    base = (
        f"{features.description}, trainable: {c.trainable}; AdamW, {c.steps} steps, batch {c.batch}, classes balanced, "
        f"lowest validation loss; positive = {positive}, threshold 0.5"
    )
    measurements, verdicts = [], []
    for i in range(shape[0]):
        arm = arms[i] if i < len(arms) else arms[i - len(arms) + 1]
        difference = i >= len(arms)
        for j, name in enumerate(NAMES):
            if difference and f"{name}-difference" not in DEFINITIONS:
                continue
            better: Literal["higher", "lower"] = "lower" if name == "brier" else "higher"
            measurement = Measurement(
                f"{name}-difference" if difference else name, _known(values[i, j]), _known(low[i, j]),
                _known(high[i, j]), len(test.positive), len(set(test.patients.tolist())), arm, "", "", better,
                f"{base}; {sizes[arm]} training images; {how}; synthoma {__version__}",
                "real (the same test images)" if difference else "real test",
            )  # fmt: skip
            measurements.append(measurement)
            if difference and name == COMPARED:
                verdicts.append(_verdict(arm, measurement))
    return measurements, verdicts


def _verdict(arm: str, difference: Measurement) -> Verdict:
    claim = f"A classifier trained on {arm} has a higher balanced accuracy than one trained on real images"
    if difference.value is None:
        return Verdict(claim, "cannot tell", "A class is missing from the test split.")
    text = f"difference {100 * difference.value:+.1f} points, {difference.n_patients} test patients, one training run"
    if difference.low is None or difference.high is None:
        return Verdict(claim, "cannot tell", f"{text}, no interval.")
    text += f", 95 % interval {100 * difference.low:+.1f} to {100 * difference.high:+.1f}"
    if difference.low > 0:
        return Verdict(claim, "supported", text + ".")
    lost = difference.value <= 0
    return Verdict(claim, "not supported" if lost else "cannot tell", text + ".")


def positive_label(real: Cohort) -> tuple[str, str]:
    """The positive label, or why there is none. Both must occur in every split."""
    labels = sorted(set(real.table["label"].tolist()))
    if len(labels) != 2:
        return "", f"a classifier needs two labels, the real cohort has {len(labels)} ({', '.join(labels) or 'none'})."
    for side in ("train", "validation", "test"):
        present = set(real.table["label"][real.rows(split=side)].tolist())
        if len(present) < 2:
            found = f"only '{present.pop()}'" if present else "no images"
            return "", f"a classifier needs both labels in every split, {side} has {found}."
    return ("tumour" if "tumour" in labels else labels[1]), ""


def _confusion(positive: NDArray[np.bool_], probability: NDArray[np.float64]) -> dict[str, int]:
    called = probability >= 0.5
    return {
        "true_positive": int((called & positive).sum()),
        "false_negative": int((~called & positive).sum()),
        "false_positive": int((called & ~positive).sum()),
        "true_negative": int((~called & ~positive).sum()),
    }


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
