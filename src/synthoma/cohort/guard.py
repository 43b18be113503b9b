"""The leak guard: no patient on two sides, in no disguise.

Four questions, four functions. Each raises :class:`LeakError` (exit code 4) and names the patients.

- :func:`check_splits`: is a patient, or an image, on two sides of a cohort?
- :func:`check_training`: do the samples to train on share a patient or an image with those held out?
- :func:`check_generator`: was the *generator* trained on a patient of the evaluation set? What is asked before a
  synthetic image is compared with real ones. Reconstructing a test patient's image from that patient's own condition is
  legitimate: the generator never saw the patient.
- :func:`check_augmentation`: had a held-out patient *any* influence on a synthetic sample, through the generator, the
  condition or the lesion? What is asked before synthetic samples join the training set of a classifier.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthoma.errors import CohortError, LeakError, describe
from synthoma.records import Cohort

__all__ = ["check_augmentation", "check_generator", "check_splits", "check_training", "patient_of"]


def patient_of(sample_id: str) -> str:
    """The patient in the id of a real sample, ``patient/slice``."""
    return sample_id.rpartition("/")[0]


def check_splits(cohort: Cohort) -> None:
    """Refuse a cohort with a real patient, or a real image, in two splits or two folds, or one image for two patients.

    An image that is background alone (−1 everywhere) says nothing of a patient and is excepted.
    """
    check_table(cohort.table, blank_sha256=_blank_sha256(cohort))


def check_table(table: Mapping[str, Sequence[Any] | NDArray[Any]], *, blank_sha256: str) -> None:
    """:func:`check_splits` on a table alone. Synthetic rows are passed over: a GAN may well make one image twice."""
    columns = ("origin", "patient", "split", "fold", "image_sha256")
    sides: dict[str, tuple[str, int]] = {}
    images: dict[str, tuple[str, tuple[str, int]]] = {}
    torn, shared = set(), set()
    for origin, patient, split, fold, image in zip(*(list(table[name]) for name in columns), strict=True):
        if origin != "real":
            continue
        side = (str(split), int(fold))
        if sides.setdefault(patient, side) != side:
            torn.add(str(patient))
        if image == blank_sha256:
            continue
        first = images.setdefault(image, (patient, side))
        if first != (patient, side):
            shared |= {str(first[0]), str(patient)}
    if torn:
        remedy = "Split by patient."
        raise LeakError(describe("splits", "each patient on one side", f"on two: {_names(torn)}", remedy))
    if shared:
        remedy = "Keep one of them, or give both the same patient."
        raise LeakError(
            describe("images", "each of one patient", f"the same one for several: {_names(shared)}", remedy)
        )


def check_training(cohort: Cohort, train_rows: NDArray[np.intp], held_out_rows: NDArray[np.intp]) -> None:
    """Refuse to train on ``train_rows`` when they share a patient or an image with ``held_out_rows``."""
    patients, images = cohort.table["patient"], cohort.table["image_sha256"]
    both = set(patients[train_rows].tolist()) & set(patients[held_out_rows].tolist())
    repeated = set(images[train_rows].tolist()) & set(images[held_out_rows].tolist()) - {_blank_sha256(cohort)}
    if repeated:
        both |= set(patients[held_out_rows][np.isin(images[held_out_rows], sorted(repeated))].tolist())
    if both:
        raise LeakError(describe("training samples", "none of a held-out patient", f"samples of {_names(both)}"))


def check_generator(synthetic: Cohort, patients: Iterable[str]) -> None:
    """Refuse to compare synthetic samples with real ones of ``patients`` that their generator was trained on.

    Reads ``patients_seen`` of the ``train`` lineages that the samples descend from; where no such lineage is stored,
    that of the samples' own lineage.

    Raises:
        LeakError: the generator saw one of ``patients``.
        CohortError: a synthetic sample has no lineage, so that nobody can tell.
    """
    seen: set[str] = set()
    for lineage in _lineages_of(synthetic):
        chain = _ancestors(synthetic, lineage)
        trained = [name for name in chain if synthetic.lineages[name].step == "train"]
        for name in trained or [lineage]:
            seen.update(synthetic.lineages[name].patients_seen)
    _refuse(synthetic, seen & set(patients), "a generator that never saw a patient of the evaluation set")


def check_augmentation(synthetic: Cohort, held_out_patients: Iterable[str]) -> None:
    """Refuse to train on synthetic samples that any of ``held_out_patients`` had an influence on.

    Influence: the patients that the generator saw, those that the samples were made from or stand for, and the
    samples' own.

    Raises:
        LeakError: a held-out patient had an influence.
        CohortError: a synthetic sample has no lineage, so that nobody can tell.
    """
    seen: set[str] = set()
    for lineage in _lineages_of(synthetic):
        for name in _ancestors(synthetic, lineage):
            if name == lineage or synthetic.lineages[name].step == "train":
                seen.update(synthetic.lineages[name].patients_seen)
    rows = synthetic.table["origin"] == "synthetic"
    for column in ("made_from", "reference"):
        for text in set(synthetic.table[column][rows].tolist()):
            seen.update(patient_of(sample) for sample in text.split(";") if sample)
    seen.update(synthetic.table["patient"][rows].tolist())
    _refuse(synthetic, seen & set(held_out_patients), "synthetic samples that owe nothing to a held-out patient")


def _refuse(synthetic: Cohort, patients: set[str], expected: str) -> None:
    if patients:
        name = synthetic.path or "synthetic cohort"
        remedy = "Take patients it never met, or make it again without them."
        raise LeakError(describe(name, expected, f"that it used {_names(patients)}", remedy))


def _lineages_of(synthetic: Cohort) -> list[str]:
    """The lineages of the synthetic rows, each of which must be stored."""
    names = sorted(set(synthetic.table["lineage"][synthetic.table["origin"] == "synthetic"].tolist()))
    if not names:
        raise CohortError(describe(synthetic.path or "cohort", "synthetic samples", "none"))
    if any(name not in synthetic.lineages for name in names):
        remedy = "Without it nobody can tell which patients the generator saw."
        raise CohortError(describe(synthetic.path or "cohort", "a lineage for each synthetic sample", "none", remedy))
    return names


def _ancestors(cohort: Cohort, lineage: str) -> list[str]:
    """The stored lineages that ``lineage`` descends from, itself first."""
    found: list[str] = []
    waiting = [lineage]
    while waiting:
        name = waiting.pop()
        if name in cohort.lineages and name not in found:
            found.append(name)
            waiting.extend(cohort.lineages[name].parents)
    return found


def _blank_sha256(cohort: Cohort) -> str:
    blank = np.full(cohort.images.shape[1:], -1, cohort.images.dtype)
    return hashlib.sha256(blank.tobytes()).hexdigest()


def _names(patients: Iterable[str], most: int = 5) -> str:
    names = sorted(patients)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
