"""A cohort as cases of BraTS, by the names and labels of 2023 (Adewole et al., arXiv:2305.19369)."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from synthoma.errors import CohortError, describe
from synthoma.exports.nifti import channel_file, labels_file
from synthoma.exports.options import BratsExport
from synthoma.exports.volumes import (
    ABOUT,
    TABLE,
    about,
    csv_bytes,
    knows_its_lesion,
    labels_of,
    sample_row,
    volumes_of,
)
from synthoma.records import Cohort
from synthoma.storage import new_folder, write_bytes, write_json

__all__ = ["export_brats"]

CHANNELS: Mapping[str, str] = {"t1": "t1n", "t1ce": "t1c", "t2": "t2w", "flair": "t2f"}
"""Channel of a cohort → its suffix in the names of 2023."""
LABELS = ("necrosis", "oedema", "enhancing")
"""Labels 1 (NCR), 2 (ED), 3 (ET)."""
_PATIENT = re.compile(r"BraTS-GLI-\d{5}")
_MOST_CASES = 100_000
_MOST_TIME_POINTS = 1000


def export_brats(
    cohort: Cohort, out: Path, *, overwrite: bool = False, options: BratsExport | None = None, risk: str = ""
) -> Path:
    """Write ``BraTS-GLI-00000-000/BraTS-GLI-00000-000-t1n.nii.gz``, …, and ``-seg.nii.gz``.

    Patients keep their names where all are BraTS names already, else they are numbered in their order; the volumes of
    one are its time points. ``samples.csv`` says who is who, ``participants.tsv`` the site of each. Volumes and
    places are those of :func:`~synthoma.exports.nifti.export_nifti`: the grid is the cohort's, not that of the atlas.

    Args:
        cohort: MR of t1, t1ce, t2, flair with the masks necrosis, oedema, enhancing; where two hold a voxel the later
            of these has it.
        out: the folder to write.
        overwrite: replace a folder of this name.
        options: settings of the format.
        risk: the reason for which a privacy risk was accepted; ``about.json`` repeats it.

    Raises:
        CohortError: other channels or masks, no MR, images whose lesion nobody knows, too many patients.
        OutputError: ``out`` exists and ``overwrite`` is false.
    """
    options = options or BratsExport()
    _check(cohort, options)
    patients = _patients(cohort)
    rows: dict[int, dict[str, Any]] = {}
    time_points: dict[str, int] = {}
    shared_voxels = 0
    with new_folder(Path(out), overwrite=overwrite) as folder:
        for volume in volumes_of(cohort, options.slices):
            first = volume.rows[0]
            if not knows_its_lesion(cohort, volume.rows):
                remedy = "Images from noise and of unsegmented patients have none: export them as nifti."
                raise CohortError(describe(f"volume {volume.name}", "a lesion that is known", "none", remedy))
            patient = patients[str(cohort.table["patient"][first])]
            number = time_points[patient] = time_points.get(patient, -1) + 1
            if number >= _MOST_TIME_POINTS:
                remedy = "Leave slices out when preparing, or use slices=stack."
                raise CohortError(describe(patient, f"at most {_MOST_TIME_POINTS} volumes", "more", remedy))
            case = f"{patient}-{number:03d}"
            files = {CHANNELS[name]: channel_file(cohort, name, volume, options) for name in cohort.channels}
            labels, shared = labels_of(cohort, volume, LABELS)
            files["seg"] = labels_file(labels, volume)
            shared_voxels += shared
            (folder / case).mkdir()
            for suffix, data in files.items():
                (folder / case / f"{case}-{suffix}.nii.gz").write_bytes(data)
            written = ";".join(f"{case}/{case}-{suffix}.nii.gz" for suffix in files)
            for row, place in zip(volume.rows, volume.places or ("",), strict=True):
                rows[row] = sample_row(cohort, row) | {"slice": place, "files": written}
        write_bytes(folder / TABLE, csv_bytes(rows))
        write_bytes(folder / "participants.tsv", _participants(cohort, patients))
        more = {
            "channels": {name: CHANNELS[name] for name in cohort.channels},
            "labels": {str(label): name for label, name in enumerate(LABELS, start=1)},
            "voxels_in_several_masks": shared_voxels,
        }
        write_json(folder / ABOUT, about(cohort, risk, **more))
    return Path(out)


def _check(cohort: Cohort, options: BratsExport) -> None:
    remedy = "Export it as nifti or nnunet instead."
    if cohort.modality != "MR":
        raise CohortError(describe("modality", "MR, as BraTS has it", cohort.modality, remedy))
    others = [name for name in cohort.channels if name not in CHANNELS]
    if others:
        raise CohortError(describe("channels", "of " + ", ".join(CHANNELS), ", ".join(others), remedy))
    missing = [name for name in CHANNELS if name not in cohort.channels]
    if missing and not options.allow_missing:
        remedy = f"Add --allow-missing to write cases without {', '.join(missing)}."
        raise CohortError(describe("channels", "all of " + ", ".join(CHANNELS), ", ".join(cohort.channels), remedy))
    if set(cohort.lesion_names) != set(LABELS):
        found = ", ".join(cohort.lesion_names) or "none"
        raise CohortError(describe("masks of the lesion", ", ".join(LABELS), found, remedy))


def _patients(cohort: Cohort) -> dict[str, str]:
    """The cohort's name of a patient → ``BraTS-GLI-00000``."""
    names = cohort.patients
    if all(_PATIENT.fullmatch(name) for name in names):
        return {name: name for name in names}
    if len(names) > _MOST_CASES:
        raise CohortError(describe("patients", f"at most {_MOST_CASES}, for five digits", len(names)))
    return {name: f"BraTS-GLI-{number:05d}" for number, name in enumerate(names)}


def _participants(cohort: Cohort, patients: Mapping[str, str]) -> bytes:
    """A table as BIDS has it: the sites, and the cohort's names."""
    sites = dict(zip(cohort.table["patient"].tolist(), cohort.table["site"].tolist(), strict=True))
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(("participant_id", "site", "patient"))
    writer.writerows((patients[name], sites[name] or "n/a", name) for name in patients)
    return text.getvalue().encode()
