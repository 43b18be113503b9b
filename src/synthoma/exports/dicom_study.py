"""What all DICOM instances made from one volume share, and their identifiers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from synthoma import __version__
from synthoma.errors import CohortError, SettingError, describe
from synthoma.exports.volumes import Volume, is_synthetic, unit_of
from synthoma.records import Cohort, Lineage
from synthoma.storage import text_sha256

__all__ = ["ROOT", "Study", "study_of", "uid"]

ROOT = "1.2.826.0.1.3680043.8.498."  # pydicom's own root, which its users may use
_LONGEST_ID, _LONGEST_TEXT = 64, 1024
"""Letters that a PatientID (LO) and a description (ST) may have, PS3.5 6.2."""


@dataclass(frozen=True)
class Study:
    """What all instances made from one volume share."""

    key: str
    """Hash of all that the volume was made from, which its identifiers follow from."""
    patient: str
    modality: str
    """``CT`` or ``MR``."""
    unit: str
    synthetic: bool
    lineages: tuple[Lineage, ...]
    """The steps that led here, the last first."""
    risk: str

    @property
    def derivation(self) -> str:
        """Derivation Description (0008,2111)."""
        if self.synthetic:
            text = f"Synthetic image: drawn by a generative adversarial network, written by synthoma {__version__}."
        else:
            text = f"Image of a patient, resampled and normalised, written by synthoma {__version__}."
        if self.lineages:
            last = self.lineages[0]
            text += f" Step {last.step}, lineage {last.id}, recipe SHA-256 {last.recipe_sha256}."
        if self.risk:
            text += f" Released with an accepted privacy risk: {self.risk}"
        return text


def study_of(cohort: Cohort, volume: Volume, settings: str, risk: str) -> Study:
    """What the instances of a volume share.

    Raises:
        CohortError: neither CT nor MR, or a patient's name that no PatientID can be.
        SettingError: a risk that is too long to be written down.
    """
    first = volume.rows[0]
    modality, patient = (str(cohort.table[name][first]) for name in ("modality", "patient"))
    if modality not in ("CT", "MR"):
        remedy = "Say data.modality when preparing, or export as nifti or png."
        raise CohortError(describe(f"volume {volume.name}", "the modality CT or MR", modality or "none", remedy))
    if not patient.strip() or len(patient) > _LONGEST_ID or "\\" in patient or not patient.isprintable():
        expected = f"a patient's name of 1 to {_LONGEST_ID} printable letters without \\ for DICOM"
        raise CohortError(describe(f"volume {volume.name}", expected, f"one of {len(patient)} letters"))
    ids = dict.fromkeys(str(cohort.table["lineage"][row]) for row in volume.rows)
    ends = [f"{end}_{name}" for name in cohort.channels for end in ("low", "high")]
    parts = [volume.name, patient, modality, settings, risk, __version__, str(volume.grid.to_json()), *ids]
    for row in volume.rows:
        parts += [str(cohort.table[column][row]) for column in ("image_sha256", "unit", *ends)]
        parts.append(text_sha256(np.packbits(cohort.masks[row] > 0).tobytes().hex()))
    study = Study(
        key=text_sha256("|".join(parts)),
        patient=patient,
        modality=modality,
        unit=unit_of(cohort, first),
        synthetic=is_synthetic(cohort, volume.rows),
        lineages=_ancestors(cohort.lineages, list(ids)),
        risk=" ".join(risk.split()),
    )
    surplus = len(study.derivation) - _LONGEST_TEXT
    if surplus > 0:
        raise SettingError(describe("accepted privacy risk", f"a reason {surplus} letters shorter", len(risk)))
    return study


def _ancestors(known: Mapping[str, Lineage], ids: list[str]) -> tuple[Lineage, ...]:
    """The lineages of these ids, and the parents of each that the cohort knows."""
    found: dict[str, Lineage] = {}
    waiting = list(ids)
    while waiting:
        one = waiting.pop(0)
        if one in known and one not in found:
            found[one] = known[one]
            waiting += known[one].parents
    return tuple(found.values())


def uid(study: Study, *names: str) -> str:
    """An identifier that follows from the content and the names: the same export is the same file."""
    from pydicom.uid import generate_uid

    return str(generate_uid(ROOT, entropy_srcs=["synthoma-export", study.key, *names]))
