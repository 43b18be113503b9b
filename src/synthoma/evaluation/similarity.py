"""Similarity of paired images: SSIM, PSNR and mean absolute error beside the baselines that a GAN must beat."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthoma import __version__
from synthoma.evaluation.baselines import baselines
from synthoma.evaluation.evidence import Evidence, Verdict
from synthoma.evaluation.features import Features
from synthoma.evaluation.options import EvaluationOptions
from synthoma.evaluation.pairs import (
    Pairs,
    arm_name,
    headline_name,
    on_channels,
    paired_arms,
    target,
)
from synthoma.evaluation.statistics import Interval, patient_interval, patient_means, patients_needed
from synthoma.records import Cohort, Measurement, summary_of
from synthoma.similarity import RADIUS, mae, psnr_db, ssim_map

__all__ = ["REGIONS", "difference_verdict", "evaluate_similarity", "score"]

DATA_RANGE = 2.0
"""Width of the window [−1, 1] that every cohort declares; the columns low and high lead back to the scanner."""
REGIONS = ("frame", "body", "lesion")
SSIM_METHOD = (
    "Wang 2004, Gaussian window of 11 taps along each axis, σ 1.5, population covariance, mean of the full map over "
    "the region"
)
PSNR_METHOD = "10 log10(4 / MSE)"
MAE_METHOD = "mean absolute error"
METHODS = {"ssim": SSIM_METHOD, "psnr": PSNR_METHOD, "mae": MAE_METHOD, "mae-relative": MAE_METHOD}
BETTER = {"ssim": "higher", "psnr": "higher", "mae": "lower", "mae-relative": "lower"}

DEFINITIONS = {
    "ssim": "Structural similarity to the real image (1 = equal), Wang 2004: per patient, then the mean over patients. "
    "Of a round trip (to the other domain and back) to the image that it began with: the cycle SSIM.",
    "psnr": "Peak signal-to-noise ratio to the real image, for the declared window: per patient, then the mean.",
    "mae": "Mean absolute error in the scanner's unit: per patient first, then the mean over patients.",
    "mae-relative": "Mean absolute error in percent of the sample's intensity window.",
    "share-clipped": "Share of the pixels whose value lay outside the window [−1, 1] and was clipped to it.",
    "ssim-difference": "SSIM of the synthetic image minus that of its rival, per patient; above 0 is better.",
    "psnr-difference": "PSNR of the synthetic image minus that of its rival, per patient; above 0 is better.",
}  # fmt: skip
DEFINITIONS |= {f"{name}-median": f"As {name}, with the median over patients." for name in BETTER}

Float = NDArray[np.float64]
Scores = dict[tuple[str, str], Float]
"""(name, region) → (n images, channel), NaN where undefined."""


def evaluate_similarity(
    real: Cohort, synthetic: Mapping[str, Cohort], options: EvaluationOptions, features: Features
) -> Evidence:
    """Every paired arm and every baseline against the real test images, over frame, body and lesion.

    Arms of other channels have baselines of their own; a round trip has none, for its source is its reference.
    """
    del features  # images are compared pixel by pixel
    groups, warnings = paired_arms(real, synthetic)
    warnings += [
        f"{name}: no sample has a reference (the real image it should equal): SSIM, PSNR and MAE do not exist for it."
        for name, cohort in synthetic.items()
        if not cohort.is_paired
    ]
    found = [_group(real, synthetic, pairs, options) for pairs in groups]
    warnings += dict.fromkeys(text for part in found for text in part.warnings)
    curves: dict[str, Any] = {}
    for part in found:
        for name, curve in part.curves.items():
            curves.setdefault(name, {}).update(curve)
    return Evidence(
        tuple(m for part in found for m in part.measurements), curves, tuple(warnings),
        tuple(verdict for part in found for verdict in part.verdicts),
        DEFINITIONS | {name: text for part in found for name, text in part.definitions.items()},
    )  # fmt: skip


def _group(
    real: Cohort, synthetic: Mapping[str, Cohort], pairs: Mapping[str, Pairs], options: EvaluationOptions
) -> Evidence:
    """Arms that share their channels and their test samples, the baselines, and the verdicts of the first of them."""
    headline = headline_name({name: synthetic[name] for name in pairs})
    if headline is None:
        return Evidence()
    cohort = synthetic[headline]
    channels, rows = cohort.channels, pairs[headline].real
    makers: dict[str, Callable[[int], Float]] = {
        arm_name(name): _maker(synthetic[name], pair, channels) for name, pair in pairs.items()
    }
    compared, suffix = "real test", on_channels(synthetic, channels)
    if cohort.is_round_trip:
        compared = "the image it began with, there and back (real test)"
    else:
        makers |= baselines(real, cohort.conditions, channels)
    compared += suffix
    scores, clipped = {}, {}
    for arm, make in makers.items():
        scores[arm], clipped[arm], clipped["real"] = _score_arm(real, rows, channels, make)

    patients = real.table["patient"][rows]
    unit = summary_of(real.table["unit"][rows].tolist())
    measurements = [
        measurement
        for arm in scores
        for measurement in _arm_measurements(arm, scores[arm], patients, channels, unit, compared, options)
    ]
    measurements += [
        Measurement("share-clipped", share, None, None, len(rows), len(set(patients.tolist())), arm,
                    method="no interval: a count", better="lower", compared=f"window [−1, 1]{suffix}")
        for arm, share in clipped.items()
        if arm != "real" or not cohort.is_round_trip
    ]  # fmt: skip
    best = arm_name(headline)
    verdicts: list[Verdict] = []
    for other in scores:
        if other != best:
            found, claims = _differences(best, other, scores, patients, options)
            measurements, verdicts = measurements + found, verdicts + claims
    warnings: tuple[str, ...] = ()
    if any(np.isinf(values).any() for arm in scores.values() for values in arm.values()):
        warnings = ("Some images equal their reference exactly: their PSNR is infinite and was left out.",)
    return Evidence(
        tuple(measurements),
        {"similarity_by_patient": {compared: _by_patient(scores, patients)},
         "similarity_by_image": {best: _by_image(real, rows, scores[best])}},
        warnings, tuple(verdicts), _definitions(channels),
    )  # fmt: skip


def score(real: Float, made: Float, body: NDArray[np.bool_], lesion: NDArray[np.bool_]) -> dict[tuple[str, str], Float]:
    """All measures of one pair in [−1, 1], (channel, [z,] y, x) → (name, region): (channel,), NaN where empty."""
    result = {(name, region): np.full(len(real), np.nan) for name in ("ssim", "psnr", "mae") for region in REGIONS}
    for channel, (x, y) in enumerate(zip(real, made, strict=True)):
        full = ssim_map(x, y, DATA_RANGE)
        for region, mask in (("frame", None), ("body", body), ("lesion", lesion)):
            if mask is not None and not mask.any():
                continue
            # In the frame, Wang's window must fit; a region is selected from the full map.
            selected = full[(slice(RADIUS, -RADIUS),) * full.ndim] if mask is None else full[mask]
            result["ssim", region][channel] = selected.mean()
            result["psnr", region][channel] = psnr_db(x, y, DATA_RANGE, mask)
            result["mae", region][channel] = mae(x, y, mask)
    return result


def difference_verdict(claim: str, interval: Interval, differences: Float, other: str, unit: str = "") -> Verdict:
    """Whether the headline arm is better than ``other``: a mean below 0 is called a loss, not a near miss."""
    number = f"mean difference {interval.value:+.3f}{unit}"
    if interval.low is not None and interval.high is not None:
        number += f", 95 % interval {interval.low:+.3f} to {interval.high:+.3f}"
    count = len(differences)
    if interval.value is None or interval.value <= 0:
        return Verdict(claim, "not supported", f"It loses to {other}: {number}, {count} patients.")
    if interval.low is not None and interval.low > 0:
        return Verdict(claim, "supported", f"{number}, {count} patients.")
    needed = patients_needed(differences)
    more = f"; at this spread about {needed} patients would tell" if needed and needed > count else ""
    return Verdict(claim, "cannot tell", f"Cannot tell with n = {count} patients: {number}{more}.")


def _maker(cohort: Cohort, pairs: Pairs, channels: tuple[str, ...]) -> Callable[[int], Float]:
    where = dict(zip(pairs.real.tolist(), pairs.synthetic.tolist(), strict=True))
    return lambda row: target(cohort, where[row], channels)


def _score_arm(
    real: Cohort, rows: NDArray[np.intp], channels: tuple[str, ...], make: Callable[[int], Float]
) -> tuple[Scores, float, float]:
    """Scores of one arm, and the share of clipped pixels in its images and in the real ones."""
    collected: list[dict[tuple[str, str], Float]] = []
    outside = np.zeros(2)
    for row in rows.tolist():
        truth, made = target(real, row, channels), make(row)
        outside += [(np.abs(made) > 1).mean(), (np.abs(truth) > 1).mean()]
        found = score(np.clip(truth, -1, 1), np.clip(made, -1, 1), real.body(row), real.lesion(row))
        widths = np.array([real.table[f"high_{c}"][row] - real.table[f"low_{c}"][row] for c in channels])
        for region in REGIONS:
            share = found["mae", region] / DATA_RANGE
            found["mae-relative", region] = 100 * share
            found["mae", region] = share * widths
        collected.append(found)
    scores = {key: np.stack([found[key] for found in collected]) for key in collected[0]}
    return scores, float(outside[0] / len(rows)), float(outside[1] / len(rows))


def _arm_measurements(
    arm: str, scores: Scores, patients: NDArray[Any], channels: tuple[str, ...], unit: str, compared: str,
    options: EvaluationOptions,
) -> list[Measurement]:  # fmt: skip
    units = {"ssim": "", "psnr": "dB", "mae": unit, "mae-relative": "% of the window"}
    measurements = []
    for (name, region), values in scores.items():
        columns = {"": values.mean(axis=1)}
        if len(channels) > 1:
            columns |= {f"[{channel}]": values[:, i] for i, channel in enumerate(channels)}
        for suffix, column in columns.items():
            names, means = patient_means(column, patients)
            count, skipped = int(np.isfinite(column).sum()), int(np.isnan(column).sum())
            left_out = f"; {skipped} images without {region} skipped" if skipped else ""
            for kind, statistic in (("", np.mean), ("-median", np.median)):
                found = patient_interval(means, options.seed, options.bootstrap_draws, statistic)
                over = f"{METHODS[name]}; data range 2 (window [−1, 1]){left_out}; per patient, then"
                over += f" {'median' if kind else 'mean'} over patients; {found.method}; synthoma {__version__}"
                measurements.append(
                    Measurement(
                        f"{name}{kind}{suffix}", found.value, found.low, found.high, count, len(names), arm, region,
                        units[name], BETTER[name], over, compared,  # type: ignore[arg-type]
                    )
                )  # fmt: skip
    return measurements


def _differences(
    best: str, other: str, scores: Mapping[str, Scores], patients: NDArray[Any], options: EvaluationOptions
) -> tuple[list[Measurement], list[Verdict]]:
    measurements, verdicts = [], []
    for name, unit in (("ssim", ""), ("psnr", "dB")):
        for region in REGIONS:
            with np.errstate(invalid="ignore"):  # ∞ − ∞ where both equal the real image
                column = (scores[best][name, region] - scores[other][name, region]).mean(axis=1)
            names, means = patient_means(column, patients)
            found = patient_interval(means, options.seed, options.bootstrap_draws)
            measurements.append(
                Measurement(f"{name}-difference", found.value, found.low, found.high, int(np.isfinite(column).sum()),
                            len(names), best, region, unit, "higher",
                            f"paired by patient: {METHODS[name]}; data range 2; {found.method}", other)
            )  # fmt: skip
            if region == "body" and found.value is not None:
                claim = f"{best} has a higher {name.upper()} over the body than {other}"
                verdicts.append(difference_verdict(claim, found, means, other, f" {unit}".rstrip()))
    return measurements, verdicts


def _definitions(channels: tuple[str, ...]) -> dict[str, str]:
    """With several target channels each has measurements of its own, and those without a channel are their mean."""
    if len(channels) == 1:
        return DEFINITIONS
    own = {
        f"{name}[{channel}]": f"As {name}, of the channel {channel} alone."
        for name in (*BETTER, *(f"{name}-median" for name in BETTER))
        for channel in channels
    }
    return DEFINITIONS | own


def _by_patient(scores: Mapping[str, Scores], patients: NDArray[Any]) -> dict[str, Any]:
    """name → region → arm → patient → value, for the report."""
    curves: dict[str, Any] = {}
    for arm, own in scores.items():
        for (name, region), values in own.items():
            names, means = patient_means(values.mean(axis=1), patients)
            place = curves.setdefault(name, {}).setdefault(region, {})
            place[arm] = dict(zip(names, means.tolist(), strict=True))
    return curves


def _by_image(real: Cohort, rows: NDArray[np.intp], scores: Scores) -> list[dict[str, Any]]:
    """Body scores of each image of the headline arm, so that the report can show the best, the median and the worst."""
    found = []
    for i, row in enumerate(rows.tolist()):
        values = {name: float(scores[name, "body"][i].mean()) for name in ("ssim", "psnr", "mae")}
        if all(np.isfinite(value) for value in values.values()):
            found.append({"id": str(real.table["id"][row]), "patient": str(real.table["patient"][row]), **values})
    return found
