"""Privacy: has the generator copied a patient, and could somebody tell whom it learned from?"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthoma import __version__
from synthoma.evaluation.audited import Audited, sides
from synthoma.evaluation.by_heart import DEFINITIONS as OF_BY_HEART
from synthoma.evaluation.by_heart import measure_by_heart
from synthoma.evaluation.evidence import Evidence, Verdict
from synthoma.evaluation.features import Features
from synthoma.evaluation.memorisation import ALIKE, measure_memorisation
from synthoma.evaluation.memorisation import DEFINITIONS as OF_MEMORISATION
from synthoma.evaluation.near_duplicates import Calibration, Neighbours, calibrate, distance_of
from synthoma.evaluation.options import EvaluationOptions
from synthoma.evaluation.pairs import arm_name
from synthoma.records import Cohort, Measurement

__all__ = ["evaluate_privacy", "fingerprint"]

LEAST_HELD_OUT = 8
"""Fewer held-out images than this calibrate nothing."""
SHOWN = 12
"""So many of the nearest pairs are named for a panel, near-duplicates or not."""
DEFINITIONS = {
    "near-duplicates": "Synthetic images that are a real one again, however turned, flipped, shifted, blurred or "
    "brightened: nearer to it, or further ahead of all other patients, than held-out real images are to training ones.",
} | OF_MEMORISATION | OF_BY_HEART  # fmt: skip


@dataclass
class _Found:
    measurements: list[Measurement] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    curves: dict[str, Any] = field(default_factory=dict)
    known: dict[Any, Any] = field(default_factory=dict)
    """Comparisons of held-out with training images, which several arms share."""


def evaluate_privacy(
    real: Cohort, synthetic: Mapping[str, Cohort], options: EvaluationOptions, features: Features
) -> Evidence:
    """Near-duplicates among all images of every cohort; nearest neighbours, authenticity and membership inference
    where no image was made from one of a held-out patient; of generators that are shown a patient, whether training
    patients are drawn closer to the truth than others. The patient is the unit of every test."""
    found = _Found()
    for name, cohort in synthetic.items():
        arm = _audited(real, arm_name(name), cohort, options, found)
        if arm is None:
            continue
        _near_duplicates(arm, found)
        if arm.sides.made_of_held_out:
            found.warnings.append(
                f"{arm.name}: made from images of patients held out from training and shows those patients; of the "
                "training patients only near-duplicates were looked for."
            )
            continue
        if len(arm.sides.sources):
            found.warnings.append(
                f"{arm.name}: made from images of training patients. That it is near them is how it was made, and a "
                "risk to them all the same."
            )
        memorised = measure_memorisation(arm, options, features)
        found.measurements += memorised.measurements
        found.verdicts += memorised.verdicts
        found.warnings += memorised.warnings
        found.curves[arm.name] |= memorised.curves
    audited = {name: cohort for name, cohort in synthetic.items() if arm_name(name) in found.curves}
    by_heart = measure_by_heart(real, audited, options.seed)
    found.measurements += by_heart.measurements
    found.verdicts += by_heart.verdicts
    for name, content in by_heart.curves.items():
        found.curves[name]["by_heart"] = content
    return Evidence(
        tuple(found.measurements), {"privacy": found.curves}, tuple(found.warnings), tuple(found.verdicts), DEFINITIONS
    )


def fingerprint(cohort: Cohort) -> str:
    """SHA-256 over the hashes of a cohort's images, in any order: which cohort an audit was of."""
    return hashlib.sha256("".join(sorted(cohort.table["image_sha256"].tolist())).encode()).hexdigest()


def _audited(real: Cohort, name: str, cohort: Cohort, options: EvaluationOptions, found: _Found) -> Audited | None:
    both = sides(real, cohort, options.max_images, options.seed)
    if not len(both.members):
        found.warnings.append(
            f"{name}: the real cohort holds no training image of its generator, so no copy could be found: not audited."
        )
        return None
    patients = len(np.unique(real.table["patient"][both.held_out]))
    if len(both.held_out) < LEAST_HELD_OUT or patients < 2:
        found.warnings.append(
            f"{name}: {len(both.held_out)} held-out images of {patients} patients, fewer than {LEAST_HELD_OUT} of 2, "
            "to tell a copy from a likeness by: not audited."
        )
        return None
    return Audited.of(name, cohort, real, both, found.known)


def _near_duplicates(arm: Audited, found: _Found) -> None:
    """Every image of the cohort against all training images and those it was made from; each is named in the curves."""
    both, cohort = arm.sides, arm.cohort
    reference = arm.held_out_against(both.held_out, both.members)
    patients = len(np.unique(arm.real.table["patient"][both.held_out]))
    limits = calibrate(reference, patients, len(cohort))
    searched = np.union1d(both.members, both.sources)
    nearby = arm.against(np.arange(len(cohort)), searched)
    flagged = limits.exceeded(nearby)
    order = np.argsort(-nearby.correlation, kind="stable")
    named = [_pair(arm, nearby, limits, int(at)) for at in order if flagged[at]]
    found.curves[arm.name] = {
        "cohort_sha256": fingerprint(cohort),
        "images": len(cohort),
        "near_duplicates": named,
        "nearest": [_pair(arm, nearby, limits, int(at)) for at in order[:SHOWN]],
        "distances": _rounded(distance_of(nearby.correlation)),
        "held_out_distances": _rounded(distance_of(reference.correlation)),
    }
    real_patients = len(np.unique(arm.real.table["patient"][searched]))
    ahead = f" or more than {limits.lead:.2f} ahead of all other patients (Fisher's z)"
    method = (
        f"{ALIKE}; called so where ρ > {np.tanh(limits.z):.4f}{ahead * bool(np.isfinite(limits.lead))}"
        f"; thresholds by {len(both.held_out)} held-out images of {patients} patients for {len(cohort)} images: of "
        f"generators that copy nobody 1 in 20 has one; a count, no interval; synthoma {__version__}"
    )  # fmt: skip
    compared = f"real train{' and what it was made from' * bool(len(both.sources))}"
    found.measurements.append(
        Measurement("near-duplicates", float(len(named)), None, None, len(cohort), len(cohort.patients), arm.name,
                    unit="images", better="lower", method=method,
                    compared=f"{compared} ({len(searched)} images, {real_patients} patients)")
    )  # fmt: skip
    found.verdicts.append(_verdict(arm, named))
    if named:
        found.warnings.append(
            f"{arm.name}: {len(named)} of {len(cohort)} images are near-duplicates of real ones, such as "
            f"{named[0]['synthetic']} of {named[0]['real']}: do not release it."
        )


def _pair(arm: Audited, nearby: Neighbours, limits: Calibration, at: int) -> dict[str, Any]:
    """One synthetic image and its nearest real one, for a list, a panel and the release gate."""
    row, lead = int(nearby.real[at]), float(nearby.lead[at])
    by_lead = not nearby.z[at] > limits.z
    return {
        "synthetic": str(arm.cohort.table["id"][at]),
        "real": str(arm.real.table["id"][row]),
        "split": str(arm.real.table["split"][row]),
        "source": str(arm.real.table["patient"][row]) == _shown(arm, at),
        "transformation": nearby.transformation(at),
        "correlation": round(float(nearby.correlation[at]), 5),
        "distance": round(float(distance_of(nearby.correlation[at])), 5),
        "lead": round(lead, 4) if np.isfinite(lead) else None,
        "exceeded": "lead" if by_lead else "distance",
        "threshold": round(limits.lead if by_lead else float(distance_of(np.tanh(limits.z))), 5)
        if np.isfinite(limits.lead if by_lead else limits.z) else None,
    }  # fmt: skip


def _shown(arm: Audited, at: int) -> str:
    """The patient whom a generator was shown to draw a synthetic image; of a transplanted lesion that is the recipient,
    who comes first: of the donor only the lesion's outline is shown."""
    sample = str(arm.cohort.table["made_from"][at] or arm.cohort.table["reference"][at]).partition(";")[0]
    patients = arm.real.table["patient"][arm.real.table["id"] == sample]
    return str(patients[0]) if len(patients) else ""


def _verdict(arm: Audited, named: list[dict[str, Any]]) -> Verdict:
    claim = f"{arm.name}: no image is a real one again (near-duplicates)"
    if not named:
        held = len(arm.sides.held_out)
        return Verdict(
            claim, "supported",
            f"None of {len(arm.cohort)} is nearer to a real image than chance explains, by {held} held-out images. "
            "Synthetic is not anonymous: likenesses that such a search cannot see are not excluded.",
        )  # fmt: skip
    first = named[0]
    how = "" if first["transformation"] == "none" else f" ({first['transformation']})"
    own = sum(pair["source"] for pair in named)
    made = f"; {own} show the patient that they were made from" if own else ""
    because = f"{len(named)} of {len(arm.cohort)}; nearest: {first['synthetic']} is {first['real']}{how}{made}."
    return Verdict(claim, "not supported", because)


def _rounded(values: NDArray[np.float64]) -> list[float]:
    return [round(float(value), 4) for value in values]
