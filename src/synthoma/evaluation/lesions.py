"""Lesions of synthetic images: as bright and as large as real ones, and where they were asked for?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from synthoma import __version__
from synthoma.evaluation.comparisons import Comparison
from synthoma.evaluation.feature_sets import halves
from synthoma.evaluation.features import torch_device
from synthoma.evaluation.options import EvaluationOptions
from synthoma.evaluation.statistics import patient_interval, patient_means, spread_over_patients
from synthoma.records import Cohort, Measurement

if TYPE_CHECKING:
    from synthoma.evaluation.segmenter import Segmenter

__all__ = [
    "DEFINITIONS",
    "Found",
    "dice",
    "lesion_contrast",
    "lesion_size",
    "measure_lesions",
    "measure_slices",
    "slice_anisotropy",
]

RING_MM = (3.0, 10.0)
"""The healthy tissue that a lesion is compared with: so far around it, within the body. In pixels where the spacing is
unknown."""
LEAST_RING = 8
"""Fewer voxels of healthy tissue say nothing."""
FOUND = 0.1
"""A lesion is found where at least so much of it is marked; another appeared where as much as that is marked."""
LEAST_APPEARED = 16
"""Pixels that must be marked in an image without a lesion before one is said to have appeared."""
DEFINITIONS = {
    "lesion-contrast": "Mean of the lesion less that of the healthy tissue 3 to 10 mm around it, over that tissue's "
    "deviation; to be read beside that of real lesions.",
    "lesion-contrast-distance": "Wasserstein distance between the contrasts of synthetic and real lesions: by how much "
    "they differ on the whole, in deviations of healthy tissue.",
    "lesion-size": "Area (of slices, mm²) or volume (of volumes, mm³) of the lesion that the image was made with.",
    "dice": "Overlap of what a segmenter of real images marks with the mask that the image was made with; beside it "
    "that on real held-out patients, the best that can be expected.",
    "dice-shuffled": "The same with the masks of other images: what overlap comes from lesions lying in like places.",
    "lesion-vanished": "Share of images with a lesion where the segmenter marks less than a tenth of it.",
    "lesion-appeared": "Share of images without a lesion where the segmenter marks one.",
    "slice-anisotropy": "Difference between neighbouring slices over that between neighbouring rows, a mm each, within "
    "the body; far above that of real volumes the slices do not fit together.",
}  # fmt: skip

Float = NDArray[np.float64]


@dataclass
class Found:
    """What was measured, and what a reader must know."""

    measurements: list[Measurement]
    warnings: list[str]


def dice(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """2 |A ∩ B| / (|A| + |B|); NaN where both are empty."""
    total = int(first.sum()) + int(second.sum())
    return 2 * int((first & second).sum()) / total if total else float("nan")


def lesion_contrast(cohort: Cohort, row: int, channel: str) -> float:
    """(mean of the lesion − mean of the ring) / deviation of the ring; NaN without a lesion or enough of a ring."""
    from scipy.ndimage import distance_transform_edt

    lesion, body = cohort.lesion(row), cohort.body(row)
    if not lesion.any():
        return float("nan")
    away = distance_transform_edt(~lesion, sampling=_spacing(cohort, row) or 1.0)
    ring = (away >= RING_MM[0]) & (away <= RING_MM[1]) & body
    image = np.clip(np.asarray(cohort.images[row, cohort.channels.index(channel)], dtype=np.float64), -1, 1)
    if ring.sum() < LEAST_RING or image[ring].std(ddof=1) < 1e-6:
        return float("nan")
    return float((image[lesion].mean() - image[ring].mean()) / image[ring].std(ddof=1))


def lesion_size(cohort: Cohort, row: int) -> float:
    """mm² of a slice, mm³ of a volume (pixels where the spacing is unknown); NaN without a lesion."""
    voxels = int(cohort.lesion(row).sum())
    return voxels * float(np.prod(_spacing(cohort, row) or 1.0)) if voxels else float("nan")


def slice_anisotropy(image: NDArray[Any], body: NDArray[np.bool_], spacing: tuple[float, ...] | None) -> float:
    """Mean |difference| a mm between slices over that between rows, of pairs within the body; NaN without such."""
    z, y = spacing[:2] if spacing else (1.0, 1.0)
    image = np.asarray(image, dtype=np.float64)
    along, across = np.abs(np.diff(image, axis=0)) / z, np.abs(np.diff(image, axis=1)) / y
    pairs = body[1:] & body[:-1], body[:, 1:] & body[:, :-1]
    if not (pairs[0].any() and pairs[1].any()) or across[pairs[1]].mean() < 1e-12:
        return float("nan")
    return float(along[pairs[0]].mean() / across[pairs[1]].mean())


def measure_lesions(real: Cohort, arms: list[Comparison], options: EvaluationOptions) -> Found:
    """Contrast and size of every arm with lesions, and what a segmenter marks where the settings ask for one."""
    found = Found([], [])
    segmenters: dict[tuple[str, ...], Segmenter | None] = {}
    marked: dict[str, list[Measurement]] = {}
    told: set[str] = set()
    for arm in arms:
        if arm.cohort.is_from_noise or arm.cohort.is_round_trip:  # nobody knows where nobody's lesion should be
            continue
        rows, truth = (
            _limited(cohort, chosen, options) for cohort, chosen in ((arm.cohort, arm.rows), (real, arm.real_rows))
        )
        for cohort, chosen, name in ((arm.cohort, rows, arm.arm), (real, truth, arm.compared)):
            if name not in told:
                found.measurements += _sizes(cohort, chosen, name, arm, options)
        found.measurements += _contrast_distance(arm, real, rows, truth, options)
        if options.segmenter is not None and real.images.ndim == 4:
            channels = arm.cohort.channels
            if channels not in segmenters:
                segmenters[channels] = _segmenter(real, channels, options, found)
            segment = segmenters[channels]
            for cohort, chosen, name in ((arm.cohort, rows, arm.arm), (real, truth, arm.compared)):
                if segment is not None and name not in told:
                    marked[name] = _marked(cohort, chosen, name, arm, segment, options)
                    found.measurements += marked[name]
            if segment is not None:
                found.warnings += _lost_or_invented(arm.arm, marked[arm.arm], marked[arm.compared])
        told |= {arm.arm, arm.compared}
    return found


def measure_slices(real: Cohort, arms: list[Comparison], options: EvaluationOptions) -> list[Measurement]:
    """How the slices of volumes fit together, beside those of real volumes."""
    found: list[Measurement] = []
    told: set[str] = set()
    for arm in arms:
        for cohort, chosen, name in ((arm.cohort, arm.rows, arm.arm), (real, arm.real_rows, arm.compared)):
            if name in told:
                continue
            told.add(name)
            rows = _limited(cohort, chosen, options)
            order = [cohort.channels.index(channel) for channel in arm.cohort.channels]
            values = np.array([np.mean([_anisotropy(cohort, row, i) for i in order]) for row in rows.tolist()])
            compared = arm.compared if name == arm.arm else f"beside {arm.arm}"
            empty = Measurement("slice-anisotropy", None, None, None, 0, 0, name, "body", compared=compared,
                                method="neighbouring voxels within the body")  # fmt: skip
            found += _over_patients(empty, values, cohort, rows, options)
    return found


def _anisotropy(cohort: Cohort, row: int, channel: int) -> float:
    image = np.clip(cohort.images[row, channel], -1, 1)
    return slice_anisotropy(image, cohort.body(row), _spacing(cohort, row))


def _sizes(
    cohort: Cohort, rows: NDArray[np.intp], name: str, arm: Comparison, options: EvaluationOptions
) -> list[Measurement]:
    compared = arm.compared if name == arm.arm else f"beside {arm.arm}"
    contrast = np.array([np.mean([lesion_contrast(cohort, row, c) for c in arm.cohort.channels]) for row in rows])
    size = np.array([lesion_size(cohort, row) for row in rows])
    unit = {4: "mm²", 5: "mm³"}[cohort.images.ndim] if _spacing(cohort, int(rows[0])) else "pixels"
    empty = Measurement("", None, None, None, 0, 0, name, "lesion", compared=compared)
    ring = f"healthy tissue {RING_MM[0]:g} to {RING_MM[1]:g} mm around, within the body"
    return [
        *_over_patients(replace(empty, name="lesion-contrast", method=ring), contrast, cohort, rows, options),
        *_over_patients(
            replace(empty, name="lesion-size", unit=unit, method="of the mask"), size, cohort, rows, options
        ),
    ]


def _contrast_distance(
    arm: Comparison, real: Cohort, rows: NDArray[np.intp], truth: NDArray[np.intp], options: EvaluationOptions
) -> list[Measurement]:
    """Between the contrasts of all lesions, mean over the channels, beside that of halves of the real patients."""
    alike = np.array([row for row in arm.alike if real.lesion(int(row)).any()], dtype=np.intp)
    alike = _limited(real, alike, options)
    sides = ((arm.cohort, rows), (real, truth), (real, alike))
    values = [[[lesion_contrast(cohort, int(row), channel) for row in chosen] for cohort, chosen in sides]
              for channel in arm.cohort.channels]  # fmt: skip
    owners = [cohort.table["patient"][chosen] for cohort, chosen in sides]
    made = [_apart(np.array(first), np.array(second), owners[0], owners[1]) for first, second, _ in values]
    if not np.isfinite(made).all():
        return []
    known = np.isfinite(values[0][0])
    method = f"Wasserstein 1, all patients of equal weight, mean over the channels; no interval; synthoma {__version__}"
    found = Measurement(
        "lesion-contrast-distance", float(np.mean(made)), None, None, int(known.sum()),
        len(np.unique(owners[0][known])), arm.arm, "lesion", better="lower", method=method, compared=arm.compared,
    )  # fmt: skip
    floor = [
        np.mean([_apart(np.array(third)[a], np.array(third)[b], owners[2][a], owners[2][b]) for *_, third in values])
        for a, b in halves(owners[2], int(known.sum()), options.seed)
    ]
    if not floor or not np.isfinite(floor).all():
        return [found]
    how = f"mean of {len(floor)} random halvings of the real patients; {method}"
    floored = replace(
        found, value=float(np.mean(floor)), n_images=len(alike), n_patients=len(np.unique(owners[2])),
        arm="real vs real", method=how, compared=f"floor of {arm.arm}",
    )  # fmt: skip
    return [found, floored]


def _apart(first: Float, second: Float, owners: NDArray[Any], others: NDArray[Any]) -> float:
    """Wasserstein distance of the known values of two sets in which every patient weighs as much as another."""
    from scipy.stats import wasserstein_distance

    known, weights = [], []
    for values, names in ((first, owners), (second, others)):
        finite = np.isfinite(values)
        if not finite.any():
            return float("nan")
        _, inverse, images = np.unique(names[finite], return_inverse=True, return_counts=True)
        known.append(values[finite])
        weights.append(1 / images[inverse])
    return float(wasserstein_distance(*known, *weights))


def _segmenter(real: Cohort, channels: tuple[str, ...], options: EvaluationOptions, found: Found) -> Segmenter | None:
    from synthoma.evaluation.segmenter import train_segmenter

    assert options.segmenter is not None  # noqa: S101 (for the type checker)
    device = torch_device(options.device)
    trained = train_segmenter(real, real.rows(split="train"), channels, options.segmenter, options.seed, device)
    if trained is None:
        found.warnings.append(
            f"segmenter ({', '.join(channels)}): no lesions of training patients to learn from, or sides not divisible "
            "by 4: no overlap measured."
        )
    return trained


def _marked(
    cohort: Cohort, rows: NDArray[np.intp], name: str, arm: Comparison, segment: Segmenter, options: EvaluationOptions
) -> list[Measurement]:
    assert options.segmenter is not None  # noqa: S101 (for the type checker)
    order = [cohort.channels.index(channel) for channel in arm.cohort.channels]
    marked = segment(np.asarray(cohort.images[rows])[:, order])
    masks = np.stack([cohort.lesion(int(row)) for row in rows])
    has = masks.any(axis=(1, 2))
    none = np.full(len(rows), np.nan)
    overlap, shuffled, vanished, appeared = none.copy(), none.copy(), none.copy(), none.copy()
    with_lesion = np.flatnonzero(has)
    for at, other in zip(with_lesion, np.roll(with_lesion, len(with_lesion) // 2), strict=True):
        overlap[at], shuffled[at] = dice(marked[at], masks[at]), dice(marked[at], masks[other])
        vanished[at] = (marked[at] & masks[at]).sum() < FOUND * masks[at].sum()
    appeared[~has] = marked[~has].sum(axis=(1, 2)) >= LEAST_APPEARED
    compared = arm.compared if name == arm.arm else f"beside {arm.arm}"
    method = f"U-Net of {options.segmenter.steps} steps on real training patients"
    empty = Measurement("", None, None, None, 0, 0, name, "lesion", method=method, compared=compared)
    values = {"dice": overlap, "dice-shuffled": shuffled, "lesion-vanished": vanished, "lesion-appeared": appeared}
    better: dict[str, Literal["higher", "lower", ""]] = {
        "dice": "higher", "dice-shuffled": "", "lesion-vanished": "lower", "lesion-appeared": "lower",
    }  # fmt: skip
    return [
        measurement
        for key, each in values.items()
        for measurement in _over_patients(replace(empty, name=key, better=better[key]), each, cohort, rows, options)
    ]


def _lost_or_invented(arm: str, made: list[Measurement], truth: list[Measurement]) -> list[str]:
    """A sentence where the interval over patients lies above what the segmenter does to real images."""
    real = {m.name: m.value for m in truth}
    sentences = {
        "lesion-appeared": "marks a lesion in {} of the images without one, in {} of real ones: the generator invents "
        "them",
        "lesion-vanished": "misses {} of the lesions, {} in real images: the generator loses them",
    }
    told = []
    for m in made:
        floor = real.get(m.name)
        if m.name in sentences and m.value is not None and m.low is not None and floor is not None and m.low > floor:
            shares = (f"{100 * share:.0f} %" for share in (m.value, floor))
            told.append(f"{arm}: a segmenter of real images {sentences[m.name].format(*shares)}.")
    return told


def _over_patients(
    empty: Measurement, values: Float, cohort: Cohort, rows: NDArray[np.intp], options: EvaluationOptions
) -> list[Measurement]:
    """Each patient's mean, then over patients, their interval by redrawing them; nothing where nothing is known."""
    names, means = patient_means(values, cohort.table["patient"][rows])
    if not names:
        return []
    interval = patient_interval(means, options.seed, options.bootstrap_draws)
    method = f"{empty.method}; per patient, then mean; {interval.method}; synthoma {__version__}"
    return [
        replace(empty, value=interval.value, low=interval.low, high=interval.high, method=method,
                n_images=int(np.isfinite(values).sum()), n_patients=len(names))
    ]  # fmt: skip


def _limited(cohort: Cohort, rows: NDArray[np.intp], options: EvaluationOptions) -> NDArray[np.intp]:
    return rows[spread_over_patients(cohort.table["patient"][rows], options.max_images, options.seed, "structure")]


def _spacing(cohort: Cohort, row: int) -> tuple[float, ...] | None:
    """Of the sample's voxels in mm, ([z,] y, x); ``None`` when unknown."""
    numbers = tuple(float(text) for text in str(cohort.table["spacing_mm"][row]).split())
    return numbers if len(numbers) == cohort.images.ndim - 2 else None
