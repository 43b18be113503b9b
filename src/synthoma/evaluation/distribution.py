"""Distribution: do synthetic images, as a set, look like real ones? Never a number without its floor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthoma import __version__
from synthoma.evaluation.comparisons import LEAST, Comparison, comparisons
from synthoma.evaluation.distances import extrapolate, precision_recall
from synthoma.evaluation.evidence import Evidence, Verdict
from synthoma.evaluation.feature_sets import HALVINGS, NAMES, Owners, Sets, filled, halves, interval, with_region
from synthoma.evaluation.features import Features, lesion_patches
from synthoma.evaluation.options import EvaluationOptions
from synthoma.evaluation.pairs import source_rows
from synthoma.evaluation.radiomics_distance import radiomics_distance
from synthoma.evaluation.statistics import spread_over_patients
from synthoma.evaluation.two_sample import two_sample
from synthoma.records import Cohort, Measurement
from synthoma.seeding import generator

__all__ = ["evaluate_distribution"]

NEIGHBOURS = 5
COLLAPSE = 0.5
"""A diversity ratio below this warns of mode collapse."""

DEFINITIONS = {
    "frechet-distance": "Fréchet distance of network features, lower is nearer. It depends on n and means nothing but "
    "beside its floor: the same distance between real images of different patients (arm 'real vs real').",
    "frechet-distance-infinity": "The Fréchet distance extrapolated to infinitely many images (a line in 1/n, "
    "both sets shrunk). Rough while n is below the number of features.",
    "kid": "Kernel distance: unbiased squared maximum mean discrepancy, cubic kernel; near 0 for equal sets.",
    "improved-precision": "Share of synthetic images that lie within the neighbourhood (k = 5) of a real one: realism.",
    "improved-recall": "Share of real images that lie within the neighbourhood (k = 5) of a synthetic one: variety.",
    "density": "How many real neighbourhoods hold a synthetic image, over k; above 1 is no praise, it means crowding.",
    "coverage": "Share of real images with a synthetic one in their neighbourhood.",
    "frechet-distance-difference": "Fréchet distance of the translated images minus that of the very images that they "
    "were translated from, to the same real ones; below 0 the translation brought them nearer.",
    "two-sample-accuracy": "How often a simple classifier tells synthetic from real images of patients that it never "
    "saw; ½ when it cannot. To be read beside that between halves of the real patients.",
    "radiomics-distance": "Fréchet distance of shape, grey values and texture of lesions, each standardised on the "
    "real training set; lower is nearer, and its floor is that of real lesions of other patients.",
    "diversity-ratio": "Mean distance between synthetic images over that between real ones; below 0.5: mode collapse?",
}  # fmt: skip


@dataclass
class _Found:
    measurements: list[Measurement] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    curves: dict[str, Any] = field(default_factory=dict)


def evaluate_distribution(
    real: Cohort, synthetic: Mapping[str, Cohort], options: EvaluationOptions, features: Features
) -> Evidence:
    """Fréchet distance, KID, precision and recall, diversity; of whole images and of lesion patches; with floors."""
    if real.images.ndim != 4:
        return Evidence(warnings=("distribution: features exist for 2D images only.",), definitions=DEFINITIONS)
    found = _Found()
    arms, warnings = comparisons(real, synthetic)
    found.warnings += warnings
    for arm in arms:
        if arm.cohort.is_round_trip:  # back where it began: no product, and judged by its cycle SSIM
            continue
        for region in ("frame", "lesion") if real.lesion_names else ("frame",):
            _compare(real, arm, region, options, features, found)
    return Evidence(
        tuple(found.measurements), {"frechet_distance_by_n": found.curves}, tuple(found.warnings),
        tuple(found.verdicts), DEFINITIONS,
    )  # fmt: skip


def _compare(
    real: Cohort, arm: Comparison, region: str, options: EvaluationOptions, features: Features, found: _Found
) -> None:
    """All measures of one arm in one region, its floor, and beside a translation what it was translated from."""
    rows, real_rows = with_region(arm.cohort, arm.rows, region), with_region(real, arm.real_rows, region)
    n = min(len(rows), len(real_rows), options.max_images)
    if n < LEAST:
        found.warnings.append(f"{arm.arm}, {region}: {n} images a side, fewer than {LEAST}: no distribution measured.")
        return
    # One draw for both: where the images are paired, the same anatomy stands on either side.
    rows = rows[spread_over_patients(arm.cohort.table["patient"][rows], n, options.seed, "compared")]
    real_rows = real_rows[spread_over_patients(real.table["patient"][real_rows], n, options.seed, "compared")]
    owners = (real.table["patient"][real_rows], arm.cohort.table["patient"][rows])
    sets = Sets.of(
        features(_images(real, real_rows, region, arm.cohort.channels)),
        features(_images(arm.cohort, rows, region, arm.cohort.channels)),
    )
    empty = Measurement(
        "", None, None, None, n, min(len(np.unique(side)) for side in owners), arm.arm, region,
        method=_method(features, arm, region, n), compared=arm.compared,
    )  # fmt: skip
    made = _with_intervals(sets, owners, empty, options)
    made += _told_apart(sets.real, sets.made, owners, empty, options)
    infinity, points = extrapolate(sets.frechet, n, generator(options.seed, "frechet infinity", arm.arm, region))
    made.append(filled(empty, "frechet-distance-infinity", infinity, "line in 1/n, no interval"))
    found.curves.setdefault(region, {})[arm.arm] = points
    tables = [precision_recall(products, NEIGHBOURS) for products in sets.raw]
    for name in tables[0]:
        value = float(np.mean([table[name] for table in tables]))
        made.append(filled(empty, name, value, f"k = {NEIGHBOURS}, no interval"))
    diversity = made[NAMES.index("diversity-ratio")].value
    if diversity is not None and diversity < COLLAPSE:
        found.warnings.append(f"{arm.arm}, {region}: diversity ratio {diversity:.2f}, below {COLLAPSE}: mode collapse?")
    found.measurements += made
    _add_source(real, arm, rows, sets, owners, made[0], options, features, found)
    _add_floor(real, arm, made[0], empty, options, features, found)
    if region == "lesion":
        measured, warnings = radiomics_distance(real, arm, rows, real_rows, empty, options)
        found.measurements += measured
        found.warnings += warnings


def _add_source(
    real: Cohort, arm: Comparison, rows: NDArray[np.intp], sets: Sets, owners: tuple[NDArray[Any], NDArray[Any]],
    distance: Measurement, options: EvaluationOptions, features: Features, found: _Found,
) -> None:  # fmt: skip
    """Of a translation: the images it was made from, untouched, against the same real ones, at the same n."""
    sources = source_rows(real, arm.cohort) if arm.cohort.is_translation else None
    shown = tuple(name for name in arm.cohort.conditions if name in real.channels)
    region = distance.region
    if sources is None or not shown or len(with_region(real, sources[rows], region)) < len(rows):
        return
    if len(shown) != len(arm.cohort.channels):  # as the baseline 'source image': the first, for every channel
        shown = shown[:1] * len(arm.cohort.channels)
    vectors = features(_images(real, sources[rows], region, shown))
    before = Sets.of(sets.real, vectors)
    name = f"source of {arm.arm} (untranslated)"
    empty = replace(distance, name="", arm=name, method=_method(features, arm, region, len(rows)))
    found.measurements += _with_intervals(before, owners, empty, options)

    def difference(i: NDArray[np.intp], j: NDArray[np.intp]) -> NDArray[np.float64]:
        return np.array([sets.frechet(i, j) - before.frechet(i, j)])

    value, low, high, how = interval(difference, owners, options)
    nearer = filled(
        replace(distance, compared=name, method=empty.method), "frechet-distance-difference", value[0],
        f"each image with its own source; {how}", low[0], high[0],
    )  # fmt: skip
    found.measurements.append(nearer)
    found.verdicts.append(_nearer_verdict(nearer, arm.compared))


def _add_floor(
    real: Cohort, arm: Comparison, distance: Measurement, empty: Measurement, options: EvaluationOptions,
    features: Features, found: _Found,
) -> None:  # fmt: skip
    """The same measures between real patients, as the arm ``real vs real``, and the verdict against them."""
    n, region = distance.n_images, distance.region
    floor = _floor(real, arm, region, n, options, features)
    if floor is None:
        found.warnings.append(f"{arm.arm}, {region}: too few real patients for a real-vs-real floor.")
        return
    level, size, patients, told = floor
    how = f"mean of {HALVINGS} random halvings of {patients} real patients, {size} + {size} images, no interval"
    between = replace(
        empty, arm="real vs real", compared=f"floor of {arm.arm}", n_images=size, n_patients=patients,
        method=_method(features, arm, region, size),
    )  # fmt: skip
    found.measurements += [filled(between, name, level[i], how) for i, name in enumerate(NAMES)]
    if told is not None:
        found.measurements.append(filled(between, "two-sample-accuracy", told, how))
    if size < n:
        found.warnings.append(
            f"{arm.arm}, {region}: the real-vs-real floor has {size} images a side, not {n}: it is biased upward."
        )
    else:
        found.verdicts.append(_verdict(distance, level[0], arm.cohort.is_paired))


def _floor(
    real: Cohort, arm: Comparison, region: str, n: int, options: EvaluationOptions, features: Features
) -> tuple[NDArray[np.float64], int, int, float | None] | None:
    """Between real images of disjoint halves of patients: distances, n of either side, patients, accuracy."""
    pool = with_region(real, arm.alike, region)
    # Enough for two halves of n, however the patients fall; one draw for all arms of like n, so features are shared.
    pool = pool[spread_over_patients(real.table["patient"][pool], 5 * n // 2, options.seed, "floor")]
    owners = real.table["patient"][pool]
    names = np.unique(owners)
    if len(names) < 2:
        return None
    vectors = features(_images(real, pool, region, arm.cohort.channels))
    levels, sizes, told = [], [], []
    for a, b in halves(owners, n, options.seed):
        sets = Sets.of(vectors[a], vectors[b])
        levels.append(sets.values(np.arange(len(a)), np.arange(len(b))))
        sizes.append(len(a))
        test = two_sample(_flat(vectors[a]), _flat(vectors[b]), (owners[a], owners[b]), options.seed)
        told += [] if test is None else [test.accuracy]
    accuracy = float(np.mean(told)) if told else None
    return (np.mean(levels, axis=0), min(sizes), len(names), accuracy) if levels else None


def _with_intervals(sets: Sets, owners: Owners, empty: Measurement, options: EvaluationOptions) -> list[Measurement]:
    values, low, high, how = interval(sets.values, owners, options)
    low[NAMES.index("frechet-distance")] = np.maximum(low[NAMES.index("frechet-distance")], 0)  # a distance
    return [filled(empty, name, values[i], how, low[i], high[i]) for i, name in enumerate(NAMES)]


def _told_apart(
    real: NDArray[Any], made: NDArray[Any], owners: Owners, empty: Measurement, options: EvaluationOptions
) -> list[Measurement]:
    test = two_sample(_flat(real), _flat(made), owners, options.seed)
    if test is None:
        return []
    how = "logistic regression on 64 principal components, 5 folds by patient; "
    how += f"Clopper–Pearson with {test.patients} patients and sides as trials"
    return [filled(empty, "two-sample-accuracy", test.accuracy, how, test.low, test.high)]


def _flat(vectors: NDArray[Any]) -> NDArray[Any]:
    return vectors.reshape(len(vectors), -1)


def _verdict(distance: Measurement, floor: float, paired: bool) -> Verdict:
    what = "lesions" if distance.region == "lesion" else "images"
    claim = f"{distance.arm} {what} are as near to real ones as real ones of other patients are (Fréchet distance)"
    number = f"{distance.value:.1f} against a floor of {floor:.1f}, n = {distance.n_images} a side, {distance.compared}"
    if distance.low is None or distance.high is None:
        return Verdict(claim, "cannot tell", f"{number}, {distance.n_patients} patients: no interval.")
    number += f", 95 % interval {distance.low:.1f} to {distance.high:.1f}"
    if distance.low > floor:
        return Verdict(claim, "not supported", number + ".")
    if paired:  # the anatomy is shared, which the patients of the floor do not
        return Verdict(claim, "cannot tell", number + "; the same patients stand on both sides.")
    return Verdict(claim, "supported" if distance.high <= floor else "cannot tell", number + ".")


def _nearer_verdict(difference: Measurement, compared: str) -> Verdict:
    what = "lesions" if difference.region == "lesion" else "images"
    claim = f"{difference.arm} {what} are nearer to real ones than what they were made from is (Fréchet distance)"
    number = f"difference {difference.value:+.1f}, n = {difference.n_images} a side, {compared}"
    if difference.low is not None and difference.high is not None:
        number += f", 95 % interval {difference.low:+.1f} to {difference.high:+.1f}"
    if difference.value is None or difference.value >= 0:
        return Verdict(claim, "not supported", f"It is no nearer than its source: {number}.")
    below = difference.high is not None and difference.high < 0
    return Verdict(claim, "supported" if below else "cannot tell", number + ".")


def _method(features: Features, arm: Comparison, region: str, n: int) -> str:
    height, width = features.shown(arm.cohort.images.shape[-2:])  # the numbers of two sizes are not comparable
    whole = f"whole images shown at {height} × {width}"
    shown = "lesion patches (1.5 × the bounding box, resized to 96²)" if region == "lesion" else whole
    note = f"; n < {features.width} features: biased upward" if n < features.width else ""
    if len(arm.cohort.channels) > 1:
        note += f"; mean over the channels {', '.join(arm.cohort.channels)}"
    return f"{features.description}, {shown}, window [−1, 1]; n = {n} + {n}{note}; synthoma {__version__}"


def _images(cohort: Cohort, rows: NDArray[np.intp], region: str, channels: tuple[str, ...]) -> NDArray[Any]:
    if region == "lesion":
        return lesion_patches(cohort, rows, channels)
    return np.asarray(cohort.images[rows])[:, [cohort.channels.index(name) for name in channels]]
