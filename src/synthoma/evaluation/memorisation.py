"""Does a cohort as a whole lean towards the patients that its generator learned from?"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthoma import __version__
from synthoma.evaluation.audited import Audited, EqualSets, equal_sets, images_of
from synthoma.evaluation.closer import Closer, authentic, closer_to_training
from synthoma.evaluation.evidence import Verdict
from synthoma.evaluation.features import Features
from synthoma.evaluation.membership import Attack, attack, density_ratio, nearest_distance
from synthoma.evaluation.near_duplicates import distance_of
from synthoma.evaluation.options import EvaluationOptions
from synthoma.evaluation.registration import SHIFT_PX, prepare
from synthoma.evaluation.statistics import patient_interval, patient_means, spread_over_patients
from synthoma.records import Cohort, Measurement

__all__ = ["ALIKE", "DEFINITIONS", "Memorised", "measure_memorisation"]

MARGIN = 0.1
"""A share, or an area, is called ½ where its interval ends no higher than ½ and so much."""
NEAREST_TRIED = (3, 3)
"""Patients and images registered finely where the nearest alone is asked for, not how far ahead it is."""
REAL = "real held-out"
ALIKE = (
    "partial correlation ρ given the mean real image, low-passed, best of all turns by 90°, flips and shifts of "
    f"± {SHIFT_PX} px, blind to scale and offset of intensities"
)
DEFINITIONS = {
    "nearest-training-distance": "Mean distance of an image to its nearest training image: √(2 − 2 ρ), ρ the "
    "correlation after registration without the mean image; 0 is a copy, 1.41 has nothing in common.",
    "nearest-held-out-distance": "The same to as many images of held-out patients, which the generator never saw.",
    "closer-to-training": "Share of images nearer to training patients than to as many held-out ones of the same "
    "sites; ½ when nothing was memorised.",
    "closer-to-training-features": "The same by distances of network features.",
    "authenticity": "Share of images further from their nearest training image than that one is from its nearest of "
    "another patient. No generator reaches 1: it is read beside that of held-out real images.",
    "membership-auc-nearest": "How well the distance of a patient's scans to the nearest synthetic image tells "
    "training from held-out patients: ½ is a guess, 1 is certainty.",
    "membership-auc-density": "The same by the density of synthetic over that of real images at a patient's scans.",
    "membership-tpr-nearest": "Share of the training patients found out by the nearest distance while at most 1 % of "
    "the held-out ones are wrongly accused.",
    "membership-tpr-density": "The same by the ratio of densities.",
}  # fmt: skip

Float = NDArray[np.float64]
Rows = NDArray[np.intp]


@dataclass
class Memorised:
    """What was found of one cohort."""

    measurements: list[Measurement] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    curves: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Nearest:
    """Distances of the synthetic images to the nearest of either equal set, and whose those are."""

    space: str
    training: Float
    training_row: Rows
    held_out: Float
    held_out_row: Rows


def measure_memorisation(arm: Audited, options: EvaluationOptions, features: Features) -> Memorised:
    """Share closer to training, distances, authenticity and membership inference, on equal sets of patients."""
    found = Memorised()
    equal = equal_sets(arm.real, arm.sides, options.seed)
    if equal.pairs < 2:
        found.warnings.append(
            f"{arm.name}: no two pairs of a training and a held-out patient of one site: whether it leans towards "
            "training patients was not measured."
        )
        return found
    owners = arm.cohort.table["patient"]
    made = spread_over_patients(owners, options.max_images, options.seed, "compared")
    compared = f"real train and real held-out ({equal.pairs} pairs of patients of a site, {len(equal.members)} images)"
    empty = Measurement(
        "", None, None, None, len(made), len(np.unique(owners[made])), arm.name, compared=compared
    )  # fmt: skip
    space, channels = _space(arm.cohort, features), arm.cohort.channels
    vectors = [
        _vectors(cohort, rows, channels, features)
        for cohort, rows in ((arm.cohort, made), (arm.real, equal.members), (arm.real, equal.held_out))
    ]
    spaces = {"": _by_pixels(arm, made, equal), "-features": _by_features(equal, vectors, space)}
    for suffix, nearby in spaces.items():
        _closer(nearby, f"closer-to-training{suffix}", equal, empty, arm, options, found)
    _distances(spaces[""], empty, equal, arm, made, options, found)
    _authenticity(arm, made, vectors[0], empty, space, options, features, found)
    _membership(arm, equal, vectors, empty, space, made, found)
    return found


def _by_pixels(arm: Audited, made: Rows, equal: EqualSets) -> _Nearest:
    near, far = (arm.against(made, rows, NEAREST_TRIED) for rows in (equal.members, equal.held_out))
    return _Nearest(ALIKE, distance_of(near.correlation), near.real, distance_of(far.correlation), far.real)


def _by_features(equal: EqualSets, vectors: list[Float], space: str) -> _Nearest:
    near, far = (_euclidean(vectors[0], side) for side in vectors[1:])
    return _Nearest(
        space, near.min(axis=1), equal.members[near.argmin(axis=1)], far.min(axis=1),
        equal.held_out[far.argmin(axis=1)],
    )  # fmt: skip


def _closer(
    nearby: _Nearest, name: str, equal: EqualSets, empty: Measurement, arm: Audited, options: EvaluationOptions,
    found: Memorised,
) -> None:  # fmt: skip
    pair_of = np.full(len(arm.real), -1)
    pair_of[equal.members], pair_of[equal.held_out] = equal.member_pair, equal.held_out_pair
    closer = closer_to_training(
        nearby.training, nearby.held_out, pair_of[nearby.training_row], pair_of[nearby.held_out_row], equal.pairs,
        options.seed,
    )  # fmt: skip
    p = "" if closer.p is None else f"; p = {closer.p:.3g} (one-sided)"
    method = f"{nearby.space}; {closer.method}{p}; ties ½; synthoma {__version__}"
    found.measurements.append(
        replace(empty, name=name, value=closer.share, low=closer.low, high=closer.high, better="lower", method=method)
    )
    found.curves[name] = {"share": closer.share, "p": closer.p, "pairs": closer.pairs}
    found.verdicts.append(_closer_verdict(arm.name, "features" if name.endswith("-features") else "pixels", closer))


def _closer_verdict(arm: str, space: str, closer: Closer) -> Verdict:
    claim = f"{arm} images are no nearer to training than to held-out patients ({space})"
    number = f"{closer.share:.2f} are nearer to training patients, {closer.pairs} pairs of patients"
    if closer.p is None or closer.low is None or closer.high is None:
        return Verdict(claim, "cannot tell", f"{number}: no interval.")
    number += f", 95 % interval {closer.low:.2f} to {closer.high:.2f}, p = {closer.p:.3g}"
    if closer.p <= 0.05:
        return Verdict(claim, "not supported", f"{number}: it leans towards patients that it learned from.")
    return Verdict(claim, "supported" if closer.high <= 0.5 + MARGIN else "cannot tell", f"{number}.")


def _distances(
    nearby: _Nearest, empty: Measurement, equal: EqualSets, arm: Audited, made: Rows, options: EvaluationOptions,
    found: Memorised,
) -> None:  # fmt: skip
    """Mean nearest distances, and beside them those of held-out real images to the same training images."""
    real = arm.real.table["patient"][equal.held_out]
    floor = arm.held_out_against(equal.held_out, equal.members, NEAREST_TRIED)
    sets = [
        ("nearest-training-distance", arm.name, nearby.training, arm.cohort.table["patient"][made]),
        ("nearest-held-out-distance", arm.name, nearby.held_out, arm.cohort.table["patient"][made]),
        ("nearest-training-distance", REAL, distance_of(floor.correlation), real),
    ]
    for name, who, values, owners in sets:
        names, means = patient_means(values, owners)
        interval = patient_interval(means, options.seed, options.bootstrap_draws)
        found.measurements.append(
            replace(
                empty, name=name, arm=who, value=interval.value, low=interval.low, high=interval.high,
                n_images=len(values), n_patients=len(names),
                compared=f"beside {arm.name}" if who == REAL else empty.compared,
                method=f"√(2 − 2 ρ), {ALIKE}; per patient, then mean; {interval.method}; synthoma {__version__}",
            )
        )  # fmt: skip


def _authenticity(
    arm: Audited, made: Rows, vectors: Float, empty: Measurement, space: str, options: EvaluationOptions,
    features: Features, found: Memorised,
) -> None:  # fmt: skip
    """Of the synthetic and of held-out real images, among at most ``max_images`` training images."""
    patients = arm.real.table["patient"]
    subsets = [
        rows[spread_over_patients(patients[rows], options.max_images, options.seed, "authenticity")]
        for rows in (arm.sides.members, arm.sides.held_out)
    ]
    training, held_out = (_vectors(arm.real, rows, arm.cohort.channels, features) for rows in subsets)
    within = _euclidean(training, training)
    within[patients[subsets[0]][:, None] == patients[subsets[0]]] = np.inf
    if not np.isfinite(within.min(axis=1)).all():
        return
    sets = ((arm.name, vectors, arm.cohort.table["patient"][made]), (REAL, held_out, patients[subsets[1]]))
    for who, own, owners in sets:
        names, means = patient_means(authentic(_euclidean(own, training), within).astype(float), owners)
        interval = patient_interval(means, options.seed, options.bootstrap_draws)
        found.measurements.append(
            replace(
                empty, name="authenticity", arm=who, value=interval.value, low=interval.low, high=interval.high,
                n_images=len(own), n_patients=len(names), better="higher",
                compared=f"real train ({len(training)} images); beside {arm.name}",
                method=f"{space}; per patient, then mean; {interval.method}; synthoma {__version__}",
            )
        )  # fmt: skip


def _membership(
    arm: Audited, equal: EqualSets, vectors: list[Float], empty: Measurement, space: str, made: Rows, found: Memorised
) -> None:
    """Two attacks on the pairs of patients: members and others in equal number, with as many images each."""
    rows = np.concatenate([equal.members, equal.held_out])
    patients = arm.real.table["patient"][rows]
    member = np.arange(len(rows)) < len(equal.members)
    candidates = np.concatenate(vectors[1:])
    alike = arm.coarse[0][np.ix_(made, np.searchsorted(arm.rows, rows))].T
    attacks = {
        "nearest": (nearest_distance(distance_of(alike)), f"{ALIKE}, coarse grid"),
        "density": (density_ratio(candidates, patients, vectors[0]), f"{space}, Gaussian kernels on 10 components"),
    }
    for name, (scores, how) in attacks.items():
        result = attack(scores, patients, member)
        whose = f"{result.members} training and {result.others} held-out patients, highest score of a patient's images"
        method = f"{how}; {whose}; synthoma {__version__}"
        shared = replace(empty, n_patients=result.members + result.others, n_images=len(rows), better="lower")
        few = "" if result.others >= 100 else f"; of {result.others} held-out patients none may be accused"
        found.measurements += [
            replace(shared, name=f"membership-auc-{name}", value=result.auc, low=result.low, high=result.high,
                    method=f"{method}; interval of Newcombe 2006, method 5"),
            replace(shared, name=f"membership-tpr-{name}", value=result.tpr, low=result.tpr_low, high=result.tpr_high,
                    method=f"{method}{few}; Clopper–Pearson over training patients"),
        ]  # fmt: skip
        found.verdicts.append(_membership_verdict(arm.name, name, result))


def _membership_verdict(arm: str, name: str, result: Attack) -> Verdict:
    how = {"nearest": "the nearest distance", "density": "the ratio of densities"}[name]
    claim = f"{arm}: whether a patient was learned from cannot be told by {how}"
    number = f"area {result.auc:.2f}, 95 % interval {result.low:.2f} to {result.high:.2f}, {result.members} training "
    number += f"and {result.others} held-out patients; {result.tpr:.0%} found at 1 % false accusations."
    if result.low > 0.5:
        return Verdict(claim, "not supported", number)
    return Verdict(claim, "supported" if result.high <= 0.5 + MARGIN else "cannot tell", number)


def _vectors(cohort: Cohort, rows: Rows, channels: tuple[str, ...], features: Features) -> Float:
    """What distances are taken of: features of images; of volumes, for which no network is known, their pixels."""
    images = images_of(cohort, rows, channels)
    if images.ndim == 4:
        return features(images).reshape(len(rows), -1)
    return prepare(images).coarse.reshape(len(rows), -1).astype(np.float64)


def _space(cohort: Cohort, features: Features) -> str:
    if cohort.images.ndim == 4:
        return f"Euclidean distance of features ({features.description})"
    return "Euclidean distance of low-passed volumes on a grid of 8 × 24 × 24"


def _euclidean(first: Float, second: Float) -> Float:
    """Distances (n, m) between rows."""
    squares = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1) - 2 * first @ second.T
    return np.asarray(np.sqrt(np.maximum(squares, 0)))
