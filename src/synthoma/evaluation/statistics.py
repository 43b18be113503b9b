"""Intervals with the patient as the unit: bootstrap, jackknife, Clopper–Pearson."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthoma.seeding import generator

__all__ = [
    "Interval",
    "clopper_pearson",
    "jackknife",
    "patient_bootstrap",
    "patient_groups",
    "patient_interval",
    "patient_means",
    "patients_needed",
    "spread_over_patients",
]

MIN_PATIENTS = 3
"""With fewer patients no interval is given: two numbers say next to nothing about how patients differ."""

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval, or with none and the reason."""

    value: float | None
    low: float | None
    high: float | None
    method: str


def patient_means(values: Sequence[float] | Float, patients: NDArray[Any]) -> tuple[list[str], Float]:
    """Mean of the finite values of each patient: (patients, sorted; their means). Patients without one are left out."""
    values = np.asarray(values, dtype=np.float64)
    finite = np.isfinite(values)
    names = sorted(set(patients[finite].tolist()))
    return names, np.array([values[finite & (patients == name)].mean() for name in names])


def patient_interval(per_patient: Float, seed: int, draws: int, statistic: Callable[..., Any] = np.mean) -> Interval:
    """``statistic`` (mean or median) over patients and its BCa bootstrap interval (Efron 1987), patients redrawn.

    BCa is undefined where the jackknife of the statistic does not vary (a median of few values); the percentile
    interval of the same draws stands in then, and the method says so.
    """
    values = np.asarray(per_patient, dtype=np.float64)
    count = len(values)
    if count == 0:
        return Interval(None, None, None, "no patient to measure")
    value = float(statistic(values))
    if count < MIN_PATIENTS:
        return Interval(
            value, None, None, f"no interval: {count} patient{'s' * (count > 1)}, fewer than {MIN_PATIENTS}"
        )
    if np.ptp(values) == 0:
        return Interval(value, value, value, "all patients are equal")
    from scipy.stats import bootstrap

    for method in ("BCa", "percentile"):
        with np.errstate(all="ignore"):
            result = _quietly(
                lambda method=method: bootstrap(  # type: ignore[misc]
                    (values,), statistic, n_resamples=draws, method=method, vectorized=True,
                    rng=generator(seed, "bootstrap", "patients"),
                )
            )  # fmt: skip
        low, high = (float(end) for end in result.confidence_interval)
        if math.isfinite(low) and math.isfinite(high):
            break
    return Interval(value, low, high, f"95 % {method} bootstrap of {count} patients, {draws} draws")


def patient_bootstrap(
    statistic: Callable[[NDArray[np.intp]], Float], patients: NDArray[Any], seed: int, draws: int
) -> tuple[Float, Float, Float, str]:
    """Percentile bootstrap of several statistics at once: patients are redrawn, all images of a patient stay together.

    Args:
        statistic: image indices → values (k,), NaN where undefined for that draw (one class only).
        patients: (n,) patient of each image.

    Returns:
        values (k,), low (k,), high (k,) and the method; ends are NaN when no interval can be given.
    """
    names, inverse = np.unique(patients, return_inverse=True)
    rows = [np.flatnonzero(inverse == i) for i in range(len(names))]
    values = statistic(np.arange(len(patients)))
    nothing = np.full_like(values, np.nan)
    if len(names) < MIN_PATIENTS:
        return values, nothing, nothing, f"no interval: {len(names)} patients, fewer than {MIN_PATIENTS}"
    random = generator(seed, "bootstrap", "images of patients")
    drawn = np.stack(
        [
            statistic(np.concatenate([rows[i] for i in random.integers(len(names), size=len(names))]))
            for _ in range(draws)
        ]
    )
    enough = np.isfinite(drawn).mean(axis=0) >= 0.9  # an interval over the lucky draws only would be too narrow
    ends = np.full((2, len(values)), np.nan)
    if enough.any():
        ends[:, enough] = np.nanpercentile(drawn[:, enough], [2.5, 97.5], axis=0)
    return values, ends[0], ends[1], f"95 % percentile bootstrap of {len(names)} patients, {draws} draws"


def patient_groups(patients: NDArray[Any], most: int, seed: int) -> list[NDArray[np.intp]]:
    """Image indices by patient; with more than ``most`` patients, by ``most`` random groups of them."""
    names = np.unique(patients)
    if len(names) > most:
        names = generator(seed, "jackknife groups").permutation(names)
    return [np.flatnonzero(np.isin(patients, part)) for part in np.array_split(names, min(most, len(names)))]


def jackknife(
    statistic: Callable[[NDArray[np.intp], NDArray[np.intp]], Float],
    first: NDArray[Any],
    second: NDArray[Any],
    most: int,
    seed: int,
) -> tuple[Float, Float, Float, str]:
    """Delete-one-patient jackknife of a statistic of two sets, each set deleted in turn.

    SE² = Σ over the two sets of (P−1)/P Σ (θ₍ᵢ₎ − θ̄)²; interval θ ± t(P−1) SE, with the smaller P. A bootstrap would
    duplicate images, and a distance of two samples reads duplicates as a smaller n: it is biased upward.

    Args:
        statistic: (indices into the first set, into the second) → values (k,).
        first, second: patient of each image of either set.

    Returns:
        values (k,), low (k,), high (k,) and the method.
    """
    from scipy.stats import t

    everything = (np.arange(len(first)), np.arange(len(second)))
    values = statistic(*everything)
    sides = (patient_groups(first, most, seed), patient_groups(second, most, seed))
    fewest = min(len(groups) for groups in sides)
    if fewest < MIN_PATIENTS:
        nothing = np.full_like(values, np.nan)
        return values, nothing, nothing, f"no interval: {fewest} patients in a set, fewer than {MIN_PATIENTS}"
    variance = np.zeros_like(values)
    for side, groups in enumerate(sides):
        left = []
        for group in groups:
            kept = list(everything)
            kept[side] = np.delete(kept[side], group)
            left.append(statistic(kept[0], kept[1]))
        leave_out = np.stack(left)
        count = len(groups)
        variance += (count - 1) / count * ((leave_out - leave_out.mean(axis=0)) ** 2).sum(axis=0)
    half = float(t.ppf(0.975, fewest - 1)) * np.sqrt(variance)
    grouped = max(len(np.unique(first)), len(np.unique(second))) > most
    kind = "delete-group jackknife over patients" if grouped else "delete-one-patient jackknife"
    return values, values - half, values + half, f"95 % {kind} ({len(sides[0])} + {len(sides[1])} groups), for this n"


def spread_over_patients(patients: NDArray[Any], most: int, seed: int, *names: str) -> NDArray[np.intp]:
    """At most ``most`` image indices, sorted, drawn without replacement as evenly over the patients as they allow."""
    random = generator(seed, "subset", *names)
    if len(patients) <= most:
        return np.arange(len(patients))
    turn = np.empty(len(patients), dtype=np.int64)  # the how-maniest image of its patient, in random order
    for name in np.unique(patients):
        own = np.flatnonzero(patients == name)
        turn[own] = random.permutation(len(own))
    order = np.lexsort((random.random(len(patients)), turn))
    return np.sort(order[:most])


def clopper_pearson(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Exact interval of a proportion of independent trials (Clopper & Pearson 1934)."""
    if not 0 <= successes <= trials or trials == 0:
        raise ValueError(f"expected 0 ≤ successes ≤ trials and a trial, found {successes} of {trials}")
    from scipy.stats import beta

    tail = (1 - level) / 2
    low = 0.0 if successes == 0 else float(beta.ppf(tail, successes, trials - successes + 1))
    high = 1.0 if successes == trials else float(beta.ppf(1 - tail, successes + 1, trials - successes))
    return low, high


def patients_needed(differences: Float) -> int | None:
    """Patients for 80 % power (two-sided 5 %, normal) to tell the observed mean from 0; ``None`` if it is 0."""
    mean, variance = float(np.mean(differences)), float(np.var(differences, ddof=1)) if len(differences) > 1 else 0.0
    return max(2, math.ceil((1.959964 + 0.841621) ** 2 * variance / mean**2)) if mean and variance else None


def _quietly(call: Callable[[], Any]) -> Any:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scipy warns of the degenerate case that the caller handles
        return call()
