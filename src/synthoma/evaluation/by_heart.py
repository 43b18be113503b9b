"""Does a generator that is shown a patient know that patient's true image by heart?

Who has the condition gets the image. That it is near the patient's true one is what the generator is for; that it is
nearer for patients whose true image was trained on than for strangers is memory (membership inference by reconstruction
error: Chen et al. 2020, arXiv 1909.03935; for image translation Shafran et al. 2021, arXiv 2102.07762).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from synthoma import __version__
from synthoma.evaluation.audited import drawn_by, learned_from
from synthoma.evaluation.error_ratio import EACH, LEAST_RATIO, ErrorRatio, compare
from synthoma.evaluation.evidence import Verdict
from synthoma.evaluation.membership import attack
from synthoma.evaluation.memorisation import Memorised
from synthoma.evaluation.pairs import arm_name
from synthoma.evaluation.statistics import patient_means
from synthoma.records import BODY, Cohort, Measurement

__all__ = ["DEFINITIONS", "measure_by_heart", "truths"]

LEAST_RMSE = 1e-4
"""Of images in [−1, 1]: an error below this is none."""
SAME = ("patient", "site", "modality", "label")
"""Where these columns and the masks agree, an image shows what its original shows."""
VERDICTS: Mapping[str, Literal["supported", "not supported", "cannot tell"]] = {
    "memorised": "not supported", "cleared": "supported", "cannot tell": "cannot tell",
}  # fmt: skip
NAMED = 12
"""So many training pairs are named, the closest to the truth first; before them those of patients known alone."""
DEFINITIONS = {
    "memorisation-error-ratio": "Error of images drawn for held-out patients over that for training patients, each "
    "against the patient's true image; 1 when the training patients are drawn no better than strangers.",
    "membership-auc-reconstruction": "How well the error of a patient's drawn images tells training from held-out "
    "patients, for one who has condition and truth: ½ is a guess, 1 is certainty.",
}  # fmt: skip

Float = NDArray[np.float64]
Rows = NDArray[np.intp]


@dataclass(frozen=True)
class _Errors:
    """How far from the truth the images of a generator are, image by image."""

    log_rmse: Float
    real: Rows
    """Row of the true image."""
    trained: NDArray[np.bool_]
    """Whether it was trained on; the others are of held-out patients."""
    arms: NDArray[np.str_]
    made: NDArray[np.str_]
    """Id of the synthetic image."""


def measure_by_heart(real: Cohort, synthetic: Mapping[str, Cohort], seed: int) -> Memorised:
    """Compare, for each generator and the channels that it draws, training with held-out patients.

    Args:
        synthetic: the audited cohorts. Those drawn by the same weights belong together: one may hold the training
            patients, another those held out.
        seed: of random labellings.

    Returns:
        measurements, verdicts, and for each arm (in ``curves``) what the release gate reads. Arms are not in there
        whose generator drew nothing that has a truth: images from noise, or of another domain.
    """
    found, groups = Memorised(), dict[Any, list[str]]()
    for name, cohort in synthetic.items():
        groups.setdefault((drawn_by(cohort), cohort.channels), []).append(name)
    for (_, channels), names in groups.items():
        errors = _joined([_errors(real, synthetic[name], arm_name(name)) for name in names])
        if len(errors.real):
            content = _measure(real, errors, channels, seed, found)
            found.curves |= {arm_name(name): content for name in names}
    return found


def truths(real: Cohort, made: Cohort) -> Rows:
    """Row of the real image that each synthetic one would equal if it had been learned by heart: (n,), −1 for none.

    None has what comes from noise or from several images, whose lesion was changed, that went over to another domain
    (site, modality, label), and whose own channels were shown.
    """
    rows = np.full(len(made), -1, dtype=np.intp)
    if set(made.channels) & set(made.conditions) or not set(made.channels) <= set(real.channels):
        return rows
    where = {identity: row for row, identity in enumerate(real.table["id"].tolist())}
    for at, identity in enumerate(made.table["made_from"].tolist()):
        row = where.get(identity, -1)
        if row >= 0 and all(made.table[name][at] == real.table[name][row] for name in SAME):
            rows[at] = row if np.array_equal(made.masks[at], real.masks[row]) else -1
    return rows


def _errors(real: Cohort, made: Cohort, arm: str) -> _Errors:
    """Of the images that have a truth, of training and of held-out patients; squares are averaged over the body."""
    rows, table = truths(real, made), real.table
    learned = np.isin(table["patient"], sorted(learned_from(made))) & (table["split"] == "train")
    counted = learned | np.isin(table["split"], ("test", "validation"))
    at = np.flatnonzero((rows >= 0) & counted[rows])
    channels = [real.channels.index(name) for name in made.channels] if len(at) else []
    body, found = real.mask_names.index(BODY), []
    for one, row in zip(at.tolist(), rows[at].tolist(), strict=True):
        inside = real.masks[row, body] > 0
        squares = (np.asarray(made.images[one], dtype=np.float64) - real.images[row][channels]) ** 2
        mean = float(squares[:, inside].mean() if inside.any() else squares.mean())
        found.append(math.log(max(math.sqrt(mean), LEAST_RMSE)))
    own = rows[at]
    return _Errors(np.array(found), own, learned[own], np.full(len(at), arm), made.table["id"][at].astype(str))


def _joined(parts: Sequence[_Errors]) -> _Errors:
    fields = ("log_rmse", "real", "trained", "arms", "made")
    return _Errors(*(np.concatenate([getattr(part, name) for part in parts]) for name in fields))


def _measure(real: Cohort, errors: _Errors, channels: tuple[str, ...], seed: int, found: Memorised) -> dict[str, Any]:
    patients = real.table["patient"][errors.real]
    names, values = patient_means(errors.log_rmse, patients)
    row = [int(errors.real[patients == name][0]) for name in names]
    trained = np.array([bool(errors.trained[patients == name].any()) for name in names])
    arm = str(errors.arms[np.argmax(errors.trained)])
    content: dict[str, Any] = {
        "channels": list(channels),
        "arms": sorted(set(errors.arms.tolist())),
        "training_patients": int(trained.sum()),
        "held_out_patients": int((~trained).sum()),
        "state": "cannot tell",
    }
    claim = f"{arm}: no training patient's {', '.join(channels)} is known by heart"
    if not trained.any() or trained.all():
        missing = "training" if not trained.any() else "held-out"
        because = f"No image was drawn for {missing} patients, with whom the others could be compared."
        found.verdicts.append(Verdict(claim, "cannot tell", because))
        return content | {"missing": missing}
    sites = real.table["site"][row]
    both = np.isin(sites, sites[trained]) & np.isin(sites, sites[~trained])
    result = compare(values, trained, sites, np.array(names), seed)
    if result is None:
        found.verdicts.append(Verdict(claim, "cannot tell", "No site has both training and held-out patients."))
        return content | {"missing": "shared site"}
    state = "memorised" if result.memorised else "cleared" if result.cleared else "cannot tell"
    found.verdicts.append(Verdict(claim, VERDICTS[state], _because(result)))
    found.measurements += _measurements(result, values[both], trained[both], len(errors.real), arm, channels)
    order = np.lexsort([errors.log_rmse, ~np.isin(patients, result.alone), ~errors.trained])
    strangers = float(np.exp(values[~trained].mean()))
    pairs = [
        {
            "arm": str(errors.arms[at]), "synthetic": str(errors.made[at]),
            "real": str(real.table["id"][errors.real[at]]), "rmse": round(math.exp(errors.log_rmse[at]), 4),
        }
        for at in order[: min(NAMED, int(errors.trained.sum()))].tolist()
    ]  # fmt: skip
    return content | {
        "state": state, "ratio": result.ratio, "low": result.low, "high": result.high, "p": result.p,
        "labellings": result.labellings, "alone": list(result.alone), "pairs": pairs,
        "held_out_rmse": round(strangers, 4),
    }  # fmt: skip


def _because(result: ErrorRatio) -> str:
    text = f"Held-out patients are drawn with {result.ratio:.2f} times the error of training patients"
    known = result.low is not None and result.high is not None
    interval = f"95 % interval {result.low:.2f} to {result.high:.2f}" if known else "no interval"
    text += f" ({interval}, p = {result.p:.2g} one-sided, {result.trained} "
    text += f"training and {result.held_out} held-out patients); {LEAST_RATIO:.0f} is called memory."
    if result.alone:
        text += f" {len(result.alone)} by themselves, such as {result.alone[0]}."
    if not result.decidable:
        text += f" So few patients cannot show it: they could be divided in {result.labellings} ways only."
    return text


def _measurements(
    result: ErrorRatio, values: Float, trained: NDArray[np.bool_], images: int, arm: str, channels: tuple[str, ...]
) -> list[Measurement]:  # fmt: skip
    error = f"root mean squared error in the body against the true image ({', '.join(channels)})"
    compared = f"{result.trained} real train and {result.held_out} real held-out patients of the same sites"
    told = attack(-values, np.arange(len(values)), trained)
    ratio = (
        f"{error}; logarithms averaged per patient, then within sites; p = {result.p:.3g} (one-sided) and interval by "
        f"dividing the patients of a site anew; memory is a ratio of {LEAST_RATIO:.0f} or more with p ≤ {EACH}"
    )
    area = f"{error}; logarithms averaged per patient; interval of Newcombe 2006, method 5"
    return [
        Measurement(
            name, value, low, high, images, result.trained + result.held_out, arm, region="body", better="lower",
            method=f"{method}; synthoma {__version__}", compared=compared,
        )
        for name, value, low, high, method in (
            ("memorisation-error-ratio", result.ratio, result.low, result.high, ratio),
            ("membership-auc-reconstruction", told.auc, told.low, told.high, area),
        )
    ]  # fmt: skip
