"""Two classifiers on the same test patients: is one better, are they equal, and how many patients could tell?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from synthoma.evaluation.evidence import Verdict
from synthoma.evaluation.options import EvaluationOptions
from synthoma.evaluation.tests_of_difference import (
    EffectSize,
    Equivalence,
    McNemar,
    equivalence,
    holm,
    mcnemar_exact,
    paired_effect_size,
    patients_right,
    units_needed,
)
from synthoma.records import Measurement
from synthoma.seeding import generator

if TYPE_CHECKING:
    from synthoma.evaluation.classifier import Labelled

__all__ = ["COMPARED", "Comparison", "compare", "exchange_test", "shares_of_patients", "verdict_of"]

Float = NDArray[np.float64]
COMPARED = "balanced-accuracy"
"""The measure that verdicts read: the classes need not be equally frequent in the test split."""
EXCHANGES = 9999
ALPHA = 0.05


@dataclass(frozen=True)
class Comparison:
    """One arm against another, in balanced accuracy, with the patient as the unit."""

    arm: str
    other: str
    difference: float
    patients: int
    exchange_p: float
    exchange_p_holm: float
    exchanges: str
    mcnemar: McNemar
    mcnemar_p_holm: float
    family: int
    """Number of comparisons that Holm's correction is over."""
    effect: EffectSize | None
    """Over patients' shares in the difference."""
    equal: Equivalence | None
    """Whether the arms are equal but for ``evaluation.utility.margin``."""
    patients_needed: int | None
    """With as many test patients the observed difference would be found with 80 % power."""

    def to_json(self) -> dict[str, Any]:
        """As a dictionary for JSON."""
        return asdict(self)


def compare(
    probability: Mapping[str, Float], pairs: Sequence[tuple[str, str]], test: Labelled, options: EvaluationOptions
) -> list[Comparison]:
    """Each pair (arm, other) by both tests, corrected together; none where a class is missing from the test images."""
    if not pairs or test.positive.all() or not test.positive.any():
        return []
    right = {name: (probability[name] >= 0.5) == test.positive for pair in pairs for name in pair}
    shares = [shares_of_patients(right[arm], right[other], test.positive, test.patients) for arm, other in pairs]
    exchanged = [exchange_test(values, options.seed) for values in shares]
    calls = {name: patients_right(values, test.patients)[1] for name, values in right.items()}
    mcnemar = [mcnemar_exact(calls[arm], calls[other]) for arm, other in pairs]
    holm_exchange, holm_mcnemar = holm([p for p, _ in exchanged]), holm([one.p for one in mcnemar])
    found = []
    for i, (arm, other) in enumerate(pairs):
        values, count = shares[i], len(shares[i])
        mean = float(values.mean())
        error = float(values.std(ddof=1)) / math.sqrt(count) if count > 1 else 0.0
        found.append(
            Comparison(
                arm, other, mean, count, exchanged[i][0], holm_exchange[i], exchanged[i][1], mcnemar[i],
                holm_mcnemar[i], len(pairs), paired_effect_size(values),
                equivalence(mean, error, count - 1, options.utility.margin) if error > 0 else None,
                units_needed(mean, error, count),
            )
        )  # fmt: skip
    return found


def shares_of_patients(
    first: NDArray[np.bool_], second: NDArray[np.bool_], positive: NDArray[np.bool_], patients: NDArray[Any]
) -> Float:
    """(patients,) whose mean is the difference in balanced accuracy of two classifiers.

    Balanced accuracy is a sum over images, each weighing ½ over the number of its class; a patient's share is the sum
    over his images, times the number of patients.

    Args:
        first, second: (n,) whether each classifier called each image rightly.
    """
    weight = np.where(positive, 0.5 / positive.sum(), 0.5 / (~positive).sum())
    names, inverse = np.unique(patients, return_inverse=True)
    gained = np.bincount(inverse, weights=weight * (first.astype(float) - second), minlength=len(names))
    return np.asarray(gained * len(names))


def exchange_test(shares: Float, seed: int) -> tuple[float, str]:
    """Two-sided p that the mean share is 0, and how many exchanges: the answers of two equally good classifiers can be
    exchanged for each other, patient by patient (Fisher's randomisation test). Exact up to 13 patients that differ.
    """
    from scipy.stats import permutation_test

    moved = shares[np.abs(shares) > 1e-12]  # exchanging equal answers changes nothing
    if len(moved) < 2:  # of a single patient either answer is as likely
        return 1.0, "the arms differ in one patient" if len(moved) else "the arms never differ"
    result = permutation_test(
        (moved,), lambda x, axis: np.sum(x, axis=axis), permutation_type="samples", n_resamples=EXCHANGES,
        vectorized=True, rng=generator(seed, "exchange"),
    )  # fmt: skip
    exact = 2 ** len(moved) <= EXCHANGES
    return float(result.pvalue), f"all {2 ** len(moved)} exchanges" if exact else f"{EXCHANGES} random exchanges"


def verdict_of(
    one: Comparison, difference: Measurement, differences: Mapping[tuple[str, str], Measurement],
    options: EvaluationOptions,
) -> Verdict:  # fmt: skip
    """Whether the arm is better than the other.

    *Supported* asks for an interval above 0, for Holm's p below 5 %, and of ``real+synthetic`` that it beats
    ``real+duplicates`` too: what repeating real images gives is no merit of synthetic ones.
    """
    rival = "real images" if one.other == "real" else "real images and classically changed copies of them"
    claim = f"A classifier trained on {one.arm} has a higher balanced accuracy than one trained on {rival}"
    if difference.value is None:
        return Verdict(claim, "cannot tell", "A class is missing from the test split.")
    text = f"difference {100 * difference.value:+.1f} points, {one.patients} test patients, one training run"
    if difference.low is None or difference.high is None:
        return Verdict(claim, "cannot tell", f"{text}, no interval.")
    text += f", 95 % interval {100 * difference.low:+.1f} to {100 * difference.high:+.1f}"
    text += f", p after Holm {one.exchange_p_holm:.2g}"
    control = differences.get((one.arm, "real+duplicates"))
    gained = control is None or (control.low is not None and control.low > 0)
    if difference.low > 0 and one.exchange_p_holm < ALPHA:
        if gained:
            return Verdict(claim, "supported", f"{text}.")
        text += "; real images repeated as often cannot be told from it"
    elif difference.value <= 0:
        return Verdict(claim, "not supported", f"{text}.")
    elif one.equal is not None and one.equal.shown:
        margin = f"{100 * options.utility.margin:g} points"
        return Verdict(claim, "not supported", f"{text}; equal to within {margin} (p = {one.equal.p:.2g}).")
    could = f" (with {one.patients_needed} one could)" if one.patients_needed else ""
    return Verdict(claim, "cannot tell", f"{text}; cannot tell with n = {one.patients} patients{could}.")
