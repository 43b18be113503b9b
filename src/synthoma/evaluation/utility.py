"""Utility: does a classifier learn more, or as much, from synthetic images? Judged on real test patients only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from synthoma.cohort.guard import check_augmentation
from synthoma.evaluation.evidence import Evidence
from synthoma.evaluation.features import Features
from synthoma.evaluation.options import EvaluationOptions
from synthoma.evaluation.pairs import HEADLINE
from synthoma.evaluation.utility_measures import DEFINITIONS as OF_ARMS
from synthoma.evaluation.utility_measures import Judged, measure_arms
from synthoma.evaluation.utility_pictures import DEFINITIONS as OF_PICTURES
from synthoma.evaluation.utility_pictures import pictures_of_arms
from synthoma.records import Cohort

if TYPE_CHECKING:
    from synthoma.evaluation.arms import Pool
    from synthoma.evaluation.classifier import Labelled, Trained

__all__ = ["DEFINITIONS", "Lessons", "augmentation", "evaluate_utility", "lessons", "positive_label"]

FEW_PATIENTS = 20
DEFINITIONS = OF_ARMS | OF_PICTURES


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


@dataclass(frozen=True)
class Lessons:
    """What the classifiers are trained on and judged by."""

    pools: list[Pool]
    """The arms, ``real`` first, then the points of the curves."""
    validation: Labelled
    test: Labelled
    test_rows: NDArray[np.intp]
    """Of the real cohort: the samples of ``test``."""
    channels: tuple[str, ...]
    positive: str
    """The positive label."""


def lessons(
    real: Cohort, synthetic: Mapping[str, Cohort], options: EvaluationOptions
) -> tuple[Lessons | None, list[str]]:
    """The arms of :class:`UtilityOptions` on the stored split, target: the label; ``None`` where there can be none,
    and warnings, which say why."""
    chosen, warnings = augmentation(real, synthetic)
    if real.images.ndim != 4:
        return None, ["utility: the classifier reads 2D images only."]
    positive, problem = positive_label(real)
    if problem:
        return None, [f"utility: {problem}"]
    from synthoma.evaluation.arms import main_pools, pools_of_curves, share_of, too_few
    from synthoma.evaluation.classifier import drawn, joined, labelled

    channels = (chosen[0][1] if chosen else next(iter(synthetic.values()))).channels
    most, seed, settings = options.max_images, options.seed, options.utility

    def of(cohort: Cohort, rows: NDArray[np.intp]) -> Labelled:
        return labelled(cohort, rows, channels, cohort.table["label"] == positive, most, seed)

    real_train, validation, test = (of(real, real.rows(split=side)) for side in ("train", "validation", "test"))
    everything = joined([of(cohort, rows) for _, cohort, rows in chosen]) if chosen else None
    made = everything
    if everything is not None and settings.ratio is not None:
        wanted = max(1, round(settings.ratio * len(real_train.positive)))
        if wanted > len(everything.positive):
            warnings.append(too_few(settings.ratio, wanted, len(everything.positive)))
        made = share_of(everything, wanted, seed)
    points, problems = pools_of_curves(real_train, made, everything, settings, seed)
    pools = [*main_pools(real_train, made, settings, seed), *points]
    test_rows = drawn(real, real.rows(split="test"), most, seed)
    return Lessons(pools, validation, test, test_rows, channels, positive), warnings + problems


def evaluate_utility(
    real: Cohort, synthetic: Mapping[str, Cohort], options: EvaluationOptions, features: Features
) -> Evidence:
    """The classifier arms, their differences, their curves."""
    options.classifier.check_weights()
    asked, warnings = lessons(real, synthetic, options)
    if asked is None:
        return Evidence(warnings=tuple(warnings), definitions=DEFINITIONS)
    from synthoma.evaluation.classifier import train_classifier

    test = asked.test

    def train(images: Labelled) -> Trained:
        return train_classifier(images, asked.validation, test, options.classifier, options.seed, features)

    judged: list[Judged] = []
    for pool in asked.pools:
        if pool.images.positive.all() or not pool.images.positive.any():
            warnings.append(f"utility, {pool.name}: its training images are all of one class, so it was not trained.")
            continue
        whole = [one.trained for one in judged if one.name == pool.arm and pool.curve == "patients" and pool.at == 1]
        judged.append(Judged(pool, whole[0] if whole else train(pool.images)))
    if not judged or judged[0].name != "real":
        return Evidence(warnings=tuple(warnings), definitions=DEFINITIONS)
    count = len(set(test.patients.tolist()))
    if count < FEW_PATIENTS:
        warnings.append(
            f"utility: {count} test patients, fewer than {FEW_PATIENTS}: its bootstrap intervals are too narrow."
        )
    measurements, verdicts, curves = measure_arms(judged, test, asked.positive, options)
    of_pictures, pictures = pictures_of_arms(judged, test, asked.positive, options)
    measurements, curves = measurements + of_pictures, curves | pictures
    curves["predictions"] = {
        "id": real.table["id"][asked.test_rows].tolist(), "patient": test.patients.tolist(),
        "positive": test.positive.tolist(),
        "arms": {one.name: one.trained.probability.tolist() for one in judged if not one.pool.curve},
    }  # fmt: skip
    return Evidence(tuple(measurements), curves, tuple(warnings), tuple(verdicts), DEFINITIONS)


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
