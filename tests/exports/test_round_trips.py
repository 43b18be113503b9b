"""There and back: a prepared cohort, exported in each format, read again by the source that the page on exports names.

What a format cannot carry stands in :data:`TRIPS`, and in the table of ``docs/exports.md``.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exported import table_of
from numpy.typing import NDArray

import synthoma
from synthoma.cohort import open_cohort, to_scanner_unit
from synthoma.exports import EXPORT_OPTIONS, EXPORTS
from synthoma.records import BODY, Cohort, Scan
from synthoma.scans import SOURCES, Case, find, read

STEPS = "{step: reorient}, {step: skull_strip}, {step: normalise}"
SIZES = {"slices": "{step: resize, size: 32}", "volumes": "{step: resize_volume, size: 24, crop: body}"}


@dataclass(frozen=True)
class Trip:
    """A format, how it is read again, and what does not come back."""

    cohort: str
    format: str
    source: Callable[[Cohort, str], dict[str, Any]]
    """Cohort and kind of sampling → the settings of the source of that name or, with ``source``, of another."""
    step: str
    """Of intensities: ``hu`` (whole numbers), ``exact``, ``16 bits`` of the volume's range, ``png`` of the row's."""
    settings: Mapping[str, Any] | None = None
    body: bool = True
    """Whether the body comes back."""
    labels: bool = False
    """Whether a voxel has one label only, so that the later of two lesion masks takes it from the other."""
    place: bool = True
    """Whether the place in the patient comes back."""
    told: bool = False
    """Whether the sample's label comes back as such; else it follows from the masks, and ``samples.csv`` has it."""
    renamed: bool = False
    """Whether patients have other names in the format, which ``participants.tsv`` explains."""


def from_dicom(cohort: Cohort, _kind: str) -> dict[str, Any]:
    return {"patient": "patient-id", "channels": {name: {"description": f"^{name}$"} for name in cohort.channels}}


def from_nifti(cohort: Cohort, kind: str) -> dict[str, Any]:
    """A volume is called by its scan, a sample of three axes by its id, ``patient/0000``."""
    folder = "{patient}" if kind == "slices" else "{patient}_0000"
    labels = {name: {"file": f"{folder}/seg.nii.gz", "labels": [k]} for k, name in enumerate(cohort.lesion_names, 1)}
    return {
        "channels": {name: f"{folder}/{name}.nii.gz" for name in cohort.channels},
        "masks": {BODY: f"{folder}/body.nii.gz", **labels},
        "modality": cohort.modality,
        "unit": cohort.unit,
    }


def from_png(cohort: Cohort, _kind: str) -> dict[str, Any]:
    return {"source": "images", "masks": {name: f"mask_{name}" for name in cohort.mask_names}}


def plainly(_cohort: Cohort, _kind: str) -> dict[str, Any]:
    return {}


def as_liver(_cohort: Cohort, _kind: str) -> dict[str, Any]:
    return {"source": "tcia-liver"}


SIXTEEN = {"numbers": "int16"}
NONE_HELD_OUT = {"splits": "none"}
TRIPS = {
    "dicom CT": Trip("livers", "dicom", from_dicom, "hu"),
    "dicom CT as liver": Trip("livers", "dicom", as_liver, "hu"),
    "dicom MR": Trip("pairs", "dicom", from_dicom, "16 bits"),
    "nifti CT": Trip("livers", "nifti", from_nifti, "hu", labels=True),
    "nifti MR": Trip("brains", "nifti", from_nifti, "exact", labels=True),
    "nifti MR in 16 bits": Trip("pairs", "nifti", from_nifti, "16 bits", SIXTEEN, labels=True),
    "nnunet CT": Trip("livers", "nnunet", plainly, "hu", NONE_HELD_OUT, body=False, labels=True),
    "nnunet MR": Trip("brains", "nnunet", plainly, "exact", NONE_HELD_OUT, body=False, labels=True),
    "brats": Trip("brains", "brats", plainly, "exact", body=False, labels=True, renamed=True),
    "png CT": Trip("livers", "png", from_png, "png", place=False, told=True),
    "png MR": Trip("brains", "png", from_png, "png", place=False, told=True),
}


@pytest.fixture(scope="module")
def pairs(brains: dict[str, Cohort], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Cohort]:
    """``slices`` and ``volumes`` of two of these phantom patients with the two channels T1 and FLAIR."""
    folder = tmp_path_factory.mktemp("pairs")
    scans = Path(str(brains["volumes"].path)).parent / "scans"
    cohorts = {}
    for kind, size in SIZES.items():
        steps = f"preprocessing.steps=[{STEPS}, {size}]"
        settings = [steps, f"preprocessing.sampling.kind={kind}", "preprocessing.channels=[t1, flair]", "split.folds=0"]
        path = synthoma.prepare("brats", scans, folder / f"{kind}.cohort", settings=settings, workers=1)
        cohort = open_cohort(path)
        cohorts[kind] = cohort.select(np.flatnonzero(np.isin(cohort.table["patient"], cohort.patients[:2])))
    return cohorts


def overlapping(cohort: Cohort) -> Cohort:
    """The same with the last part of the lesion in the one before, as core in whole tumour, where there are two."""
    masks = np.array(cohort.masks)
    if len(cohort.lesion_names) > 1:
        masks[:, -2] |= masks[:, -1]
        assert (masks[:, -2] & masks[:, -1]).any()
    return replace(cohort, masks=masks)


def written(trip: Trip, cohort: Cohort, out: Path) -> Path:
    options = EXPORT_OPTIONS[trip.format].model_validate(dict(trip.settings or {}))
    return EXPORTS[trip.format](cohort, out, options=options)


def settings_of(trip: Trip, cohort: Cohort, kind: str, path: Path) -> Any:
    given: dict[str, Any] = {"source": trip.format} | trip.source(cohort, kind)
    return SOURCES[given["source"]].options.model_validate(given | {"path": path})


def patient_of(trip: Trip, case: Case, out: Path) -> str:
    """The cohort's name of a case's patient."""
    if not trip.renamed:
        return case.patient
    who = {row["participant_id"]: row["patient"] for row in table_of(out, "participants.tsv", "\t")}
    return who[case.patient]


def place_in(trip: Trip, cohort: Cohort, rows: NDArray[np.intp], row: int) -> Any:
    """Where a sample lies along the z axis of the scan read again."""
    if cohort.images.ndim == 5:
        return slice(None)
    if trip.place:
        return int(cohort.table["slice"][row])
    return sorted(int(cohort.table["slice"][other]) for other in rows).index(int(cohort.table["slice"][row]))


def check_intensities(trip: Trip, cohort: Cohort, scan: Scan, row: int, z: Any) -> None:
    for number, name in enumerate(cohort.channels):
        truth = to_scanner_unit(cohort, row, name, np.asarray(cohort.images[row, number]))
        found, read_again = scan.channels[name][z], scan.channels[name]
        rounding = 1e-6 * float(np.abs(truth).max())  # of float32
        if trip.step == "png":
            low, high = (float(cohort.table[f"{end}_{name}"][row]) for end in ("low", "high"))
            found, step = low + found / 65535 * (high - low), (high - low) / 65535
        elif trip.step == "16 bits":
            step = float(read_again.max() - read_again.min()) / 65534
        else:
            step, rounding = (1.0, 1e-4) if trip.step == "hu" else (0.0, 0.0)
        assert np.abs(found - truth).max() <= 0.5 * step * 1.001 + rounding, name


def check_masks(trip: Trip, cohort: Cohort, scan: Scan, row: int, z: Any) -> None:
    assert (BODY in scan.masks) == trip.body
    if trip.body:
        assert np.array_equal(scan.masks[BODY][z], cohort.masks[row, 0])
    assert set(scan.lesions) == set(cohort.lesion_names)
    found = np.zeros(cohort.masks.shape[2:], bool)
    for number, name in enumerate(cohort.lesion_names, start=1):
        wanted = cohort.masks[row, number] > 0
        if trip.labels:
            wanted = wanted & ~cohort.masks[row, number + 1 :].any(axis=0)
        assert np.array_equal(scan.masks[name][z] > 0, wanted), name
        found |= scan.masks[name][z] > 0
    assert np.array_equal(found, cohort.lesion(row))
    assert cohort.table["label"][row] == ("tumour" if found.any() else "tumour-free")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param(name, kind, marks=[pytest.mark.slow] if (name, kind) == ("dicom MR", "slices") else [])
        for name in TRIPS
        for kind in SIZES
    ],
)
def test_what_is_exported_is_read_again(request: pytest.FixtureRequest, tmp_path: Path, name: str, kind: str) -> None:
    trip = TRIPS[name]
    cohort = overlapping(request.getfixturevalue(trip.cohort)[kind])
    out = written(trip, cohort, tmp_path / "out")
    options = settings_of(trip, cohort, kind, out)
    found = find(options)
    assert not found.left_out
    seen: list[int] = []
    for case in found.cases:
        scan, patient = read(case, options), patient_of(trip, case, out)
        assert (scan.patient, set(scan.channels)) == (case.patient, set(cohort.channels))
        rows = cohort.rows(patient=patient, **({"label": case.label} if trip.told else {}))
        assert len(rows), "a patient of the cohort"
        assert scan.grid.known == trip.place
        if trip.place:
            prepared = cohort.grids[str(cohort.table["scan"][rows[0]])]["prepared"]
            assert scan.grid.shape == prepared.shape
            assert np.abs(scan.grid.affine - prepared.affine).max() < 1e-3
            assert (scan.modality, scan.unit) == (cohort.modality, cohort.unit)
        for row in rows:
            z = place_in(trip, cohort, rows, row)
            check_intensities(trip, cohort, scan, row, z)
            check_masks(trip, cohort, scan, row, z)
            assert scan.label == (cohort.table["label"][row] if trip.told else "")
        seen += rows.tolist()
    assert sorted(seen) == list(range(len(cohort)))
    told = {line["id"]: (line.get("patient") or line["patient_id"], line["label"]) for line in table_of(out)}
    ids, patients, labels = (cohort.table[column].tolist() for column in ("id", "patient", "label"))
    assert told == dict(zip(ids, zip(patients, labels, strict=True), strict=True))


def test_both_kinds_of_slices_are_there(livers: dict[str, Cohort], brains: dict[str, Cohort]) -> None:
    """Otherwise the labels above would say nothing."""
    for cohorts in (livers, brains):
        assert set(cohorts["slices"].table["label"].tolist()) == {"tumour", "tumour-free"}


def test_every_format_makes_the_trip() -> None:
    assert {trip.format for trip in TRIPS.values()} == set(EXPORTS)


def test_patients_that_nnunet_holds_out_are_not_read(brains: dict[str, Cohort], tmp_path: Path) -> None:
    """``imagesTs`` is no part of what the source ``nnunet`` reads."""
    cohort = brains["volumes"]
    out = EXPORTS["nnunet"](cohort, tmp_path / "out")
    held_out = {str(cohort.table["patient"][row]) for row in cohort.rows(split="test")}
    found = find(SOURCES["nnunet"].options.model_validate({"path": out}))
    assert {case.patient for case in found.cases} == set(cohort.patients) - held_out
    assert any("imagesTs" in note for note in found.notes)
    with (out / "samples.csv").open(newline="") as file:
        assert {line["patient"] for line in csv.DictReader(file) if line["part"] == "Ts"} == held_out


def test_the_page_says_what_does_not_come_back() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "exports.md").read_text(encoding="utf-8")
    rows = {
        cells[0].strip("`"): cells[1:]
        for line in page.splitlines()
        if line.startswith("| `") and len(cells := [cell.strip() for cell in line.strip("|").split("|")]) == 6
    }
    assert set(rows) == set(EXPORTS)
    for trip in TRIPS.values():
        _, masks, place, patient, label = rows[trip.format]
        assert ("body" in masks) == trip.body
        assert ("the later" in masks) == trip.labels
        assert (place == "no") != trip.place
        assert ("participants.tsv" in patient) == trip.renamed
        assert (label == "yes") == trip.told
