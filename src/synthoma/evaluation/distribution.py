"""Distribution: do synthetic images, as a set, look like real ones? Never a number without its floor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from synthoma import __version__
from synthoma.evaluation.distances import Products, diversity_ratio, extrapolate, frechet, kid, precision_recall
from synthoma.evaluation.evidence import Evidence, Verdict
from synthoma.evaluation.features import Features, lesion_patches
from synthoma.evaluation.options import EvaluationOptions
from synthoma.evaluation.pairs import arm_name, is_paired, paired_arms
from synthoma.evaluation.statistics import jackknife, spread_over_patients
from synthoma.records import Cohort, Measurement
from synthoma.seeding import generator

__all__ = ["Comparison", "comparisons", "evaluate_distribution"]

NEIGHBOURS = 5
LEAST = 8
"""Fewer images a side than this are not compared."""
HALVINGS = 5
"""Random halvings of the real patients that the floor is the mean of."""
COLLAPSE = 0.5
"""A diversity ratio below this warns of mode collapse."""

DEFINITIONS = {
    "frechet-distance": "Fréchet distance of network features, lower is nearer. It depends on n and means nothing but "
    "beside its floor: the same distance between real images of different patients (arm 'real vs real').",
    "frechet-distance-infinity": "The Fréchet distance extrapolated to infinitely many images (a line in 1/n, "
    "both sets shrunk). Rough while n is below the 1280 features.",
    "kid": "Kernel distance: unbiased squared maximum mean discrepancy, cubic kernel; near 0 for equal sets.",
    "precision": "Share of synthetic images that lie within the neighbourhood (k = 5) of a real one: realism.",
    "recall": "Share of real images that lie within the neighbourhood (k = 5) of a synthetic one: variety.",
    "density": "How many real neighbourhoods hold a synthetic image, over k; above 1 is no praise, it means crowding.",
    "coverage": "Share of real images with a synthetic one in their neighbourhood.",
    "diversity-ratio": "Mean distance between synthetic images over that between real ones; below 0.5: mode collapse?",
}  # fmt: skip
NAMES = ("frechet-distance", "kid", "diversity-ratio")
BETTER: dict[str, Literal["higher", "lower", ""]] = {"frechet-distance": "lower", "kid": "lower", "diversity-ratio": ""}


@dataclass(frozen=True)
class Comparison:
    """An arm: which synthetic samples are compared with which real ones."""

    arm: str
    cohort: Cohort
    rows: NDArray[np.intp]
    real_rows: NDArray[np.intp]
    compared: str


@dataclass
class _Found:
    measurements: list[Measurement] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    curves: dict[str, Any] = field(default_factory=dict)


def comparisons(real: Cohort, synthetic: Mapping[str, Cohort]) -> tuple[list[Comparison], list[str]]:
    """A paired cohort stands against the real test images of its own patients, an unpaired one against held-out real
    images (test and validation) with its labels, or, where these are too few, against real training images."""
    pairs, _ = paired_arms(real, synthetic)
    found, warnings = [], []
    for name, cohort in synthetic.items():
        if name in pairs:
            own = pairs[name]
            found.append(Comparison(arm_name(name), cohort, own.synthetic, own.real, "real test (the same patients)"))
        elif not is_paired(cohort):
            alike = np.isin(real.table["label"], np.unique(cohort.table["label"]))
            for splits, text in ((("test", "validation"), "real held-out"), (("train",), "real train")):
                rows = np.flatnonzero(alike & np.isin(real.table["split"], splits))
                if len(rows) >= LEAST:
                    labels = ", ".join(sorted(set(cohort.table["label"].tolist())))
                    found.append(Comparison(arm_name(name), cohort, np.arange(len(cohort)), rows, f"{text} ({labels})"))
                    break
            else:
                warnings.append(f"{name}: fewer than {LEAST} real images with its labels, no distribution measured.")
    return found, warnings


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
        for region in ("frame", "lesion"):
            _compare(real, arm, region, options, features, found)
    return Evidence(
        tuple(found.measurements), {"frechet_distance_by_n": found.curves}, tuple(found.warnings),
        tuple(found.verdicts), DEFINITIONS,
    )  # fmt: skip


def _compare(
    real: Cohort, arm: Comparison, region: str, options: EvaluationOptions, features: Features, found: _Found
) -> None:
    rows, real_rows = _with_region(arm.cohort, arm.rows, region), _with_region(real, arm.real_rows, region)
    n = min(len(rows), len(real_rows), options.max_images)
    if n < LEAST:
        found.warnings.append(f"{arm.arm}, {region}: {n} images a side, fewer than {LEAST}: no distribution measured.")
        return
    channels = arm.cohort.channels
    # One draw for both where the images are paired, so that the same anatomy stands on either side.
    rows = rows[spread_over_patients(arm.cohort.table["patient"][rows], n, options.seed, "compared")]
    real_rows = real_rows[spread_over_patients(real.table["patient"][real_rows], n, options.seed, "compared")]
    x = features(_images(real, real_rows, region, channels))
    y = features(_images(arm.cohort, rows, region, channels))
    centred, raw = _products(x, y, centred=True), _products(x, y, centred=False)

    def statistic(i: NDArray[np.intp], j: NDArray[np.intp]) -> NDArray[np.float64]:
        each = [_values(c.take(i, j), r.take(i, j)) for c, r in zip(centred, raw, strict=True)]
        return np.asarray(np.mean(each, axis=0))

    real_patients, patients = real.table["patient"][real_rows], arm.cohort.table["patient"][rows]
    values, low, high, how = jackknife(statistic, real_patients, patients, options.jackknife_groups, options.seed)
    note = "; n < 1280 features: biased upward" if n < 1280 else ""
    note += f"; mean over the channels {', '.join(channels)}" if len(channels) > 1 else ""
    shown = "lesion patches (1.5 × the bounding box, resized to 96²)" if region == "lesion" else "whole images"
    method = f"{features.description}, {shown}, window [−1, 1]; n = {n} + {n}{note}; synthoma {__version__}"

    def measure(name: str, value: float, ends: tuple[float, float] | None, how: str, **changed: Any) -> Measurement:
        settings: dict[str, Any] = {"arm": arm.arm, "compared": arm.compared, "better": BETTER.get(name, "higher")}
        ends = ends if ends is not None and np.isfinite(ends).all() else None
        return Measurement(
            name, value if np.isfinite(value) else None, ends[0] if ends else None, ends[1] if ends else None, n,
            min(len(set(patients.tolist())), len(set(real_patients.tolist()))), region=region,
            method=f"{method}; {how}", **settings | changed,
        )  # fmt: skip

    made = [measure(name, values[i], (low[i], high[i]), how) for i, name in enumerate(NAMES)]
    infinity, points = extrapolate(
        lambda i, j: float(np.mean([frechet(c.take(i, j)) for c in centred])),
        n, generator(options.seed, "frechet infinity", arm.arm, region),
    )  # fmt: skip
    made.append(measure("frechet-distance-infinity", infinity, None, "line in 1/n, no interval", better="lower"))
    found.curves.setdefault(region, {})[arm.arm] = points
    table = [precision_recall(products, NEIGHBOURS) for products in raw]
    made += [
        measure(name, float(np.mean([t[name] for t in table])), None, f"k = {NEIGHBOURS}, no interval")
        for name in table[0]
    ]
    if values[2] < COLLAPSE:
        found.warnings.append(
            f"{arm.arm}, {region}: diversity {values[2]:.2f} of the real images' is below {COLLAPSE}: mode collapse?"
        )
    floor = _floor(real, arm, region, n, options, features)
    if floor is None:
        found.warnings.append(f"{arm.arm}, {region}: too few real patients for a real-vs-real floor.")
    else:
        level, size, patients_a_half = floor
        text = f"mean of {HALVINGS} random halvings of the real patients, {size} + {size} images, no interval"
        made += [
            measure(name, level[i], None, text, arm="real vs real", compared=f"floor of {arm.arm}")
            for i, name in enumerate(NAMES)
        ]
        if size < n:
            found.warnings.append(
                f"{arm.arm}, {region}: the real-vs-real floor has {size} images a side, not {n}: it is biased upward."
            )
        elif patients_a_half >= 2:
            found.verdicts.append(_verdict(made[0], level[0], region))
    found.measurements += made


def _floor(
    real: Cohort, arm: Comparison, region: str, n: int, options: EvaluationOptions, features: Features
) -> tuple[NDArray[np.float64], int, int] | None:
    """Distances between real images of disjoint halves of patients: (values, n of either side, patients of a half)."""
    pool = np.flatnonzero(np.isin(real.table["label"], np.unique(real.table["label"][arm.real_rows])))
    pool = _with_region(real, pool, region)
    # Enough for two halves of n, however the patients fall; one draw for all arms of like n, so features are shared.
    pool = pool[spread_over_patients(real.table["patient"][pool], 3 * n, options.seed, "floor")]
    owners = real.table["patient"][pool]
    names = np.unique(owners)
    if len(names) < 2:
        return None
    vectors = features(_images(real, pool, region, arm.cohort.channels))
    levels, sizes = [], []
    for turn in range(HALVINGS):
        random = generator(options.seed, "floor", turn)
        first = np.isin(owners, random.permutation(names)[: len(names) // 2])
        halves = [np.flatnonzero(first), np.flatnonzero(~first)]
        size = min(n, *(len(half) for half in halves))
        if size < LEAST:
            continue
        a, b = (vectors[half[spread_over_patients(owners[half], size, options.seed, "half")]] for half in halves)
        parts = zip(_products(a, b, centred=True), _products(a, b, centred=False), strict=True)
        levels.append(np.mean([_values(c, r) for c, r in parts], axis=0))
        sizes.append(size)
    return (np.mean(levels, axis=0), min(sizes), len(names) // 2) if levels else None


def _verdict(distance: Measurement, floor: float, region: str) -> Verdict:
    what = "lesions" if region == "lesion" else "images"
    claim = f"{distance.arm} {what} are as near to real ones as real ones of other patients are (Fréchet distance)"
    number = f"{distance.value:.3g} against a floor of {floor:.3g}, n = {distance.n_images} a side, {distance.compared}"
    if distance.low is None or distance.high is None:
        return Verdict(claim, "cannot tell", f"{number}, {distance.n_patients} patients: no interval.")
    number += f" (95 % interval {distance.low:.3g} to {distance.high:.3g})"
    if distance.low > floor:
        return Verdict(claim, "not supported", number + ".")
    return Verdict(claim, "supported" if distance.high <= floor else "cannot tell", number + ".")


def _values(centred: Products, raw: Products) -> NDArray[np.float64]:
    """In the order of :data:`NAMES`."""
    return np.array([frechet(centred), kid(raw), diversity_ratio(raw)])


def _products(x: NDArray[np.float64], y: NDArray[np.float64], *, centred: bool) -> list[Products]:
    """One a channel, from (n, channel, d)."""
    middle = np.concatenate([x, y]).mean(axis=0) if centred else np.zeros(x.shape[1:])
    return [Products.of(x[:, c] - middle[c], y[:, c] - middle[c]) for c in range(x.shape[1])]


def _with_region(cohort: Cohort, rows: NDArray[np.intp], region: str) -> NDArray[np.intp]:
    if region == "frame":
        return rows
    return np.array([row for row in rows if cohort.lesion(int(row)).any()], dtype=np.intp)


def _images(cohort: Cohort, rows: NDArray[np.intp], region: str, channels: tuple[str, ...]) -> NDArray[Any]:
    if region == "lesion":
        return lesion_patches(cohort, rows, channels)
    return np.asarray(cohort.images[rows])[:, [cohort.channels.index(name) for name in channels]]
