"""Structure: are the fine details there, and is there a pattern that the network put in?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthoma import __version__
from synthoma.evaluation.comparisons import Comparison, comparisons
from synthoma.evaluation.evidence import Evidence
from synthoma.evaluation.features import Features
from synthoma.evaluation.lesions import DEFINITIONS as OF_LESIONS
from synthoma.evaluation.lesions import measure_lesions, measure_slices
from synthoma.evaluation.options import EvaluationOptions
from synthoma.evaluation.statistics import patient_bootstrap, patient_interval, patient_means, spread_over_patients
from synthoma.records import Cohort, Measurement
from synthoma.seeding import generator

__all__ = ["checkerboard_index", "evaluate_structure", "radial_spectrum", "sharpness", "spectrum_distance"]

HALVINGS = 10
DEFINITIONS = {
    "spectrum-distance": "Mean absolute difference of the natural logarithms of the radially averaged power spectra "
    "of synthetic and real images; 0 is equal. Its floor is the distance between halves of the real patients.",
    "sharpness": "Logarithm of synthetic over real power in the top quarter of frequencies: below 0 is blurred, "
    "above 0 is noisy or too sharp.",
    "checkerboard-index": "Share of the power (without the mean) on the highest row and column of frequencies, where "
    "upsampling leaves its pattern; to be read beside that of the real images.",
} | OF_LESIONS  # fmt: skip

Float = NDArray[np.float64]


def radial_spectrum(image: NDArray[Any], *, window: bool = True) -> Float:
    """Mean power |F|² of a 2D image in annuli of its Fourier transform, from 0 to half the shorter side.

    Durall, Keuper & Keuper, CVPR 2020. Annulus k holds the frequencies at a distance from k to k + 1, in cycles per
    shorter side. With ``window`` the mean is taken off and a Hann window applied: the frame's edge would dominate.
    """
    image = np.asarray(image, dtype=np.float64)
    if image.ndim != 2 or min(image.shape) < 4:
        raise ValueError(f"radial spectrum: expected a 2D image of 4 or more pixels a side, found {image.shape}")
    if window:
        hann = [0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(n) + 0.5) / n) for n in image.shape]
        image = (image - image.mean()) * hann[0][:, None] * hann[1]
    side = min(image.shape)
    power = np.abs(np.fft.fft2(image)) ** 2
    radius = np.hypot(np.fft.fftfreq(image.shape[0])[:, None], np.fft.fftfreq(image.shape[1])) * side
    annulus = np.floor(radius + 1e-9).astype(np.int64).ravel()
    total = np.bincount(annulus, weights=power.ravel())[: side // 2 + 1]
    mean: Float = total / np.bincount(annulus)[: side // 2 + 1]
    return mean


def checkerboard_index(image: NDArray[Any]) -> float:
    """Share of the power without the mean on the Nyquist row and column of an even-sided 2D image; NaN if flat."""
    image = np.asarray(image, dtype=np.float64)
    if image.ndim != 2 or image.shape[0] % 2 or image.shape[1] % 2:
        raise ValueError(f"checkerboard index: expected a 2D image of even sides, found {image.shape}")
    power = np.abs(np.fft.fft2(image - image.mean())) ** 2
    power[0, 0] = 0.0
    row, column = image.shape[0] // 2, image.shape[1] // 2
    nyquist = power[row].sum() + power[:, column].sum() - power[row, column]
    return float(nyquist / power.sum()) if power.sum() > 1e-12 * image.size else float("nan")


def spectrum_distance(first: Float, second: Float) -> float:
    """Mean |log first − log second| over the annuli above 0."""
    return float(np.abs(_log_ratio(first, second)).mean())


def sharpness(made: Float, real: Float) -> float:
    """Mean log(made / real) over the top quarter of the annuli."""
    ratio = _log_ratio(made, real)
    return float(ratio[-max(1, len(ratio) // 4) :].mean())


def evaluate_structure(
    real: Cohort, synthetic: Mapping[str, Cohort], options: EvaluationOptions, features: Features
) -> Evidence:
    """Spectrum distance, sharpness and checkerboard index of every arm against the real images it stands beside; of
    lesions contrast, size and, where asked for, what a segmenter marks; of volumes how their slices fit together."""
    del features  # structure is read from the pixels
    arms, warnings = comparisons(real, synthetic)
    lesions = measure_lesions(real, arms, options)
    found: list[Measurement] = list(lesions.measurements)
    warnings = [*warnings, *lesions.warnings]
    if real.images.ndim != 4:
        found += measure_slices(real, arms, options)
        warnings.append("structure: spectra are computed of 2D images only.")
        return Evidence(tuple(found), {}, tuple(warnings), (), DEFINITIONS)
    spectra: dict[str, list[float]] = {}
    for arm in arms:
        channels = arm.cohort.channels
        own = _limited(arm.cohort, arm.rows, options)
        # A paired arm keeps its pairs; both columns of patients are equal, so both draws are.
        truth = _limited(real, arm.real_rows, options)
        made, shown = _spectra(arm.cohort, own, channels), _spectra(real, truth, channels)
        found += _arm(arm, made, shown, arm.cohort.table["patient"][own], real.table["patient"][truth], options)
        for name, cohort, rows in ((arm.arm, arm.cohort, own), (arm.compared, real, truth)):
            if name not in spectra:
                spectra[name] = _over_patients(_spectra(cohort, rows, channels), cohort.table["patient"][rows]).tolist()
                found += _checkerboard(name, cohort, rows, channels, options)
    frequencies = (np.arange(min(real.images.shape[2:]) // 2 + 1) / min(real.images.shape[2:])).tolist()
    curves = {"spectrum": spectra, "spectrum_frequency": frequencies} if spectra else {}
    return Evidence(tuple(found), curves, tuple(warnings), (), DEFINITIONS)


def _arm(
    arm: Comparison, made: Float, real: Float, patients: NDArray[Any], real_patients: NDArray[Any],
    options: EvaluationOptions,
) -> list[Measurement]:  # fmt: skip
    count, n_patients = len(made), len(set(patients.tolist()))
    method = f"Hann window, radial mean of |F|², per patient, then over patients; synthoma {__version__}"
    distance = spectrum_distance(_over_patients(made, patients), _over_patients(real, real_patients))
    floor = _floor(real, real_patients, options.seed)
    if arm.cohort.is_paired:
        ratios = [
            sharpness(made[patients == name].mean(axis=0), real[real_patients == name].mean(axis=0))
            for name in sorted(set(patients.tolist()) & set(real_patients.tolist()))
        ]
        interval = patient_interval(np.array(ratios), options.seed, options.bootstrap_draws)
        value, low, high, how = interval.value, interval.low, interval.high, f"paired by patient, {interval.method}"
    else:
        value, low, high, how = _unpaired(made, real, patients, real_patients, options)
    measurements = [
        Measurement("spectrum-distance", distance, None, None, count, n_patients, arm.arm, better="lower",
                    method=f"{method}; no interval: it is biased upward for few patients, see its floor",
                    compared=arm.compared),
        Measurement("sharpness", value, low, high, count, n_patients, arm.arm, better="",
                    method=f"top quarter of frequencies; {method}; {how}", compared=arm.compared),
    ]  # fmt: skip
    if floor is not None:
        measurements.append(
            Measurement("spectrum-distance", floor, None, None, len(real), len(set(real_patients.tolist())),
                        "real vs real", better="lower", compared=f"floor of {arm.arm}",
                        method=f"{method}; mean of {HALVINGS} random halvings of the patients")
        )  # fmt: skip
    return measurements


def _unpaired(
    made: Float, real: Float, patients: NDArray[Any], real_patients: NDArray[Any], options: EvaluationOptions
) -> tuple[float, float | None, float | None, str]:
    """Sharpness of sets of different patients: both redrawn at once, as one list of patients of two sides."""
    both = np.concatenate([made, real])
    owners = np.concatenate([np.char.add("s:", patients.astype(str)), np.char.add("r:", real_patients.astype(str))])
    is_made = np.arange(len(both)) < len(made)

    def statistic(rows: NDArray[np.intp]) -> Float:
        sides = [rows[is_made[rows]], rows[~is_made[rows]]]
        if not all(len(side) for side in sides):
            return np.array([np.nan])
        return np.array([sharpness(*(both[side].mean(axis=0) for side in sides))])

    values, low, high, how = patient_bootstrap(statistic, owners, options.seed, min(500, options.bootstrap_draws))
    known = bool(np.isfinite(low[0]))
    return float(values[0]), float(low[0]) if known else None, float(high[0]) if known else None, how


def _floor(real: Float, patients: NDArray[Any], seed: int) -> float | None:
    names = np.unique(patients)
    if len(names) < 2:
        return None
    distances = []
    for turn in range(HALVINGS):
        first = np.isin(patients, generator(seed, "spectrum floor", turn).permutation(names)[: len(names) // 2])
        distances.append(
            spectrum_distance(
                _over_patients(real[first], patients[first]), _over_patients(real[~first], patients[~first])
            )
        )
    return float(np.mean(distances))


def _checkerboard(
    arm: str, cohort: Cohort, rows: NDArray[np.intp], channels: tuple[str, ...], options: EvaluationOptions
) -> list[Measurement]:
    if any(side % 2 for side in cohort.images.shape[2:]):
        return []
    values = _each(cohort, rows, channels, lambda image: np.array([checkerboard_index(image)]))[:, 0]
    names, means = patient_means(values, cohort.table["patient"][rows])
    found = patient_interval(means, options.seed, options.bootstrap_draws)
    return [
        Measurement("checkerboard-index", found.value, found.low, found.high, int(np.isfinite(values).sum()),
                    len(names), arm, better="lower", method=f"no window; per patient, then mean; {found.method}",
                    compared="white noise: (h + w − 1) / (h w − 1)")
    ]  # fmt: skip


def _spectra(cohort: Cohort, rows: NDArray[np.intp], channels: tuple[str, ...]) -> Float:
    return _each(cohort, rows, channels, radial_spectrum)


def _each(
    cohort: Cohort, rows: NDArray[np.intp], channels: tuple[str, ...], function: Callable[[NDArray[Any]], Float]
) -> Float:
    """``function`` of every image, mean over the channels: (n, …)."""
    order = [cohort.channels.index(name) for name in channels]
    return np.stack(
        [np.mean([function(np.clip(cohort.images[row, i], -1, 1)) for i in order], axis=0) for row in rows.tolist()]
    )


def _over_patients(spectra: Float, patients: NDArray[Any]) -> Float:
    """Mean of each patient first, then over patients."""
    means = [spectra[patients == name].mean(axis=0) for name in np.unique(patients)]
    return np.asarray(np.mean(means, axis=0))


def _limited(cohort: Cohort, rows: NDArray[np.intp], options: EvaluationOptions) -> NDArray[np.intp]:
    return rows[spread_over_patients(cohort.table["patient"][rows], options.max_images, options.seed, "structure")]


def _log_ratio(first: Float, second: Float) -> Float:
    """Above frequency 0; power below 1e-12 of the largest is called that, so a flat image has a logarithm."""
    least = 1e-12 * max(float(first[1:].max()), float(second[1:].max()), 1e-300)
    return np.log(np.maximum(first[1:], least)) - np.log(np.maximum(second[1:], least))
