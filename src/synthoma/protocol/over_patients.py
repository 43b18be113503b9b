"""Intervals over patients from all folds: each patient was tested once a run, by a generator that never saw it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from synthoma.evaluation import EvaluationOptions, Evidence
from synthoma.evaluation.statistics import Interval, patient_bootstrap, patient_interval
from synthoma.protocol.folds import Fold

__all__ = ["OverPatients", "over_patients"]

Key = tuple[str, str, str, str]
Float = NDArray[np.float64]


class OverPatients(NamedTuple):
    """A number over patients, its interval, and how many they are."""

    interval: Interval
    patients: int


def over_patients(
    found: Mapping[Fold, Evidence], keys: Sequence[Key], options: EvaluationOptions
) -> dict[Key, OverPatients]:
    """The mean over patients and its interval, for the numbers that are known patient by patient.

    Of similarity each patient's value is the mean over runs (curve ``similarity_by_patient``). Of a classifier the
    patients are drawn with all their images in all runs (curve ``predictions``), and the number is the mean over folds.
    """
    intervals = {key: interval for key in keys if (interval := _of_similarity(found, key, options)) is not None}
    return intervals | _of_classifiers(found, keys, options)


def _of_similarity(found: Mapping[Fold, Evidence], key: Key, options: EvaluationOptions) -> OverPatients | None:
    name, region, arm, compared = key
    measure = name.removesuffix("-median").removesuffix("-difference")
    values: dict[str, list[float]] = {}
    for evidence in found.values():
        for against, measures in evidence.curves.get("similarity_by_patient", {}).items():
            arms = measures.get(measure, {}).get(region, {})
            own, other = arms.get(arm, {}), arms.get(compared, {})
            if name.endswith("-difference"):
                own = {patient: own[patient] - other[patient] for patient in own if patient in other}
            elif against != compared:
                continue
            for patient, value in own.items():
                values.setdefault(patient, []).append(value)
    if not values:
        return None
    means = np.array([np.mean(values[patient]) for patient in sorted(values)])
    statistic = np.median if name.endswith("-median") else np.mean
    found_ = patient_interval(means, options.seed, options.bootstrap_draws, statistic)
    over = "median" if name.endswith("-median") else "mean"
    method = f"{over} over patients of all folds; {found_.method}"
    return OverPatients(Interval(found_.value, found_.low, found_.high, method), len(means))


def _of_classifiers(
    found: Mapping[Fold, Evidence], keys: Sequence[Key], options: EvaluationOptions
) -> dict[Key, OverPatients]:
    """One bootstrap for all arms and their differences."""
    parts = [curve for part in found.values() if (curve := part.curves.get("predictions"))]
    arms = [arm for arm in (parts[0]["arms"] if parts else ()) if all(arm in part["arms"] for part in parts)]
    wanted = _wanted(keys, arms)
    if not wanted:
        return {}
    from synthoma.evaluation.classifier import classification_metrics

    fold_of = np.repeat(np.arange(len(parts)), [len(part["patient"]) for part in parts])
    patients = np.concatenate([np.asarray(part["patient"], dtype=np.str_) for part in parts])
    positive = np.concatenate([np.asarray(part["positive"], dtype=bool) for part in parts])
    probability = [np.concatenate([np.asarray(part["arms"][arm], float) for part in parts]) for arm in arms]
    number, arm, base = (np.array(column) for column in zip(*wanted.values(), strict=True))

    def statistic(rows: NDArray[np.intp]) -> Float:
        owns = [rows[fold_of[rows] == fold] for fold in range(len(parts))]
        table = np.array([[classification_metrics(positive[o], p[o]) for p in probability] for o in owns if len(o)])
        counts = np.isfinite(table).sum(axis=0)
        means = np.where(counts > 0, np.nansum(table, axis=0) / np.maximum(counts, 1), np.nan)  # (arm, metric)
        return np.asarray(means[arm, number] - np.where(base >= 0, means[base, number], 0.0))

    values, low, high, how = patient_bootstrap(statistic, patients, options.seed, options.bootstrap_draws)
    many = len(set(patients.tolist()))
    return {
        key: OverPatients(Interval(_known(value), _known(ends[0]), _known(ends[1]), f"mean over folds; {how}"), many)
        for key, value, *ends in zip(wanted, values.tolist(), low.tolist(), high.tolist(), strict=True)
    }


def _wanted(keys: Sequence[Key], arms: Sequence[str]) -> dict[Key, tuple[int, int, int]]:
    """Numbers of a classifier → (metric, arm, the arm that it is compared with or −1)."""
    from synthoma.evaluation.classifier import METRICS_OF_CLASSIFIER

    wanted = {}
    for key in keys:
        name, region, arm, compared = key
        metric = name.removesuffix("-difference")
        if region or arm not in arms or metric not in METRICS_OF_CLASSIFIER:
            continue
        base = -1
        if metric != name:  # compared: "real (the same test images)"
            others = [other for other in arms if compared == other or compared.startswith(f"{other} ")]
            if not others:
                continue
            base = arms.index(max(others, key=len))
        wanted[key] = (METRICS_OF_CLASSIFIER.index(metric), arms.index(arm), base)
    return wanted


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None
