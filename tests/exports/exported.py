"""Cohorts to export, and scans with identifying tags to prepare them from; imported by name, see ``conftest.py``."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from synthoma.cohort import create_cohort, open_cohort
from synthoma.phantoms.ct import SITES, draw_scan
from synthoma.phantoms.ct_dicom import Patient, draw_uids, write_series
from synthoma.phantoms.dicom_seg import write_segmentation
from synthoma.records import Cohort, Grid, Lineage, Samples
from synthoma.seeding import generator

TAGS = {
    "PatientName": "Zzplantedname^Given", "PatientBirthDate": "19441203", "OtherPatientIDs": "ZZPLANTEDOTHER",
    "PatientAddress": "Zzplantedstreet 5", "ReferringPhysicianName": "Zzplantedreferrer",
    "OperatorsName": "Zzplantedoperator", "InstitutionName": "Zzplantedhospital", "StationName": "ZZPLANTEDSTATION",
    "AccessionNumber": "ZZPLANTEDACC", "StudyID": "ZZPLANTEDSTUDY", "DeviceSerialNumber": "ZZPLANTEDSERIAL",
    "PatientComments": "Zzplantedcomment", "ProtocolName": "Zzplantedprotocol", "StudyDate": "20190417",
    "StudyDescription": "Zzplantedstudydescription", "SeriesDescription": "Zzplantedseries",
    "AcquisitionDate": "20190418", "Manufacturer": "Zzplantedmaker", "PatientSex": "F",
}  # fmt: skip
"""Keyword → a value found nowhere else (but for the sex)."""
PLANTED = [part for value in TAGS.values() for part in value.split("^") if part not in ("Given", "F")]
SHAPE, SPACING_MM, ORIGIN_MM = (14, 40, 36), (3.0, 1.3, 1.3), (-23.4, -26.0, -118.5)


def turned(shape: tuple[int, int, int]) -> Grid:
    """An oblique grid of unequal spacing."""
    c, s = np.cos(0.4), np.sin(0.4)
    affine = np.eye(4)
    affine[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, -1]]) @ np.diag([0.7, 0.9, 3.3])
    affine[:3, 3] = (-90.2, 14.7, 55.1)
    return Grid.from_affine(shape, affine)


def samples(shape: Sequence[int], slices: Sequence[int], patient: str = "P1", **fields: Any) -> Samples:
    """Random images in [−1, 1], and masks of which no two hold a voxel."""
    rng = np.random.default_rng([*patient.encode(), *slices])
    labels = rng.integers(0, 4, (len(slices), *shape))
    basic = Samples(
        images=rng.uniform(-1, 1, (len(slices), 2, *shape)).astype(np.float32),
        masks=np.stack([labels > 0, labels == 1, labels == 2], axis=1).astype(np.uint8),
        channels=("t1", "flair"),
        mask_names=("body", "oedema", "core"),
        slices=tuple(slices),
        labels=("tumour",) * len(slices),
        patient=patient,
        site="",
        spacing_mm=(3.3, 0.9, 0.7)[-len(shape) :],
        intensity={"t1": (10.0, 250.0), "flair": (-3.5, 77.0)},
        unit="arbitrary",
        modality="MR",
    )
    return replace(basic, **fields)


def write_livers(folder: Path) -> Path:
    """Three small abdomens as CT with segmentations, in which every identifying tag is planted."""
    for number in range(3):
        name = f"HCC_{number:03d}"
        rng = generator(7, "livers", name)
        z, y, x = np.indices(SHAPE).astype(np.float64)
        inside = ((y - 20) / 16) ** 2 + ((x - 18) / 14) ** 2 < 1
        liver = ((z - 7) / 5) ** 2 + ((y - 19) / 9) ** 2 + ((x - 15) / 7) ** 2 < 1
        centre = np.array([7.0, 18, 14]) + rng.uniform(-1, 1, 3)
        mass = np.linalg.norm(np.stack([z, y, x], -1) - centre, axis=-1) < 3.2
        hu = np.where(inside, 20, -1000) + 40 * liver - 30 * mass + rng.normal(0, 8, SHAPE) * inside
        files = write_series(
            folder / name / "ct",
            np.rint(hu).astype(np.int16),
            SPACING_MM,
            ORIGIN_MM,
            uids=draw_uids(number, name, SHAPE[0]),
            patient=Patient(name),
            scan=draw_scan(rng, 1, SITES["A"], SPACING_MM[0]),
            description="Abdomen",
            body_part="ABDOMEN",
        )
        write_segmentation(folder / name / "seg" / "1-1.dcm", files, {"liver": liver, "mass": mass}, seed=1)
        for path in (folder / name).rglob("*.dcm"):
            data = pydicom.dcmread(path)
            for keyword, value in TAGS.items():
                setattr(data, keyword, value)
            data.add_new((0x0011, 0x0010), "LO", "Zzplantedprivatecreator")
            data.add_new((0x0011, 0x1001), "LO", "Zzplantedprivate")
            data.save_as(path)
    return folder


def source_uids(folder: Path) -> set[str]:
    """All identifiers of studies, series, frames and instances of DICOM files."""
    found = set()
    for path in folder.rglob("*.dcm"):
        data = pydicom.dcmread(path, stop_before_pixels=True)
        found |= {str(data[name].value) for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")}
        found.add(str(data.FrameOfReferenceUID))
    return found


def as_synthetic(real: Cohort, path: Path) -> Cohort:
    """The same images as if a generator had made each from its real one, a little brighter."""
    made = Lineage.of("generate", parents=list(real.lineages), recipe={"way": "x"}, seed=3, patients_seen=real.patients)
    lineages = (*real.lineages.values(), made)
    names = {"channels": real.channels, "mask_names": real.mask_names, "shape": real.images.shape[2:]}
    with create_cohort(path, lineages=lineages, conditions=("mask",), **names) as writer:
        for row in range(len(real)):
            table = {name: column[row] for name, column in real.table.items()}
            one = Samples(
                images=np.asarray(real.images[[row]] * 0.98 + 0.01),
                masks=np.asarray(real.masks[[row]]),
                channels=real.channels,
                mask_names=real.mask_names,
                slices=(int(table["slice"]),),
                labels=(str(table["label"]),),
                patient=str(table["patient"]),
                site=str(table["site"]),
                spacing_mm=tuple(float(part) for part in str(table["spacing_mm"]).split()),
                intensity={name: (float(table[f"low_{name}"]), float(table[f"high_{name}"])) for name in real.channels},
                unit=str(table["unit"]),
                modality=str(table["modality"]),
            )
            writer.add(
                one,
                split=str(table["split"]),
                fold=int(table["fold"]),
                origin="synthetic",
                scan=str(table["scan"]),
                grids=real.grids[str(table["scan"])],
                reference=(str(table["id"]),),
                made_from=(str(table["id"]),),
                lineage=made.id,
                ids=(f"made/{row:05d}",),
            )
    return open_cohort(path)


def table_of(folder: Path, name: str = "samples.csv", delimiter: str = ",") -> list[dict[str, str]]:
    with (folder / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter=delimiter))


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def every_byte(folder: Path) -> bytes:
    """The content of all files and their names; what is compressed is unpacked."""
    import gzip

    parts = []
    for path in sorted(folder.rglob("*")):
        parts.append(str(path.relative_to(folder)).encode())
        if path.is_file():
            data = path.read_bytes()
            parts.append(gzip.decompress(data) if path.suffix == ".gz" else data)
    return b"\n".join(parts)
